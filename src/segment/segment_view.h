// Typed access to a mapped segment: turns an index into a reference, and nothing else.
//
// An index has to be checked by the caller if it came from the segment; the assertions here are the second
// wall, so that a forgotten check is an abort and never an access outside.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "segment/layout.h"

namespace mqueuefs {

/// Does not own the mapping. Cheap to copy.
class SegmentView {
 public:
  SegmentView(const Layout& layout, std::byte* base) : layout_(layout), base_(base) { MQUEUEFS_CHECK(base); }

  const Layout& layout() const { return layout_; }
  Header& header() const { return *at<Header>(0); }
  Word64& leaf(uint32_t word) const {
    MQUEUEFS_CHECK(word < kIndexLeafWords);
    return at<Word64>(layout_.leaf_offset)[word];
  }
  PriorityCell& priority(uint32_t priority) const {
    MQUEUEFS_CHECK(priority < kPriorities);
    return at<PriorityCell>(layout_.priority_offset)[priority];
  }
  bool is_slot(uint32_t slot) const { return slot - 1 < layout_.slots; }
  SlotCell& slot(uint32_t slot) const {
    MQUEUEFS_CHECK(is_slot(slot));
    return at<SlotCell>(layout_.slot_offset)[slot - 1];
  }
  /// payload_stride bytes.
  std::byte* payload(uint32_t slot) const {
    MQUEUEFS_CHECK(is_slot(slot));
    return base_ + layout_.payload_offset + uint64_t{slot - 1} * layout_.payload_stride;
  }

 private:
  template <typename T>
  T* at(uint64_t offset) const {
    return reinterpret_cast<T*>(base_ + offset);
  }

  const Layout& layout_;
  std::byte* base_;
};

}  // namespace mqueuefs
