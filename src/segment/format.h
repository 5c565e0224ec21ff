// The format of a segment, version 3. man/mqueuefs-segment.5 says the same in prose, with an example.
//
//   0         Header        identity (never changes); the state word; the free slots; the upper levels of the index
//   4096      leaves        512 x {64 bits, version}: bit p % 64 of leaf p / 64: priority p may have messages
//   ...       lists         32768 x {head, tail, version}: the messages of each priority but the highest
//   ...       returned      512 x {slot, version}: messages that were given back, out of the lists
//   ...       members       512 x Member: who works here, and which slots he has in his hands
//   ...       waiters       512 x Waiter: who sleeps here
//   ...       slots         a Slot for each message: its properties, and the links of its list
//   ...       payloads      payload_stride bytes for each slot
//
// Slots are numbered from 1, so that 0 is "none" and memory that was never touched is an empty queue. There are no
// pointers. Where things are follows from maxmsg and msgsize alone (Format::of); the copies of these numbers in
// the header are for readers of a dump and are only ever compared. Words are in the machine's byte order.
#pragma once

#include <cstddef>
#include <cstdint>

#include "segment/attributes.h"
#include "segment/wide_word.h"

namespace mqueuefs {

inline constexpr uint64_t kSegmentMagic = 0x5153'4655'4555'514d;  ///< "MQUEUFSQ" in a little-endian dump
inline constexpr uint32_t kSegmentVersion = 3;
inline constexpr uint32_t kNoSlot = 0;
inline constexpr uint64_t kSegmentPage = 4096;
inline constexpr uint64_t kCacheLine = 64;

inline constexpr uint32_t kLeaves = kPriorities / 64;
inline constexpr uint32_t kMiddles = kLeaves / 64;
inline constexpr uint32_t kReturned = 512;  ///< by how many messages give_back may exceed maxmsg
inline constexpr uint32_t kMembers = 512;
inline constexpr uint32_t kWaiters = 512;
inline constexpr uint32_t kLevels = 4;  ///< signal handlers within signal handlers that may use one queue
/// Slots beyond maxmsg: for messages given back, for those of blocked senders, and for what members have in hand.
inline constexpr uint32_t kSpareSlots = kReturned + kWaiters + 2 * kMembers;

/// How many waits lasted at most 100 us, 1 ms, 10 ms, 100 ms, 1 s, 10 s, 100 s, and longer.
inline constexpr uint32_t kWaitBuckets = 8;
inline constexpr uint64_t kFirstWaitBucketNs = 100'000;

/// A bitmap or a pair of numbers, and the version of the change that wrote it last.
using TaggedWord = WideWord;

struct Header {  // NOLINT(clang-analyzer-optin.performance.Padding): apart on purpose
  // Identity: written once, by the maker.
  Word64 magic;
  Word32 version;
  Word32 maxmsg;
  Word32 msgsize;
  Word32 slots;
  Word64 size;

  alignas(kCacheLine) WideWord state;  ///< see state.h

  alignas(kCacheLine) WideWord free_slots;  ///< low: version; high: first free slot, and slots used so far << 32

  // Rarely written.
  alignas(kCacheLine) Word64 changed_s;  ///< CLOCK_REALTIME of the last send or receive; 0: none since the owner asked
  Word32 members_used;                   ///< members and waiters above these were never used
  Word32 waiters_used;
  Word64 bytes;          ///< payload bytes sent less those received, by members that are gone; modulo 2^64
  Word64 messages_sent;  ///< by members that are gone, and by waiting senders
  Word32 reserved_places;  ///< places that the owner of the segment keeps for messages to come, in State::count
  Word32 traced;           ///< the owner wants to be told of each message
  Word64 waited_ns;        ///< sum of all waits that are over

  alignas(kCacheLine) TaggedWord top;  ///< bit m: middle word m is not 0
  TaggedWord middle[kMiddles];         ///< bit l of word m: leaf 64 m + l is not 0

