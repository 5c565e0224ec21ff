// What looks at messages inside the queue, or puts one there: peek and put_back.

#include <algorithm>
#include <cstring>

#include "segment/message.h"
#include "segment/priority_index.h"
#include "segment/queue_segment.h"
#include "segment/slot_pool.h"

namespace mqueuefs {

// Where a message that was taken belongs: behind the last one with a lower sequence.
Result<QueueSegment::Place> QueueSegment::place_of(const MessageInfo& info) const {
  const SegmentView segment = view();
  if (!PriorityIndex(segment).contains(info.priority)) return Place{};
  const PriorityCell& list = segment.priority(info.priority);
  const Result<Message> tail = read_message(load_once(list.tail), info.priority);
  if (!tail) return tail.error();
  if (tail->next != kNoSlot) return Error{EUCLEAN, "segment: tail"};
  if (tail->info.sequence < info.sequence) return Place{tail->slot, kNoSlot};

  // The sequence rises at each step and must come to the tail's, so this ends.
  Place place;
  uint64_t before = 0;
  place.next = load_once(list.head);
  for (uint32_t steps = 0; steps < layout_.slots; ++steps) {
    const Result<Message> message = read_message(place.next, info.priority);
    if (!message) return message.error();
    if (message->info.sequence <= before) return Error{EUCLEAN, "segment: order"};
    if (message->info.sequence == info.sequence) return Error{EINVAL};
    if (message->info.sequence > info.sequence) return place;
    before = message->info.sequence;
    place = Place{message->slot, message->next};
  }
  return Error{EUCLEAN, "segment: order"};
}

Status QueueSegment::put_back(const MessageInfo& info, std::span<const std::byte> payload) {
  if (info.priority >= kPriorities || info.sequence == 0 || info.sequence >= kLastSequence)
    return Error{EINVAL};
  if (payload.size() != info.size) return Error{EINVAL};
  if (payload.size() > attributes_.msgsize) return Error{EMSGSIZE};
  const uint32_t queued = messages();
  if (dead()) return Error{EUCLEAN, "segment: dead"};
  if (queued == layout_.slots) return Error{EAGAIN};

  const Result<Place> place = place_of(info);
  if (!place) return fail(place.error());
  Word64& last_sequence = view().header().last_sequence;
  store(last_sequence, std::max(load_once(last_sequence), info.sequence));
  if (const Status inserted = insert(info, *place, payload); !inserted) {
    return fail(Error{EUCLEAN, inserted.error().step});
  }
  return {};
}

// The first message of the next lower priority that has any.
Result<QueueSegment::Message> QueueSegment::first_below(uint32_t priority) const {
  const Result<uint32_t> lower = PriorityIndex(view()).highest_below(priority);
  if (!lower) return lower.error();
  if (*lower == kPriorities) return Error{EAGAIN};
  return head_of(*lower);
}

// The message behind `position`: lower in priority or higher in sequence, so every walk ends.
Result<QueueSegment::Message> QueueSegment::message_after(const PeekPosition& position) const {
  if (position.priority == kPriorities) return first_message();
  if (dead()) return Error{EUCLEAN, "segment: dead"};
  const SegmentView segment = view();
  const uint32_t priority = position.priority;
  if (!PriorityIndex(segment).contains(priority)) return first_below(priority);

  // The hint is right if that slot still holds the very message. If it does not, the message was taken, and
  // since only heads are taken the search ends at once, unless older ones were put back.
  uint32_t slot = load_once(segment.priority(priority).head);
  uint64_t before = 0;
  if (segment.is_slot(position.slot_hint)) {
    const SlotCell& cell = segment.slot(position.slot_hint);
    if (load_once(cell.state) == kSlotQueued && load_once(cell.priority) == priority &&
        load_once(cell.sequence) == position.sequence) {
      slot = load_once(cell.next);
      before = position.sequence;
      if (slot == kNoSlot) return first_below(priority);
    }
  }
  for (uint32_t steps = 0; steps < layout_.slots; ++steps) {
    const Result<Message> message = read_message(slot, priority);
    if (!message) return message.error();
    if (message->info.sequence <= before) break;
    if (message->info.sequence > position.sequence) return *message;
    if (message->next == kNoSlot) return first_below(priority);
    before = message->info.sequence;
    slot = message->next;
  }
  return Error{EUCLEAN, "segment: order"};
}

Result<MessageInfo> QueueSegment::peek(PeekPosition& position, uint32_t offset,
                                       std::span<std::byte> buffer) const {
  if (position.priority > kPriorities) return Error{EINVAL};
  const Result<Message> message = message_after(position);
  if (!message) return fail(message.error());
  const MessageInfo info = message->info;
  const size_t wanted = std::min(buffer.size(), size_t{info.size} - std::min(offset, info.size));
  if (wanted != 0) memcpy(buffer.data(), view().payload(message->slot) + offset, wanted);
  position = PeekPosition{info.priority, info.sequence, message->slot};
  return info;
}

}  // namespace mqueuefs
