#include "segment/slot_pool.h"

namespace mqueuefs {
namespace {

constexpr Error kBrokenList{EUCLEAN, "segment: free list"};

}  // namespace

Result<uint32_t> SlotPool::take() {
  Header& header = view_.header();
  const uint32_t free_slot = load_once(header.free_slot);
  if (free_slot != kNoSlot) {
    if (!view_.is_slot(free_slot)) return kBrokenList;
    const SlotCell& cell = view_.slot(free_slot);
    if (load_once(cell.state) != kSlotFree) return kBrokenList;
    const uint32_t next = load_once(cell.next);
    if (next != kNoSlot && !view_.is_slot(next)) return kBrokenList;
    store(header.free_slot, next);
    return free_slot;
  }
  const uint32_t used = load_once(header.used_slots);
  if (used > view_.layout().slots) return kBrokenList;
  if (used == view_.layout().slots) return Error{EAGAIN};
  store(header.used_slots, used + 1);
  return used + 1;
}

void SlotPool::give_back(uint32_t slot) {
  Header& header = view_.header();
  store(view_.slot(slot).next, load_once(header.free_slot));
  store(header.free_slot, slot);
}

void SlotPool::reset() {
  store(view_.header().free_slot, kNoSlot);
  store(view_.header().used_slots, uint32_t{0});
}

Status SlotPool::verify(uint32_t queued) const {
  const uint32_t used = load_once(view_.header().used_slots);
  if (used > view_.layout().slots || queued > used) return kBrokenList;
  // As long as it has to be, and then at its end: so it has no cycle, and no slot is in it twice.
  uint32_t slot = load_once(view_.header().free_slot);
  for (uint32_t left = used - queued; left > 0; --left) {
    if (slot == kNoSlot || slot > used) return kBrokenList;
    const SlotCell& cell = view_.slot(slot);
    if (load_once(cell.state) != kSlotFree) return kBrokenList;
    slot = load_once(cell.next);
  }
  if (slot != kNoSlot) return kBrokenList;
  return {};
}

}  // namespace mqueuefs
