// Free slots: a list of those that were used before, and a mark above which none was touched yet.
//
// A send takes the slot that was freed last, so that a short queue in a large segment stays in few pages, and memory is
// only ever touched for messages that are there. A member that has received keeps the slot for its next message.

#include "segment/patience.h"
#include "segment/shared_queue.h"

namespace mqueuefs {
namespace {

constexpr Wide free_list(uint64_t version, uint32_t first, uint32_t used) {
  return {version, uint64_t{used} << 32 | first};
}

}  // namespace

/// A slot for this level, named in `taking`. ENOMEM: none.
Status SharedQueue::claim(Level& level, uint32_t& index) const {
  store(level.round, load(level.round) + 1);
  index = load(level.held);
  if (is_slot(index)) [[likely]] {
    // At each moment one of the two names it, and `held` never what has left.
    store(level.taking, index);
    store(level.held, kNoSlot);
    return {};
  }
  const auto claimed = claim_free(level);
  if (!claimed) return claimed.error();
  index = *claimed;
  return {};
}

Result<uint32_t> SharedQueue::claim_free(Level& level) const {
  Wide before = load(header().free_slots);
  for (uint32_t tries = 0; tries < kPatience; ++tries) {
    const auto first = static_cast<uint32_t>(before.high);
    const auto used = static_cast<uint32_t>(before.high >> 32);
    if (first == kNoSlot) {
      if (used >= format_.slots) {
        store(level.taking, kNoSlot);
        return Error{ENOMEM, "all slots are in use"};
      }
      store(level.taking, used + 1);
      if (swap(header().free_slots, before, free_list(before.low + 1, kNoSlot, used + 1))) return used + 1;
      continue;
    }
    if (!is_slot(first)) return broken("segment: free list");
    store(level.taking, first);
    const uint32_t next = load(slot(first).free_next);
    // A wrong link means nothing if the slot is not free any more.
    if (next == kNoSlot || is_slot(next)) {
      if (swap(header().free_slots, before, free_list(before.low + 1, next, used))) return first;
      continue;
    }
    if (load(header().free_slots) == before) return broken("segment: free list");
    before = load(header().free_slots);
  }
  return broken("segment: free list");
}

/// The slot in `taking` is free: kept, or given to all.
void SharedQueue::keep(Level& level, uint32_t slot) const {
  if (load(level.held) == kNoSlot) {
    store(level.held, slot);
  } else {
    free_slot(slot);
  }
  store(level.taking, kNoSlot);
}

void SharedQueue::free_slot(uint32_t index) const {
  Wide before = load(header().free_slots);
  for (uint32_t tries = 0; tries < kPatience; ++tries) {
    store(slot(index).free_next, static_cast<uint32_t>(before.high));
    if (swap(header().free_slots, before,
             free_list(before.low + 1, index, static_cast<uint32_t>(before.high >> 32)))) {
      return;
    }
  }
}

}  // namespace mqueuefs
