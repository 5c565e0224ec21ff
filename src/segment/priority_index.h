// Which priorities have messages: a bitmap of three levels, so that the highest one is found in three steps.
//
// Invariant: a bit of an upper level is set exactly if the word below it is not 0.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "segment/segment_view.h"

namespace mqueuefs {

/// The index inside a segment. Not thread-safe. EUCLEAN everywhere: a level promises what the next does not
/// hold.
class PriorityIndex {
 public:
  explicit PriorityIndex(const SegmentView& view) : view_(view) {}

  bool contains(uint32_t priority) const;
  void insert(uint32_t priority);
  void erase(uint32_t priority);

  /// The highest priority with messages that is less than `bound` (at most kPriorities); kPriorities if there
  /// is none.
  Result<uint32_t> highest_below(uint32_t bound) const;

  /// Checks the invariant on every word.
  Status verify() const;

 private:
  const SegmentView& view_;
};

}  // namespace mqueuefs
