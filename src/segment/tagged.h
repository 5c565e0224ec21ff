// Words that carry the version of their last change, and what is in them.
#pragma once

#include "segment/format.h"
#include "segment/state.h"

namespace mqueuefs {

/// Writes `value` as of `version`, unless that has been done, or is long past.
inline void set_tagged(TaggedWord& word, uint64_t version, uint64_t value) {
  Wide before = load(word);
  while (before.low < version) {
    if (swap(word, before, Wide{version, value})) return;
  }
}

inline uint64_t list_value(uint32_t head, uint32_t tail) { return uint64_t{tail} << 32 | head; }
inline uint32_t list_head(uint64_t value) { return static_cast<uint32_t>(value); }
inline uint32_t list_tail(uint64_t value) { return static_cast<uint32_t>(value >> 32); }

inline Wide waiter_word(WaiterState state, uint32_t slot, uint64_t since) {
  return {since, uint64_t{slot} << 32 | static_cast<uint32_t>(state)};
}
inline WaiterState state_of(const Wide& word) { return static_cast<WaiterState>(static_cast<uint32_t>(word.high)); }
inline uint32_t slot_of(const Wide& word) { return static_cast<uint32_t>(word.high >> 32); }
inline bool waits(const Wide& word) {
  return state_of(word) == WaiterState::kWaiting || state_of(word) == WaiterState::kAsleep;
}

/// `previous` of a slot whose sender waits: no slot, and the version at which he began. It is written once, by
/// whoever applies the admission.
inline uint64_t pending_link(uint64_t version) { return make_link(static_cast<uint32_t>(kSlotMask), version); }

inline void set_previous(Word64& previous, uint32_t slot, uint64_t version) {
  const uint64_t before = load(previous);
  if (link_slot(before) != kSlotMask || !link_is_newer(make_link(0, version), before >> 17)) return;
  swap(previous, before, make_link(slot, version));
}

}  // namespace mqueuefs