  alignas(kCacheLine) Word64 waits[kWaitBuckets];  ///< that are over, by how long they were
};
static_assert(sizeof(Header) <= kSegmentPage);

/// One list: {head | tail << 32, version}. Low is the version, as Wide wants it.
using List = TaggedWord;

struct Slot {
  Word64 published;   ///< the version at which it was sent; kPending | a version while its sender waits
  Word64 next;        ///< Link to the next newer message of its priority
  Word64 previous;    ///< Link to the next older one
  Word32 free_next;   ///< while free: the next free slot
  Word32 size;        ///< payload bytes
  Word32 priority;
  Word32 partner;     ///< the waiter it comes from; the place in `returned`
  Word64 sent_s;      ///< CLOCK_REALTIME at which the message was written here
  Word64 reserved[2];
};
static_assert(sizeof(Slot) == 64);

inline constexpr uint64_t kPending = uint64_t{1} << 63;

/// What one thread has in hand, one for each level of signal handlers. Written by that thread alone.
struct Level {
  Word32 held;    ///< a free slot of its own, kept for its next message
  Word32 taking;  ///< the slot that it works on; named before it is taken
  Word64 round;   ///< grows with each operation
  Word64 bytes;          ///< sent less those received: what is queued is the sum of all
  Word64 messages_sent;
};

struct Member {
  Word64 owner;  ///< 0: nobody; else incarnation << 32 | thread
  Word64 reserved[7];
  Level levels[kLevels];
};
static_assert(sizeof(Member) == 192);

enum class WaiterState : uint32_t {
  kIdle = 0,
  kIntent,   ///< about to wait: counts from the version that decides so
  kWaiting,
  kAsleep,   ///< waiting, and sleeps on this word
  kDone,     ///< served
  kTaking,   ///< served, and the owner has begun to copy the message
};

enum WaiterRole : uint32_t {
  kReceives = 1,
  kSends = 2,
  kThroughOwner = 4,  ///< sleeps elsewhere: who serves it tells the segment's owner
};

struct Waiter {
  /// high: WaiterState in its lower half, which is the futex, and the slot of a message handed over in its upper half.
  /// low: the version at which the wait began (kIntent: a lower one). A wait is told from a later one by it.
  WideWord word;
  Word64 owner;  ///< 0: nobody; else incarnation << 32 | thread
  Word32 role;
  Word32 rank;   ///< the smaller is served first
  Word32 slot;   ///< a sender's message
  Word32 process;  ///< as its owner numbers it: for administrators
  Word64 since_ns;  ///< CLOCK_REALTIME
  Word64 reserved[1];
};
static_assert(sizeof(Waiter) == 64);

/// Where everything is in a segment.
struct Format {
  uint32_t slots = 0;
  uint32_t payload_stride = 0;
  uint64_t leaves = 0;
  uint64_t lists = 0;
  uint64_t returned = 0;
  uint64_t members = 0;
  uint64_t waiters = 0;
  uint64_t slot_table = 0;
  uint64_t payloads = 0;
  uint64_t size = 0;  ///< of the whole file, bytes

  static constexpr bool in_range(QueueAttributes attributes) {
    return attributes.maxmsg >= 1 && attributes.maxmsg <= kMaxMessages && attributes.msgsize >= 1 &&
           attributes.msgsize <= kMaxMessageSize;
  }

  /// The format of a queue with `attributes`, which have to be in range. Nothing can overflow: the largest is
  /// about 2^40.
  static constexpr Format of(QueueAttributes attributes) {
    Format format;
    format.slots = attributes.maxmsg + kSpareSlots;
    format.payload_stride = static_cast<uint32_t>(round_up(attributes.msgsize, kCacheLine));
    format.leaves = kSegmentPage;
    format.lists = format.leaves + kLeaves * sizeof(TaggedWord);
    format.returned = format.lists + kPriorities * sizeof(List);
    format.members = format.returned + kReturned * sizeof(TaggedWord);
    format.waiters = format.members + kMembers * sizeof(Member);
    format.slot_table = round_up(format.waiters + kWaiters * sizeof(Waiter), kSegmentPage);
    format.payloads = round_up(format.slot_table + format.slots * sizeof(Slot), kSegmentPage);
    format.size = round_up(format.payloads + uint64_t{format.slots} * format.payload_stride, kSegmentPage);
    return format;
  }

 private:
  static constexpr uint64_t round_up(uint64_t value, uint64_t unit) { return (value + unit - 1) / unit * unit; }
};

}  // namespace mqueuefs
