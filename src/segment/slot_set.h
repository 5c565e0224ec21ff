// Which slots were seen. Private to the segment.
#pragma once

#include "segment/shared_queue.h"

namespace mqueuefs {

/// 8.4 KiB, for the stack.
struct SharedQueue::SlotSet {
  uint64_t words[(kMaxMessages + kSpareSlots + 1 + 63) / 64] = {};

  bool contains(uint32_t slot) const { return (words[slot / 64] >> (slot % 64) & 1) != 0; }
  /// False: it was there.
  bool insert(uint32_t slot) {
    if (contains(slot)) return false;
    words[slot / 64] |= uint64_t{1} << (slot % 64);
    return true;
  }
};

}  // namespace mqueuefs
