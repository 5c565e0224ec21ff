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

inline constexpr uint64_t kVersionMask = (uint64_t{1} << 50) - 1;
inline constexpr uint64_t kSlotMask = (uint64_t{1} << 17) - 1;

/// A value of the state word, read by its fields, and what it is to become next. A field is shifted out when somebody asks
/// for it: to take all apart and to put them together again takes longer than the rest of a send.
class State {
 public:
  State() = default;  ///< of an empty queue, at version 0
  explicit State(Wide word) : now_(word), high_as_read_(word.high) {}

  uint64_t version() const { return now_.low >> kVersionAt | (now_.high >> kVersionTopAt) << kVersionLowBits; }
  /// Places taken: messages, and places reserved.
  uint32_t count() const { return field(now_.low, 0); }
  uint32_t head() const { return field(now_.high, 0); }
  uint32_t tail() const { return field(now_.high, kTailAt); }
  uint32_t argument() const { return field(now_.high, kArgumentAt); }
  Kind kind() const { return static_cast<Kind>(now_.high >> kKindAt & kKinds); }
  uint32_t flags() const { return static_cast<uint32_t>(now_.high >> kFlagsAt & kFlags); }
  bool has(uint32_t flag) const { return (now_.high & uint64_t{flag} << kFlagsAt) != 0; }
  bool empty() const { return (now_.high & (kSlotMask | uint64_t{kSomeReturned} << kFlagsAt)) == 0; }
  /// Nothing is left to be done, and nobody waits for a place.
  bool at_rest() const { return (now_.high & (kKinds << kKindAt | uint64_t{kSendersWait} << kFlagsAt)) == 0; }

  void set_version(uint64_t version) {
    now_.low = (now_.low & kSlotMask) | version << kVersionAt;
    now_.high = (now_.high & ((uint64_t{1} << kVersionTopAt) - 1)) | version >> kVersionLowBits << kVersionTopAt;
  }
  /// False: they are used up.
  bool advance_version() {
    now_.low += uint64_t{1} << kVersionAt;
    if (now_.low >> kVersionAt != 0) [[likely]] return true;
    now_.high += uint64_t{1} << kVersionTopAt;
    return version() != 0;
  }
  void set_count(uint32_t count) { now_.low = (now_.low & ~kSlotMask) | (count & kSlotMask); }
  void set_head(uint32_t slot) { put(0, kSlotMask, slot); }
  void set_tail(uint32_t slot) { put(kTailAt, kSlotMask, slot); }
  void set_list(uint32_t head, uint32_t tail) {
    put(0, kSlotMask << kTailAt | kSlotMask, (tail & kSlotMask) << kTailAt | (head & kSlotMask));
  }
  void set_argument(uint32_t argument) { put(kArgumentAt, kSlotMask, argument); }
  void set_kind(Kind kind) { put(kKindAt, kKinds, static_cast<uint64_t>(kind)); }
  void set(uint32_t flags) { now_.high |= uint64_t{flags} << kFlagsAt; }
  void clear(uint32_t flags) { now_.high &= ~(uint64_t{flags} << kFlagsAt); }

  Wide word() const { return now_; }
  /// What the word was when this was read, though since then it may stand for what that asked to be done. Of a state whose
  /// count and version are still those.
  Wide word_as_read() const { return {now_.low, high_as_read_}; }

 private:
  static constexpr unsigned kVersionAt = 17, kVersionLowBits = 47, kVersionTopAt = 61;
  static constexpr unsigned kTailAt = 17, kArgumentAt = 34, kKindAt = 51, kFlagsAt = 55;
  static constexpr uint64_t kKinds = 15, kFlags = 63;

  static uint32_t field(uint64_t word, unsigned at) { return static_cast<uint32_t>(word >> at & kSlotMask); }
  void put(unsigned at, uint64_t mask, uint64_t value) {
    now_.high = (now_.high & ~(mask << at)) | (value & mask) << at;
  }

  Wide now_;
  uint64_t high_as_read_ = 0;  // settling changes nothing in `low`
};

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
