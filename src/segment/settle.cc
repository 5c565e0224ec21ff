// What the last change of the state still asks for, done by whoever comes next.
//
// Everything here may be done by several processes at once and by one that was stopped for a year in the middle. So
// each write is one of these:
//  - a compare-and-swap of a word that carries the version of its last change, from an older version to this one: who
//    comes late finds a version that is not older;
//  - a bit set in the index, which may always be set (index.cc);
//  - a link, which carries a version and is not believed when it is too old (state.h).
// What is read from a slot to know where to write is valid while the state has not moved; still() is asked in between.

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>

#include "segment/patience.h"
#include "segment/shared_queue.h"
#include "segment/tagged.h"

namespace mqueuefs {

Error SharedQueue::broken(const char* what) const {
  mark_dead();
  return Error{EUCLEAN, what};
}

void SharedQueue::mark_dead() const {
  Wide word = load(header().state);
  for (uint32_t tries = 0; tries < kPatience; ++tries) {
    State state(word);
    if (state.kind() == Kind::kDead) return;
    state.set_version((state.version() + 1) & kVersionMask);
    state.set_kind(Kind::kDead);
    if (swap(header().state, word, state.word())) return;
  }
}

bool SharedQueue::dead() const { return State(load(header().state)).kind() == Kind::kDead; }

bool SharedQueue::still(const State& state) const { return load(header().state.low) == state.word().low; }

bool SharedQueue::decide(const State& before, State& next) const {
  // After a year of nothing else versions are used up: nobody could tell the new from the old.
  if (!next.advance_version()) [[unlikely]] {
    mark_dead();
    return false;
  }
  Wide expected = before.word_as_read();
  return swap(header().state, expected, next.word());
}

// Values that make no sense are a contradiction only if the state that led to them is still there.
SharedQueue::Applied SharedQueue::contradiction(State state) const {
  return still(state) ? Applied::kBroken : Applied::kMoved;
}

Result<State> SharedQueue::settled(Aftermath& after) const {
  const State state(load(header().state));
  if (state.at_rest() || is_settled(state)) return state;
  return settle(state, after);
}

Status SharedQueue::settled(State& state, Aftermath& after) const {
  state = State(load(header().state));
  if (state.at_rest()) [[likely]] return {};
  if (is_settled(state)) return {};
  const auto result = settle(state, after);
  if (!result) return result.error();
  state = *result;
  return {};
}

// Nothing is left to be done, and if somebody waits for a place there is none.
bool SharedQueue::is_settled(const State& state) const {
  return state.kind() == Kind::kNone && (!state.has(kSendersWait) || state.count() >= attributes_.maxmsg);
}

Result<State> SharedQueue::settle(State state, Aftermath& after) const {
  for (uint32_t tries = 0; tries < kPatience; ++tries) {
    if (state.kind() == Kind::kDead) return Error{EUCLEAN, "segment: dead"};
    const Applied applied = state.kind() == Kind::kNone ? Applied::kYes : apply(state, after);
    if (applied == Applied::kBroken) return broken("segment: the last change");
    if (applied == Applied::kYes) {
      if (state.kind() == Kind::kFirst || state.kind() == Kind::kSpill) state.set_list(state.argument(), state.argument());
      if (state.kind() == Kind::kTail) state.set_tail(state.argument());
      if (state.kind() == Kind::kHand) state.set_list(kNoSlot, kNoSlot);
      state.set_kind(Kind::kNone);
      state.set_argument(0);
      state.clear(kAdmitted);
      if (is_settled(state)) return state;
      // A place is free and somebody waits for one: nobody else may have it.
      if (const Status admitted = admit(state); !admitted) return admitted.error();
    }
    state = State(load(header().state));
  }
  return broken("segment: it never comes to rest");
}

SharedQueue::Applied SharedQueue::apply(State state, Aftermath& after) const {
  const uint32_t argument = state.argument();
  switch (state.kind()) {
    case Kind::kFirst:
      break;
    case Kind::kTail:
      if (!is_slot(argument) || !is_slot(state.tail())) return contradiction(state);
      set_previous(slot(argument), state.tail(), state.version());
      store(slot(state.tail()).next, make_link(argument, state.version()));
      break;
    case Kind::kSpill:
      if (const Applied spilled = apply_spill(state); spilled != Applied::kYes) return spilled;
      break;
    case Kind::kAppend:
      if (const Applied appended = apply_append(state); appended != Applied::kYes) return appended;
      break;
    case Kind::kLoad:
      if (argument >= kPriorities) return contradiction(state);
      set_tagged(list(argument), state.version(), 0);
      break;
    case Kind::kClean:
      if (argument >= kLeaves) return contradiction(state);
      apply_clean(argument, state.version());
      break;
    case Kind::kWait: {
      if (argument >= kWaiters) return contradiction(state);
      Wide word = load(waiter(argument).word);
      if (state_of(word) == WaiterState::kIntent && word.low < state.version()) {
        swap(waiter(argument).word, word, waiter_word(WaiterState::kWaiting, kNoSlot, state.version()));
      }
      break;
    }
    case Kind::kHand:
      return apply_hand(state, after);
    case Kind::kCancel: {
      if (argument >= kWaiters) return contradiction(state);
      Wide word = load(waiter(argument).word);
      // kIntent: of somebody who died before he decided to wait.
      for (uint32_t tries = 0; tries < kPatience; ++tries) {
        if (!(waits(word) || state_of(word) == WaiterState::kIntent) || word.low >= state.version()) break;
        if (swap(waiter(argument).word, word, waiter_word(WaiterState::kIdle, kNoSlot, word.low))) break;
      }
      break;
    }
    case Kind::kReturn: {
      if (!is_slot(argument)) return contradiction(state);
      const uint32_t place = load(slot(argument).partner);
      if (!still(state)) return Applied::kMoved;
      if (place >= kReturned) return contradiction(state);
      set_tagged(returned(place), state.version(), argument);
      break;
    }
    case Kind::kGrant:
      if (argument >= kWaiters) return contradiction(state);
      serve(argument, state.version(), kNoSlot, after);
      break;
    case Kind::kTake:
      if (argument >= kReturned) return contradiction(state);
      set_tagged(returned(argument), state.version(), 0);
      break;
    default:
      return contradiction(state);
  }
  return state.has(kAdmitted) ? apply_admission(state, after) : Applied::kYes;
}

// The message of a blocked sender has become one of the queue.
SharedQueue::Applied SharedQueue::apply_admission(State state, Aftermath& after) const {
  if (!is_slot(state.argument())) return contradiction(state);
  Slot& admitted = slot(state.argument());
  const uint32_t index = load(admitted.partner);
  if (!still(state)) return Applied::kMoved;
  if (index >= kWaiters) return contradiction(state);
  become_message(admitted, state.version());
  serve(index, state.version(), kNoSlot, after);
  return Applied::kYes;
}

// Nothing is read from the slot: the receiver may have it, and use it for something else, while the state still says so.
SharedQueue::Applied SharedQueue::apply_hand(State state, Aftermath& after) const {
  const bool admitted = state.has(kAdmitted);
  if (!is_slot(state.argument()) || state.tail() - 1 >= kWaiters || (admitted && state.head() - 1 >= kWaiters)) {
    return contradiction(state);
  }
  if (admitted) become_message(slot(state.argument()), state.version());
  serve(state.tail() - 1, state.version(), state.argument(), after);
  if (admitted) serve(state.head() - 1, state.version(), kNoSlot, after);
  return Applied::kYes;
}

// The top list becomes one of the others. That of its priority is empty while it is the top.
SharedQueue::Applied SharedQueue::apply_spill(State state) const {
  if (!is_slot(state.argument()) || !is_slot(state.head()) || !is_slot(state.tail())) return contradiction(state);
  const uint32_t priority = load(slot(state.head()).priority);
  if (!still(state)) return Applied::kMoved;
  if (priority >= kPriorities) return contradiction(state);
  index_insert(priority);
  set_tagged(list(priority), state.version(), list_value(state.head(), state.tail()));
  if (state.has(kAdmitted)) set_previous(slot(state.argument()), kNoSlot, state.version());
  return Applied::kYes;
}

SharedQueue::Applied SharedQueue::apply_append(State state) const {
  if (!is_slot(state.argument())) return contradiction(state);
  const uint32_t priority = load(slot(state.argument()).priority);
  if (!still(state)) return Applied::kMoved;
  if (priority >= kPriorities) return contradiction(state);
  Wide before = load(list(priority));
  if (before.low >= state.version()) return Applied::kYes;
  const uint32_t tail = list_tail(before.high);
  if (tail == kNoSlot) {
    index_insert(priority);
  } else {
    if (!is_slot(tail)) return contradiction(state);
    if (state.has(kAdmitted)) set_previous(slot(state.argument()), tail, state.version());
    store(slot(tail).next, make_link(state.argument(), state.version()));
  }
  const uint32_t head = tail == kNoSlot ? state.argument() : list_head(before.high);
  swap(list(priority), before, Wide{state.version(), list_value(head, state.argument())});
  return Applied::kYes;
}

// The waiter that comes first: by rank, then by how long it waits (ipc/mqueue.c:wq_add).
std::optional<uint32_t> SharedQueue::best_waiter(uint32_t role) const {
  std::optional<uint32_t> best;
  uint32_t best_rank = 0;
  uint64_t best_since = 0;
  const uint32_t used = load(header().waiters_used);
  for (uint32_t index = 0; index < used && index < kWaiters; ++index) {
    const Wide word = load(waiter(index).word);
    if (!waits(word) || (load(waiter(index).role) & role) == 0) continue;
    const uint32_t rank = load(waiter(index).rank);
    if (best && (rank > best_rank || (rank == best_rank && word.low > best_since))) continue;
    best = index;
    best_rank = rank;
    best_since = word.low;
  }
  return best;
}

Status SharedQueue::admit(State state) const {
  State next = state;
  const auto sender = best_waiter(kSends);
  if (!sender) {
    next.clear(kSendersWait);
    decide(state, next);
    return {};
  }
  const uint32_t admitted = load(waiter(*sender).slot);
  if (admitted == kNoSlot && (load(waiter(*sender).role) & kThroughOwner) != 0) {
    next.set_count(next.count() + 1);
    next.set_kind(Kind::kGrant);
    next.set_argument(*sender);
    decide(state, next);
    return {};
  }
  const uint32_t priority = is_slot(admitted) ? load(slot(admitted).priority) : kPriorities;
  const uint32_t top = is_slot(state.head()) ? load(slot(state.head()).priority) : 0;
  if (!still(state)) return {};
  if (priority >= kPriorities) return broken("segment: a waiting sender");
  const uint32_t size = load(slot(admitted).size);
  next.set_argument(admitted);
  next.set(kAdmitted);
  // Both wait only if places were reserved.
  if (state.has(kReceiversWait) && state.empty()) {
    if (const auto receiver = best_waiter(kReceives)) {
      next.set_kind(Kind::kHand);
      next.set_head(*sender + 1);
      next.set_tail(*receiver + 1);
      if (decide(state, next)) header().messages_sent.fetch_add(1, std::memory_order_relaxed);
      return {};
    }
    next.clear(kReceiversWait);
  }
  next.set_count(next.count() + 1);
  if (state.head() == kNoSlot) {
    next.set_kind(Kind::kFirst);
  } else if (priority == top) {
    next.set_kind(Kind::kTail);
  } else {
    next.set_kind(priority > top ? Kind::kSpill : Kind::kAppend);
  }
  if (decide(state, next)) {
    MQUEUEFS_STEP();
    header().bytes.fetch_add(size, std::memory_order_relaxed);
    header().messages_sent.fetch_add(1, std::memory_order_relaxed);
  }
  return {};
}

void SharedQueue::serve(uint32_t index, uint64_t version, uint32_t slot, Aftermath& after) const {
  Waiter& served = waiter(index);
  const uint32_t role = load(served.role);
  Wide word = load(served.word);
  // Not a wait that began later: the word's version is that of its beginning.
  for (uint32_t tries = 0; waits(word) && word.low < version && tries < kPatience; ++tries) {
    const bool asleep = state_of(word) == WaiterState::kAsleep;
    if (!swap(served.word, word, waiter_word(WaiterState::kDone, slot, word.low))) continue;
    if ((role & kThroughOwner) != 0) after.tell_owner = true;
    if (asleep) {
      MQUEUEFS_STEP();
      // Nobody: the waiter was just about to sleep, a signal handler runs in it, or it is dead, and then what it was given must
      // go back to the queue.
      if (syscall(SYS_futex, futex_of(index), FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0) == 0) after.woke_nobody = true;
    }
    return;
  }
}

}  // namespace mqueuefs
