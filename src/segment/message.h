// The checked copy of one queued message's words. Private to the segment.
#pragma once

#include "segment/queue_segment.h"

namespace mqueuefs {

/// Every value was read once and is in range: `slot` is a slot, `next` is one or kNoSlot, `info.size` is at
/// most msgsize.
struct QueueSegment::Message {
  MessageInfo info;
  uint32_t slot = kNoSlot;
  uint32_t next = kNoSlot;
};

}  // namespace mqueuefs
