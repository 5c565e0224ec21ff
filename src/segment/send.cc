// Sending: a slot is filled, and then one change of the state makes it a message.

#include <time.h>

#include "segment/patience.h"
#include "segment/shared_queue.h"
#include "segment/tagged.h"

namespace mqueuefs {

// mq_timedsend's order (SPEC E2).
Status SharedQueue::check_message(uint32_t priority, size_t size) const {
  if (priority >= kPriorities) return Error{EINVAL};
  if (size > attributes_.msgsize) return Error{EMSGSIZE};
  return {};
}

void SharedQueue::fill(uint32_t index, uint32_t priority, std::span<const std::byte> message) const {
  Slot& filled = slot(index);
  store(filled.size, static_cast<uint32_t>(message.size()));
  store(filled.priority, priority);
  store(filled.sent_s, static_cast<uint64_t>(time(nullptr)));
  copy_shared(payload(index), message.data(), message.size());
}

// The files' times have a granularity of one second (SPEC B10); time(2) is a fifth of what clock_gettime(2) costs.
void SharedQueue::note_change(uint64_t now_s) const {
  if (load(header().changed_s) != now_s) store(header().changed_s, now_s);
}

Status SharedQueue::try_send(Seat seat, uint32_t priority, std::span<const std::byte> message,
                             Aftermath& after) const {
  return send_from(seat, priority, message, Place::kNew, after);
}

Status SharedQueue::send_from(Seat seat, uint32_t priority, std::span<const std::byte> message, Place place,
                              Aftermath& after) const {
  if (const Status checked = check_message(priority, message.size()); !checked) return checked;
  if (place == Place::kNew) {
    // Nothing is copied for a full queue.
    const auto state = settled(after);
    if (!state) return state.error();
    if (state->count >= attributes_.maxmsg) return Error{EAGAIN};
  }
  Level& mine = level(seat);
  const auto claimed = claim(mine);
  if (!claimed) return claimed.error();
  fill(*claimed, priority, message);
  const Status sent = send_slot(mine, *claimed, place, after);
  if (sent) {
    store(mine.taking, kNoSlot);
  } else {
    keep(mine, *claimed);
  }
  return sent;
}

Status SharedQueue::send_slot(Level& mine, uint32_t index, Place place, Aftermath& after) const {
  Slot& sent = slot(index);
  const uint32_t size = load(sent.size);  // once it is sent it may be another's at once
  const uint64_t now_s = load(sent.sent_s);
  for (uint32_t tries = 0; tries < kPatience; ++tries) {
    State state, next;
    if (const Status read = settled(state, next, after); !read) return read.error();
    if (place == Place::kNew && state.count >= attributes_.maxmsg) return Error{EAGAIN};
    const uint64_t version = state.version + 1;
    store(sent.published, version & kVersionMask);
    if (state.has(kReceiversWait)) {
      if (const auto receiver = best_waiter(kReceives); receiver && state.empty()) {
        next.kind = Kind::kHand;
        next.argument = index;
        next.tail = *receiver + 1;
        if (place != Place::kNew) {
          next.count--;
          if (state.has(kSendersWait)) next.flags &= ~uint32_t{kPoll};
        }
        if (!decide(state, next)) continue;
        store(mine.messages_sent, load(mine.messages_sent) + 1);
        note_change(now_s);
        if (const Applied applied = apply(next, after); applied == Applied::kBroken) return broken("segment: hand-over");
        // The place that was reserved is free for who waits for one; his message is not there for who polls unless he
        // is told.
        if (place != Place::kNew && state.has(kSendersWait)) {
          after.tell_owner = after.tell_owner || state.has(kPoll);
          static_cast<void>(settled(after));
        }
        return {};
      }
      next.flags &= ~uint32_t{kReceiversWait};
    }
    const bool notifies = place != Place::kGranted && state.has(kNotify) && state.empty();
    if (notifies) next.flags &= ~uint32_t{kNotify};
    const bool is_edge = place != Place::kGranted && state.has(kPoll);
    if (is_edge) next.flags &= ~uint32_t{kPoll};
    if (place == Place::kNew) next.count++;
    if (const Status placed = place_in_list(state, index, next); !placed) {
      if (placed.code() == EAGAIN) continue;
      return placed;
    }
    if (!decide(state, next)) continue;

    store(mine.bytes, load(mine.bytes) + size);
    store(mine.messages_sent, load(mine.messages_sent) + 1);
    note_change(now_s);
    if (next.kind != Kind::kNone) {
      static_cast<void>(apply(next, after));
    } else if (state.head != kNoSlot) {
      store(slot(state.tail).next, make_link(index, next.version));
    }
    if (is_edge) after.tell_owner = true;
    if (notifies) after.used_notification = true;
    return {};
  }
  return broken("segment: nobody gets through");
}

/// How the state changes when the message in slot `index` is appended. EAGAIN: it has moved.
Status SharedQueue::place_in_list(const State& state, uint32_t index, State& next) const {
  Slot& sent = slot(index);
  if (state.head == kNoSlot) {
    next.head = next.tail = index;
    return {};
  }
  const uint32_t priority = load(sent.priority);
  if (!is_slot(state.head) || !is_slot(state.tail)) return still(state) ? broken("segment: top list") : Error{EAGAIN};
  const uint32_t top = load(slot(state.head).priority);
  if (priority == top) {
    store(sent.previous, make_link(state.tail, next.version));
    next.tail = index;
    return {};
  }
  next.argument = index;
  if (priority > top) {
    next.kind = Kind::kSpill;
    return {};
  }
  const uint32_t tail = list_tail(load(list(priority)).high);
  store(sent.previous, make_link(tail, next.version));
  next.kind = Kind::kAppend;
  return {};
}

}  // namespace mqueuefs
