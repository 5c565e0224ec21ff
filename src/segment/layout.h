// The format of a segment, version 1. man/mqueuefs-segment.5 says the same in prose, with an example.
//
//   0        Header            identity (never changes), dead mark, counters, the upper two levels of the
//   index 4096     leaf words        512 x 64 bits: bit p % 64 of word p / 64 is set while priority p has
//   messages 8192     PriorityCell[]    head and tail of the list of each priority; means something only
//   while its bit is set
//   ...      SlotCell[]        one for each slot: the message's properties and the link to the next one
//   ...      payloads          one of payload_stride bytes for each slot
//
// Slots are numbered from 1, so that 0 is "none" and memory that was never touched is an empty queue.
// There are no pointers. Where things are follows from maxmsg and msgsize alone (Layout::of); the copies of
// these numbers in the header are for readers of a dump and are only ever compared.
//
// Every word is naturally aligned, of fixed width, in the machine's byte order, and read and written whole.
// Words that different operations change are on different cache lines.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "segment/attributes.h"

namespace mqueuefs {

using Word32 = std::atomic<uint32_t>;
using Word64 = std::atomic<uint64_t>;
static_assert(Word32::is_always_lock_free && sizeof(Word32) == 4);
static_assert(Word64::is_always_lock_free && sizeof(Word64) == 8);

/// One load. Another process may change the word between two loads, so the value that was checked must be the
/// value that is used: load once, keep the copy.
template <typename T>
T load_once(const std::atomic<T>& word) {
  return word.load(std::memory_order_relaxed);
}
template <typename T>
void store(std::atomic<T>& word, T value) {
  word.store(value, std::memory_order_relaxed);
}

inline constexpr uint64_t kSegmentMagic = 0x5153'4655'4555'514d;  ///< "MQUEUFSQ" in a little-endian dump
inline constexpr uint32_t kSegmentVersion = 1;
inline constexpr uint32_t kNoSlot = 0;
inline constexpr uint32_t kSpareSlots = 64;  ///< by how many messages put_back may exceed maxmsg
inline constexpr uint64_t kSegmentPage = 4096;
inline constexpr uint64_t kCacheLine = 64;
inline constexpr uint64_t kLastSequence = uint64_t{1} << 63;  ///< 290 years at 1 ns a message

inline constexpr uint32_t kIndexLeafWords = kPriorities / 64;
inline constexpr uint32_t kIndexMiddleWords = kIndexLeafWords / 64;

struct Header {  // NOLINT(clang-analyzer-optin.performance.Padding): apart on purpose
  // Identity: written once by create().
  Word64 magic;
  Word32 version;
  Word32 maxmsg;
  Word32 msgsize;
  Word32 slots;
  Word32 priorities;
  Word32 payload_stride;
  Word64 leaf_offset;
  Word64 priority_offset;
  Word64 slot_offset;
  Word64 payload_offset;

  // Read by every operation, written at most once.
  alignas(kCacheLine) Word64 size;
  Word32 dead;  ///< not 0: somebody found a contradiction; nobody uses the segment any more

  alignas(kCacheLine) Word64 last_sequence;  ///< the newest number given out; 0: none yet

  alignas(kCacheLine) Word32 free_slot;  ///< first of the list of free slots
  Word32 used_slots;  ///< slots above this one were not touched since the queue was last trimmed

  alignas(kCacheLine) Word32 messages;
  Word32 reserved;
  Word64 payload_bytes;

  alignas(kCacheLine) Word64 index_top;  ///< bit m: middle word m is not 0
  alignas(kCacheLine) Word64
      index_middle[kIndexMiddleWords];  ///< bit l of word m: leaf word 64 m + l is not 0
};
static_assert(sizeof(Header) == 448);
static_assert(offsetof(Header, size) == 64 && offsetof(Header, last_sequence) == 128);
static_assert(offsetof(Header, free_slot) == 192 && offsetof(Header, messages) == 256);
static_assert(offsetof(Header, index_top) == 320 && offsetof(Header, index_middle) == 384);

struct PriorityCell {
  Word32 head;  ///< slot of the oldest message
  Word32 tail;  ///< slot of the newest
};
static_assert(sizeof(PriorityCell) == 8);

enum SlotState : uint32_t {
  kSlotFree = 0,
  kSlotQueued = 1,
};

struct SlotCell {
  Word64 sequence;
  Word32 next;  ///< the next message of this priority, or the next free slot
  Word32 size;  ///< payload bytes
  Word32 priority;
  Word32 state;  ///< SlotState. Written last by a send, first by a receive
  Word64 reserved;
};
static_assert(sizeof(SlotCell) == 32);

/// Where everything is in a segment.
struct Layout {
  uint32_t slots = 0;
  uint32_t payload_stride = 0;
  uint64_t leaf_offset = 0;
  uint64_t priority_offset = 0;
  uint64_t slot_offset = 0;
  uint64_t payload_offset = 0;
  uint64_t size = 0;  ///< of the whole file, bytes

  static constexpr bool in_range(QueueAttributes attributes) {
    return attributes.maxmsg >= 1 && attributes.maxmsg <= kMaxMessages && attributes.msgsize >= 1 &&
           attributes.msgsize <= kMaxMessageSize;
  }

  /// The layout of a queue with `attributes`, which have to be in range. Nothing can overflow: the largest is
  /// about 2^40.
  static constexpr Layout of(QueueAttributes attributes) {
    Layout layout;
    layout.slots = attributes.maxmsg + kSpareSlots;
    layout.payload_stride = static_cast<uint32_t>(round_up(attributes.msgsize, kCacheLine));
    layout.leaf_offset = kSegmentPage;
    layout.priority_offset = layout.leaf_offset + kIndexLeafWords * sizeof(Word64);
    layout.slot_offset = layout.priority_offset + kPriorities * sizeof(PriorityCell);
    layout.payload_offset = round_up(layout.slot_offset + layout.slots * sizeof(SlotCell), kSegmentPage);
    layout.size =
        round_up(layout.payload_offset + uint64_t{layout.slots} * layout.payload_stride, kSegmentPage);
    return layout;
  }

 private:
  static constexpr uint64_t round_up(uint64_t value, uint64_t unit) {
    return (value + unit - 1) / unit * unit;
  }
};
static_assert(Layout::of({1, 1}).slot_offset % kSegmentPage == 0);

}  // namespace mqueuefs
