// The one word that decides. Every operation on a queue is one change of it.
//
//   low    version (lower 47 bits) << 17 | count
//   high   head | tail << 17 | argument << 34 | kind << 51 | flags << 55 | version (upper 3 bits) << 61
//
// `head` and `tail` are the list of the highest priority that has messages; the lists of the others are in memory. A
// change that needs more than this word says so in `kind` and `argument`; whoever comes next first applies it
// (settle.cc), so a change is decided by one process and completed by any.
#pragma once

#include <cstdint>

#include "segment/format.h"

namespace mqueuefs {

/// What the last change still asks to be done in memory. `head` and `tail` are those before it where it is said so.
enum class Kind : uint32_t {
  kNone = 0,
  kFirst,    ///< a waiting sender's slot `argument` is the first message
  kTail,     ///< ... is behind `tail` in the top list
  kSpill,    ///< slot `argument` is a new top list; the old one, head and tail, goes to the lists
  kAppend,   ///< slot `argument` belongs to a list below the top
  kLoad,     ///< the list of priority `argument` has become the top list
  kClean,    ///< leaf `argument` of the index holds bits of empty lists
  kWait,     ///< waiter `argument` waits from now on
  kHand,     ///< slot `argument` was handed over: the queue is empty, and `tail` is 1 + the waiter that it goes to,
             ///< `head`, if kAdmitted, 1 + the one that it comes from (its owner soon uses the slot for something else)
  kCancel,   ///< waiter `argument` waits no more
  kReturn,   ///< slot `argument` was given back
  kTake,     ///< the message in place `argument` of `returned` was taken
  kGrant,    ///< a place is kept for waiter `argument`, whose message is elsewhere
  kDead = 15,  ///< somebody found a contradiction; nobody uses the segment any more
};

enum StateFlags : uint32_t {
  kReceiversWait = 1,  ///< perhaps: nobody left is found out by the next sender
  kSendersWait = 2,    ///< perhaps
  kNotify = 4,         ///< the next message in an empty queue uses up a notification
  kPoll = 8,           ///< somebody polls: the owner wants to know of the next change
  kSomeReturned = 16,  ///< perhaps
  kAdmitted = 32,      ///< slot `argument` came from a waiter, who is to be told
};

struct State {
  uint64_t version = 0;
  uint32_t count = 0;  ///< places taken: messages, and places reserved
  uint32_t head = kNoSlot;
  uint32_t tail = kNoSlot;
  uint32_t argument = 0;
  Kind kind = Kind::kNone;
  uint32_t flags = 0;
  Wide word;  ///< what it was read from; ignored by pack()

  bool has(uint32_t flag) const { return (flags & flag) != 0; }
  bool empty() const { return head == kNoSlot && !has(kSomeReturned); }
};

inline constexpr uint64_t kVersionMask = (uint64_t{1} << 50) - 1;
inline constexpr uint64_t kSlotMask = (uint64_t{1} << 17) - 1;

inline State unpack(Wide word) {
  State state;
  state.count = static_cast<uint32_t>(word.low & kSlotMask);
  state.version = word.low >> 17 | (word.high >> 61) << 47;
  state.head = static_cast<uint32_t>(word.high & kSlotMask);
  state.tail = static_cast<uint32_t>(word.high >> 17 & kSlotMask);
  state.argument = static_cast<uint32_t>(word.high >> 34 & kSlotMask);
  state.kind = static_cast<Kind>(word.high >> 51 & 15);
  state.flags = static_cast<uint32_t>(word.high >> 55 & 63);
  state.word = word;
  return state;
}

inline Wide pack(const State& state) {
  return {state.version << 17 | (state.count & kSlotMask),
          uint64_t{state.head} | uint64_t{state.tail} << 17 | uint64_t{state.argument} << 34 |
              static_cast<uint64_t>(state.kind) << 51 | uint64_t{state.flags} << 55 |
              (state.version >> 47 & 7) << 61};
}

/// A link names a slot and the version at which the newer of the two was sent, so that one that was written too late,
/// by who was interrupted, is recognised: it is older than the slot that it stands in. A link that is good and looks old,
/// because there were 2^46 changes between the two, is found by the other direction (recover_next).
inline uint64_t make_link(uint32_t slot, uint64_t version) { return version << 17 | slot; }
inline uint32_t link_slot(uint64_t link) { return static_cast<uint32_t>(link & kSlotMask); }

/// Whether the link was written after the slot was `published`. Modulo 2^47.
inline bool link_is_newer(uint64_t link, uint64_t published) {
  const uint64_t distance = ((link >> 17) - published) & ((uint64_t{1} << 47) - 1);
  return distance != 0 && distance < uint64_t{1} << 46;
}

}  // namespace mqueuefs
