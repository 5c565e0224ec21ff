// Receiving: one change of the state makes the message the receiver's, then it is copied.

#include <time.h>

#include <algorithm>

#include "segment/best_message.h"
#include "segment/patience.h"
#include "segment/shared_queue.h"
#include "segment/tagged.h"

namespace mqueuefs {

MessageInfo SharedQueue::info_of(uint32_t index) const {
  const Slot& taken = slot(index);
  MessageInfo info;
  info.priority = load(taken.priority) % kPriorities;
  info.size = std::min(load(taken.size), attributes_.msgsize);
  info.sequence = load(taken.published);
  return info;
}

MessageInfo SharedQueue::copy_out(uint32_t index, std::span<std::byte> buffer) const {
  const MessageInfo info = info_of(index);
  const size_t bytes = std::min<size_t>(info.size, buffer.size());  // read once more: it may have grown
  copy_shared(buffer.data(), payload(index), bytes);
  return info;
}

/// The message that is next. EAGAIN: the state has moved.
Status SharedQueue::best_message(const State& state, Best& best) const {
  best = {};
  if (state.head() != kNoSlot) {
    if (!is_slot(state.head())) [[unlikely]] return moved_or(state, "segment: head");
    best.slot = state.head();
  }
  if (!state.has(kSomeReturned)) [[likely]] return {};
  const auto among_returned = best_of_returned(state, best.slot);
  if (!among_returned) return among_returned.error();
  best = *among_returned;
  return {};
}

/// `top` or one of those that were given back.
Result<SharedQueue::Best> SharedQueue::best_of_returned(State state, uint32_t top) const {
  Best best;
  best.slot = top;
  best.top_is_best = top != kNoSlot;
  uint32_t priority = top != kNoSlot ? load(slot(top).priority) : 0;
  uint64_t sequence = top != kNoSlot ? load(slot(top).published) : UINT64_MAX;
  for (uint32_t place = 0; place < kReturned; ++place) {
    const auto index = static_cast<uint32_t>(load(returned(place)).high);
    if (index == kNoSlot) continue;
    if (!is_slot(index)) return moved_or(state, "segment: returned");
    best.returned++;
    const uint32_t its_priority = load(slot(index).priority);
    const uint64_t its_sequence = load(slot(index).published);
    if (its_priority < priority || (its_priority == priority && its_sequence > sequence)) continue;
    best.slot = index;
    best.place = place;
    best.top_is_best = false;
    priority = its_priority;
    sequence = its_sequence;
  }
  if (best.slot == kNoSlot) return moved_or(state, "segment: returned");
  return best;
}

/// How the state changes when `best` is taken. EAGAIN: it has moved.
Status SharedQueue::take_out(const State& state, const Best& best, State& next) const {
  if (state.count() == 0) [[unlikely]] return moved_or(state, "segment: count");
  next.set_count(state.count() - 1);
  if (!best.top_is_best) [[unlikely]] {
    next.set_kind(Kind::kTake);
    next.set_argument(best.place);
    if (best.returned == 1) next.clear(kSomeReturned);
    return {};
  }
  if (state.head() != state.tail()) {
    uint32_t following = kNoSlot;
    if (const Status found = next_of(state, state.head(), following); !found) return found;
    next.set_head(following);
    return {};
  }
  next.set_list(kNoSlot, kNoSlot);
  if (state.count() == 1) return {};
  const auto lower = take_lower_list(state, next);
  if (!lower) return lower.error();
  next = *lower;
  return {};
}

/// The top list is used up: the next lower one becomes it.
Result<State> SharedQueue::take_lower_list(State state, State next) const {
  const auto lower = highest_below(load(slot(state.head()).priority), state);
  if (!lower) return lower.error();
  if (*lower == kPriorities) return next;
  const uint64_t value = load(list(*lower)).high;
  if (!is_slot(list_head(value)) || !is_slot(list_tail(value))) return moved_or(state, "segment: list");
  next.set_list(list_head(value), list_tail(value));
  next.set_kind(Kind::kLoad);
  next.set_argument(*lower);
  return next;
}

// What makes no sense is a contradiction only if the state that led to it is still there.
Error SharedQueue::moved_or(State state, const char* what) const {
  return still(state) ? broken(what) : Error{EAGAIN};
}

/// The message behind the one in slot `index`, which is the first of its list. EAGAIN: look again.
Status SharedQueue::next_of(const State& state, uint32_t index, uint32_t& following) const {
  const uint64_t link = load(slot(index).next);
  following = link_slot(link);
  if (is_slot(following) && link_is_newer(link, load(slot(index).published))) [[likely]] return {};
  const auto recovered = recover_next(state, index);
  if (recovered) following = *recovered;
  return recovered ? Status() : recovered.error();
}

// The link was not written yet, or written over by somebody who was very late. From the newest message back to the one
// behind the first: these are all in the list while the first one stays, and it has stayed if it is the one that it was
// at `state` and still the first. What is returned needs no such proof: it is used if the state does not move.
Result<uint32_t> SharedQueue::recover_next(State state, uint32_t index) const {
  const uint64_t published = load(slot(index).published);
  uint32_t newer = state.tail();
  for (uint32_t steps = 0; steps < format_.slots; ++steps) {
    if (!is_slot(newer) || newer == index) break;
    const uint32_t older = link_slot(load(slot(newer).previous));
    if (older == index) {
      const uint64_t link = make_link(newer, load(slot(newer).published));
      const State now(load(header().state));
      const bool moved_up = now.kind() == Kind::kFirst || now.kind() == Kind::kSpill;
      if (now.kind() != Kind::kHand && (moved_up ? now.argument() : now.head()) == index && published <= state.version() &&
          load(slot(index).published) == published) {
        store(slot(index).next, link);
      }
      return newer;
    }
    newer = older;
  }
  return moved_or(state, "segment: list");
}

Result<MessageInfo> SharedQueue::front(Aftermath& after) const {
  for (uint32_t tries = 0; tries < kPatience; ++tries) {
    const auto state = settled(after);
    if (!state) return state.error();
    if (state->empty()) return Error{EAGAIN};
    Best best;
    if (const Status found = best_message(*state, best); !found) {
      if (found.code() == EAGAIN) continue;
      return found.error();
    }
    const MessageInfo info = info_of(best.slot);
    if (still(*state)) return info;
  }
  return broken("segment: nobody gets through");
}

Result<MessageInfo> SharedQueue::try_receive(Seat seat, std::span<std::byte> buffer, Aftermath& after) const {
  const uint64_t now = now_s();
  // No message is longer: what says that it is, is nonsense.
  buffer = buffer.first(std::min<size_t>(buffer.size(), attributes_.msgsize));
  Level& mine = level(seat);
  for (uint32_t tries = 0; tries < kPatience; ++tries) {
    State state;
    if (const Status read = settled(state, after); !read) return read.error();
    if (state.empty()) {
      if (tries != 0) store(mine.taking, kNoSlot);  // it names one that another took
      return Error{EAGAIN};
    }
    State next = state;
    // ipc/mqueue.c:pipelined_receive: who polls hears of it only if no sender was waiting for the place.
    const bool tells = state.has(kPoll) && !(state.has(kSendersWait) && best_waiter(kSends));
    if (tells) next.clear(kPoll);
    Best best;
    Status taken = best_message(state, best);
    if (taken) taken = take_out(state, best, next);
    if (!taken) {
      if (taken.code() == EAGAIN) continue;
      return taken.error();
    }
    const uint32_t size = load(slot(best.slot).size);
    if (size > buffer.size()) [[unlikely]] {
      if (!still(state)) continue;
      store(mine.taking, kNoSlot);
      return size > attributes_.msgsize ? broken("segment: message size") : Error{EMSGSIZE};
    }
    // Named before it is taken, so that it is known whose it is (reclaim.cc).
    store(mine.round, load(mine.round) + 1);
    store(mine.taking, best.slot);
    if (!decide(state, next)) [[unlikely]] continue;

    // Counted before anybody is woken, who may look.
    store(mine.bytes, load(mine.bytes) - size);
    note_change(now);
    if (next.kind() != Kind::kNone) static_cast<void>(apply(next, after));
    if (state.has(kSendersWait)) static_cast<void>(settled(after));
    if (tells) after.tell_owner = true;
    MessageInfo info = info_of(best.slot);
    info.size = size;
    copy_shared(buffer.data(), payload(best.slot), size);
    keep(mine, best.slot);
    return info;
  }
  return broken("segment: nobody gets through");
}

}  // namespace mqueuefs
