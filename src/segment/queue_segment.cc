// Send and receive. One operation: read and check all that is needed, copy the payload, change the links,
// then the counters.
//
// A slot's state is the truth and is written last by a send and first by a receive. A process that dies
// between leaves counters or links that disagree with it, which the next user or verify() finds.

#include "segment/queue_segment.h"

#include <algorithm>
#include <cstring>

#include "segment/message.h"
#include "segment/priority_index.h"
#include "segment/slot_pool.h"

namespace mqueuefs {
namespace {

constexpr uint64_t kTrimAfterBytes = uint64_t{256} * 1024;

}  // namespace

bool QueueSegment::dead() const {
  if (!dead_ && load_once(view().header().dead) != 0) dead_ = true;
  return dead_;
}

// Every error leaves through here: a contradiction is the segment's end.
Error QueueSegment::fail(Error error) const {
  if (error.code == EUCLEAN) {
    dead_ = true;
    store(view().header().dead, uint32_t{1});
  }
  return error;
}

uint32_t QueueSegment::messages() const {
  if (dead()) return 0;
  const uint32_t messages = load_once(view().header().messages);
  if (messages > layout_.slots) {
    fail(Error{EUCLEAN});
    return 0;
  }
  return messages;
}

uint64_t QueueSegment::payload_bytes() const {
  const uint64_t most = uint64_t{messages()} * attributes_.msgsize;
  if (dead()) return 0;
  const uint64_t bytes = load_once(view().header().payload_bytes);
  if (bytes > most) {
    fail(Error{EUCLEAN});
    return 0;
  }
  return bytes;
}

Result<QueueSegment::Message> QueueSegment::read_message(uint32_t slot, uint32_t priority) const {
  const SegmentView segment = view();
  if (!segment.is_slot(slot)) return Error{EUCLEAN, "segment: link"};
  const SlotCell& cell = segment.slot(slot);
  Message message;
  message.slot = slot;
  message.next = load_once(cell.next);
  message.info.priority = priority;
  message.info.size = load_once(cell.size);
  message.info.sequence = load_once(cell.sequence);
  if (load_once(cell.state) != kSlotQueued || load_once(cell.priority) != priority) {
    return Error{EUCLEAN, "segment: not a message of this priority"};
  }
  if (message.next != kNoSlot && !segment.is_slot(message.next)) return Error{EUCLEAN, "segment: link"};
  if (message.info.size > attributes_.msgsize) return Error{EUCLEAN, "segment: message size"};
  if (message.info.sequence == 0 || message.info.sequence > load_once(segment.header().last_sequence)) {
    return Error{EUCLEAN, "segment: sequence"};
  }
  return message;
}

Result<QueueSegment::Message> QueueSegment::head_of(uint32_t priority) const {
  return read_message(load_once(view().priority(priority).head), priority);
}

Result<QueueSegment::Message> QueueSegment::first_message() const {
  if (dead()) return Error{EUCLEAN, "segment: dead"};
  const SegmentView segment = view();
  const uint32_t messages = load_once(segment.header().messages);
  const Result<uint32_t> priority = PriorityIndex(segment).highest_below(kPriorities);
  if (!priority) return priority.error();
  if (messages > layout_.slots || (messages == 0) != (*priority == kPriorities)) {
    return Error{EUCLEAN, "segment: message count"};
  }
  if (messages == 0) return Error{EAGAIN};
  return head_of(*priority);
}

uint64_t QueueSegment::take_sequence() {
  if (dead()) return 0;
  Word64& last_sequence = view().header().last_sequence;
  const uint64_t last = load_once(last_sequence);
  if (last >= kLastSequence) {
    fail(Error{EUCLEAN});
    return 0;
  }
  store(last_sequence, last + 1);
  return last + 1;
}

Result<MessageInfo> QueueSegment::front() const {
  const Result<Message> first = first_message();
  if (!first) return fail(first.error());
  return first->info;
}

Result<MessageInfo> QueueSegment::try_send(uint32_t priority, std::span<const std::byte> payload) {
  if (priority >= kPriorities) return Error{EINVAL};
  if (payload.size() > attributes_.msgsize) return Error{EMSGSIZE};
  const uint32_t queued = messages();
  if (dead()) return Error{EUCLEAN, "segment: dead"};
  if (queued >= attributes_.maxmsg) return Error{EAGAIN};

  const uint64_t sequence = take_sequence();
  if (sequence == 0) return Error{EUCLEAN, "segment: sequence"};
  const MessageInfo info{priority, static_cast<uint32_t>(payload.size()), sequence};
  Place place;
  if (PriorityIndex(view()).contains(priority)) {
    const Result<Message> tail = read_message(load_once(view().priority(priority).tail), priority);
    if (!tail) return fail(tail.error());
    if (tail->next != kNoSlot || tail->info.sequence >= sequence)
      return fail(Error{EUCLEAN, "segment: tail"});
    place.previous = tail->slot;
  }
  if (const Status inserted = insert(info, place, payload); !inserted) {
    // There is room, so there is a free slot.
    return fail(Error{EUCLEAN, inserted.error().step});
  }
  return info;
}

Status QueueSegment::insert(const MessageInfo& info, Place place, std::span<const std::byte> payload) {
  const SegmentView segment = view();
  Header& header = segment.header();
  const Result<uint32_t> taken = SlotPool(segment).take();
  if (!taken) return taken.error();
  const uint32_t slot = *taken;

  if (!payload.empty()) memcpy(segment.payload(slot), payload.data(), payload.size());
  SlotCell& cell = segment.slot(slot);
  store(cell.sequence, info.sequence);
  store(cell.next, place.next);
  store(cell.size, info.size);
  store(cell.priority, info.priority);
  cell.state.store(kSlotQueued, std::memory_order_release);

  PriorityCell& list = segment.priority(info.priority);
  if (place.next == kNoSlot) store(list.tail, slot);
  if (place.previous == kNoSlot) {
    store(list.head, slot);
  } else {
    store(segment.slot(place.previous).next, slot);
  }
  if (place.previous == kNoSlot && place.next == kNoSlot) PriorityIndex(segment).insert(info.priority);

  store(header.payload_bytes, load_once(header.payload_bytes) + info.size);
  store(header.messages, load_once(header.messages) + 1);
  return {};
}

Result<MessageInfo> QueueSegment::try_receive(std::span<std::byte> buffer) {
  const Result<Message> first = first_message();
  if (!first) return fail(first.error());
  const MessageInfo info = first->info;
  if (buffer.size() < info.size) return Error{EMSGSIZE};
  if (info.size != 0) memcpy(buffer.data(), view().payload(first->slot), info.size);
  if (const Status removed = remove_head(*first); !removed) return fail(removed.error());

  // At most what the message made the file hold: whole pages where slots are larger than one.
  received_bytes_ += sizeof(SlotCell) + std::min(info.size + kSegmentPage, uint64_t{layout_.payload_stride});
  if (received_bytes_ > kTrimAfterBytes && load_once(view().header().messages) == 0) trim_if_due();
  return info;
}

Status QueueSegment::remove_head(const Message& message) {
  const SegmentView segment = view();
  Header& header = segment.header();
  PriorityCell& list = segment.priority(message.info.priority);
  const uint64_t bytes = load_once(header.payload_bytes);
  const uint32_t queued = load_once(header.messages);
  if (queued == 0 || bytes < message.info.size) return Error{EUCLEAN, "segment: counters"};
  if ((load_once(list.tail) == message.slot) != (message.next == kNoSlot))
    return Error{EUCLEAN, "segment: tail"};

  store(segment.slot(message.slot).state, uint32_t{kSlotFree});
  if (message.next == kNoSlot) {
    PriorityIndex(segment).erase(message.info.priority);
  } else {
    store(list.head, message.next);
  }
  store(header.payload_bytes, bytes - message.info.size);
  store(header.messages, queued - 1);
  SlotPool(segment).give_back(message.slot);
  return {};
}

}  // namespace mqueuefs
