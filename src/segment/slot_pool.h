// Which slots are free: a list of those that were used before, and a mark above which none was touched yet.
//
// A send takes the slot that was freed last, so that a short queue in a large segment stays in few pages, and
// memory is only ever touched for messages that are there.
// Invariant: each slot from 1 to used_slots is either queued or in the list, exactly once.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "segment/segment_view.h"

namespace mqueuefs {

/// The free slots inside a segment. Not thread-safe. EUCLEAN everywhere: the list leads to what is not a free
/// slot.
class SlotPool {
 public:
  explicit SlotPool(const SegmentView& view) : view_(view) {}

  /// A free slot, which is no longer in the list. EAGAIN: none.
  Result<uint32_t> take();
  void give_back(uint32_t slot);

  /// Forgets that any slot was ever used. For an empty queue only.
  void reset();

  /// Checks the invariant, given that `queued` messages are in the lists of the priorities.
  Status verify(uint32_t queued) const;

 private:
  const SegmentView& view_;
};

}  // namespace mqueuefs
