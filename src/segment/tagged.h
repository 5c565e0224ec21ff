// Words that carry the version of their last change, and what is in them.
#pragma once

#include "segment/format.h"
#include "segment/patience.h"
#include "segment/state.h"

namespace mqueuefs {

/// Writes `value` as of `version`, unless that has been done, or is long past.
inline void set_tagged(TaggedWord& word, uint64_t version, uint64_t value) {
  Wide before = load(word);
  for (uint32_t tries = 0; before.low < version && tries < kPatience; ++tries) {
    if (swap(word, before, Wide{version, value})) return;
  }
}

/// The same for some of the bits, which others may set meanwhile.
inline void clear_tagged(TaggedWord& word, uint64_t version, uint64_t bits) {
  Wide before = load(word);
  for (uint32_t tries = 0; before.low < version && tries < kPatience; ++tries) {
    if (swap(word, before, Wide{version, before.high & ~bits})) return;
  }
}

inline void raise_to(Word32& mark, uint32_t value) {
  for (uint32_t tries = 0; tries < kPatience; ++tries) {
    const uint32_t before = load(mark);
    if (before >= value || swap(mark, before, value)) return;
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

/// `previous` of a slot whose sender waits: no slot, and the version at which he began.
inline uint64_t pending_link(uint64_t version) { return make_link(static_cast<uint32_t>(kSlotMask), version); }

/// Whether a slot was `published` by who waits since before `version`.
inline bool pends(uint64_t published, uint64_t version) {
  return (published & kPending) != 0 && (published & ~kPending) < version;
}

/// The message of a blocked sender is behind that in `older` as of `version`; written once, by whoever applies the
/// admission, and before become_message: one that comes too late finds another wait in the slot, or none.
inline void set_previous(Slot& admitted, uint32_t older, uint64_t version) {
  const uint64_t published = load(admitted.published);
  if (!pends(published, version)) return;
  swap(admitted.previous, pending_link(published & ~kPending), make_link(older, version));
}

inline void become_message(Slot& admitted, uint64_t version) {
  const uint64_t published = load(admitted.published);
  if (pends(published, version)) swap(admitted.published, published, version);
}

}  // namespace mqueuefs
