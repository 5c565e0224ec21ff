// Is the whole segment what man/mqueuefs-segment.5 says? Every invariant, each loop bounded by private
// numbers.

#include "segment/message.h"
#include "segment/priority_index.h"
#include "segment/queue_segment.h"
#include "segment/slot_pool.h"

namespace mqueuefs {

Status QueueSegment::verify() const {
  if (dead()) return Error{EUCLEAN, "segment: dead"};
  if (const Status identity = check_identity(); !identity) return fail(identity.error());
  if (const Status contents = verify_contents(); !contents) return fail(contents.error());
  return {};
}

// A slot can't be in two lists, since it has one priority, nor twice in one, since sequences rise strictly.
Status QueueSegment::verify_contents() const {
  const SegmentView segment = view();
  const Header& header = segment.header();
  const PriorityIndex index(segment);
  if (const Status consistent = index.verify(); !consistent) return consistent;
  if (load_once(header.last_sequence) > kLastSequence) return Error{EUCLEAN, "segment: sequence"};

  const uint32_t used = load_once(header.used_slots);
  uint32_t messages = 0;
  uint64_t bytes = 0;
  for (uint32_t bound = kPriorities;;) {
    const Result<uint32_t> priority = index.highest_below(bound);
    if (!priority) return priority.error();
    if (*priority == kPriorities) break;
    bound = *priority;

    uint32_t slot = load_once(segment.priority(bound).head);
    uint64_t before = 0;
    for (;;) {
      const Result<Message> message = read_message(slot, bound);
      if (!message) return message.error();
      if (slot > used) return Error{EUCLEAN, "segment: link"};
      if (message->info.sequence <= before) return Error{EUCLEAN, "segment: order"};
      if (++messages > layout_.slots) return Error{EUCLEAN, "segment: message count"};
      before = message->info.sequence;
      bytes += message->info.size;
      if (message->next == kNoSlot) break;
      slot = message->next;
    }
    if (load_once(segment.priority(bound).tail) != slot) return Error{EUCLEAN, "segment: tail"};
  }
  if (load_once(header.messages) != messages) return Error{EUCLEAN, "segment: message count"};
  if (load_once(header.payload_bytes) != bytes) return Error{EUCLEAN, "segment: payload bytes"};
  return SlotPool(segment).verify(messages);
}

}  // namespace mqueuefs
