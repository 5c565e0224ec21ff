// Which message is next. Private to the segment.
#pragma once

#include "segment/shared_queue.h"

namespace mqueuefs {

struct SharedQueue::Best {
  uint32_t slot = kNoSlot;
  uint32_t place = 0;      ///< where in `returned`, if it is there
  uint32_t returned = 0;   ///< how many are there
  bool top_is_best = true;
};

}  // namespace mqueuefs
