// Sending: a slot is filled, and then one change of the state makes it a message.

#include <time.h>

#include "segment/patience.h"
#include "segment/shared_queue.h"
#include "segment/tagged.h"

namespace mqueuefs {

// mq_timedsend's order (doc/behaviour.md E2).
Status SharedQueue::check_message(uint32_t priority, size_t size) const {
  if (priority >= kPriorities) return Error{EINVAL};
  if (size > attributes_.msgsize) return Error{EMSGSIZE};
  return {};
}

Slot& SharedQueue::fill(uint32_t index, uint32_t priority, std::span<const std::byte> message, uint64_t now_s) const {
  copy_shared(payload(index), message.data(), message.size());
  Slot& filled = slot(index);
  store(filled.size, static_cast<uint32_t>(message.size()));
  store(filled.priority, priority);
  store(filled.sent_s, now_s);
  return filled;
}

// The files' times have a granularity of one second (doc/behaviour.md B10); time(2) is a fifth of what clock_gettime(2) costs.
uint64_t SharedQueue::now_s() { return static_cast<uint64_t>(time(nullptr)); }

void SharedQueue::note_change(uint64_t now_s) const {
  if (load(header().changed_s) != now_s) [[unlikely]] store(header().changed_s, now_s);
}

Status SharedQueue::try_send(Seat seat, uint32_t priority, std::span<const std::byte> message,
                             Aftermath& after) const {
  return send_from(seat, priority, message, Place::kNew, after);
}

Status SharedQueue::send_from(Seat seat, uint32_t priority, std::span<const std::byte> message, Place place,
                              Aftermath& after) const {
  const uint64_t now = now_s();
  if (const Status checked = check_message(priority, message.size()); !checked) return checked;
  State state;
  if (const Status read = settled(state, after); !read) return read;
  // Nothing is copied for a full queue.
  if (place == Place::kNew && state.count() >= attributes_.maxmsg) return Error{EAGAIN};
  Level& mine = level(seat);
  uint32_t index = kNoSlot;
  if (const Status claimed = claim(mine, index); !claimed) return claimed;
  Slot& filled = fill(index, priority, message, now);
  const auto size = static_cast<uint32_t>(message.size());
  const Status sent = send_slot(state, mine, filled, index, priority, size, now, place, after);
  if (sent) {
    store(mine.taking, kNoSlot);
  } else {
    keep(mine, index);
  }
  return sent;
}

// What is in the slot is handed in besides: once the message is sent it may be another's at once. `state` was looked at
// before the message was copied: if others were faster, the first try says so.
Status SharedQueue::send_slot(State state, Level& mine, Slot& sent, uint32_t index, uint32_t priority, uint32_t size,
                              uint64_t now_s, Place place, Aftermath& after) const {
  for (uint32_t tries = 0; tries < kPatience; ++tries) {
    if (tries != 0) {
      if (const Status read = settled(state, after); !read) return read;
      if (place == Place::kNew && state.count() >= attributes_.maxmsg) return Error{EAGAIN};
    }
    State next = state;
    store(sent.published, (state.version() + 1) & kVersionMask);
    if (state.has(kReceiversWait)) [[unlikely]] {
      const HandOver handed = hand_over(mine, state, index, now_s, place, after);
      if (handed == HandOver::kDone) return {};
      if (handed == HandOver::kBroken) return broken("segment: hand-over");
      if (handed == HandOver::kMoved) continue;
      next.clear(kReceiversWait);
    }
    const bool notifies = place != Place::kGranted && state.has(kNotify) && state.empty();
    if (notifies) next.clear(kNotify);
    const bool is_edge = place != Place::kGranted && state.has(kPoll);
    if (is_edge) next.clear(kPoll);
    if (place == Place::kNew) next.set_count(next.count() + 1);
    if (const Status placed = place_in_list(state, sent, index, priority, next); !placed) {
      if (placed.code() == EAGAIN) continue;
      return placed;
    }
    if (!decide(state, next)) [[unlikely]] continue;

    store(mine.bytes, load(mine.bytes) + size);
    store(mine.messages_sent, load(mine.messages_sent) + 1);
    note_change(now_s);
    if (next.kind() != Kind::kNone) {
      static_cast<void>(apply(next, after));
    } else if (state.head() != kNoSlot) {
      store(slot(state.tail()).next, make_link(index, next.version()));
    }
    if (is_edge) after.tell_owner = true;
    if (notifies) after.used_notification = true;
    return {};
  }
  return broken("segment: nobody gets through");
}

/// To the first who waits for a message, if somebody does and there is none.
SharedQueue::HandOver SharedQueue::hand_over(Level& mine, State state, uint32_t index, uint64_t now_s, Place place,
                                             Aftermath& after) const {
  const auto receiver = best_waiter(kReceives);
  if (!receiver || !state.empty()) return HandOver::kNobody;
  State next = state;
  next.set_kind(Kind::kHand);
  next.set_argument(index);
  next.set_tail(*receiver + 1);
  if (place != Place::kNew) {
    next.set_count(next.count() - 1);
    if (state.has(kSendersWait)) next.clear(kPoll);
  }
  if (!decide(state, next)) return HandOver::kMoved;
  store(mine.messages_sent, load(mine.messages_sent) + 1);
  note_change(now_s);
  if (apply(next, after) == Applied::kBroken) return HandOver::kBroken;
  // The place that was reserved is free for who waits for one; his message is not there for who polls unless he
  // is told.
  if (place != Place::kNew && state.has(kSendersWait)) {
    after.tell_owner = after.tell_owner || state.has(kPoll);
    static_cast<void>(settled(after));
  }
  return HandOver::kDone;
}

/// How the state changes when the message in slot `index` is appended. EAGAIN: it has moved.
Status SharedQueue::place_in_list(const State& state, Slot& sent, uint32_t index, uint32_t priority,
                                  State& next) const {
  if (state.head() == kNoSlot) {
    next.set_list(index, index);
    return {};
  }
  if (!is_slot(state.head()) || !is_slot(state.tail())) return moved_or(state, "segment: top list");
  const uint32_t top = load(slot(state.head()).priority);
  if (priority == top) {
    store(sent.previous, make_link(state.tail(), next.version()));
    next.set_tail(index);
    return {};
  }
  next.set_argument(index);
  if (priority > top) {
    next.set_kind(Kind::kSpill);
    return {};
  }
  const uint32_t tail = list_tail(load(list(priority)).high);
  store(sent.previous, make_link(tail, next.version()));
  next.set_kind(Kind::kAppend);
  return {};
}

}  // namespace mqueuefs
