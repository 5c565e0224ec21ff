// Waiting: an entry in the table of waiters, in line by a change of the state, out of it by another one.
//
//   kIdle -> kIntent -> kWaiting <-> kAsleep        by its owner; kIntent -> kWaiting is the kWait change, applied
//              kWaiting, kAsleep -> kDone           by who serves it
//              kWaiting, kAsleep -> kIdle           the kCancel change, applied
//                                   kDone -> kTaking -> kIdle    by its owner, who copies the message
//
// Whether somebody was served or cancelled is so decided in one place, the state: a message is never handed to who has
// gone.

#include <time.h>

#include "segment/patience.h"
#include "segment/shared_queue.h"
#include "segment/tagged.h"

namespace mqueuefs {
namespace {

// By ISO C's name: clock_gettime(2) is a system call in the library for programs (client/own_calls.cc).
uint64_t now_ns() {
  timespec now{};
  timespec_get(&now, TIME_UTC);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

}  // namespace

// For who looks: the clock of all time namespaces, so it may have been set meanwhile.
void SharedQueue::count_wait(uint32_t index) const {
  const auto lasted = static_cast<int64_t>(now_ns() - load(waiter(index).since_ns));
  const uint64_t lasted_ns = lasted < 0 ? 0 : static_cast<uint64_t>(lasted);
  uint32_t bucket = 0;
  for (uint64_t bound = kFirstWaitBucketNs; bucket + 1 < kWaitBuckets && lasted_ns > bound; bound *= 10) ++bucket;
  header().waits[bucket].fetch_add(1, std::memory_order_relaxed);
  header().waited_ns.fetch_add(lasted_ns, std::memory_order_relaxed);
}

Result<uint32_t> SharedQueue::take_waiter(Seat seat, uint32_t rank, uint32_t role, uint32_t process) const {
  const uint64_t owner = load(member(seat.member).owner);
  for (uint32_t index = 0; index < kWaiters; ++index) {
    Waiter& free = waiter(index);
    if (load(free.owner) != 0 || !swap(free.owner, uint64_t{0}, owner)) continue;
    store(free.role, role);
    store(free.rank, rank);
    store(free.slot, kNoSlot);
    store(free.process, process);
    store(free.since_ns, now_ns());
    raise_to(header().waiters_used, index + 1);
    return index;
  }
  return Error{EBUSY, "all waiters are taken"};
}

void SharedQueue::free_waiter(uint32_t index) const {
  Waiter& freed = waiter(index);
  Wide word = load(freed.word);
  for (uint32_t tries = 0; tries < kPatience; ++tries) {
    if (swap(freed.word, word, waiter_word(WaiterState::kIdle, kNoSlot, word.low))) break;
  }
  store(freed.slot, kNoSlot);
  store(freed.owner, uint64_t{0});
}

// True: it waits, or has already been served.
bool SharedQueue::begin_wait(uint32_t index, State state, uint32_t flag, Aftermath& after) const {
  Waiter& mine = waiter(index);
  // A helper of an earlier wait of this entry must not take this one for his: it counts from this version on.
  store(mine.word.low, state.version());
  store(mine.word.high, waiter_word(WaiterState::kIntent, kNoSlot, 0).high);
  State next = state;
  next.set(flag);
  next.set_kind(Kind::kWait);
  next.set_argument(index);
  if (!decide(state, next)) return false;
  static_cast<void>(apply(next, after));
  return true;
}

Result<uint32_t> SharedQueue::wait_to_receive(Seat seat, uint32_t rank, uint32_t role, uint32_t process,
                                              Aftermath& after) const {
  const auto index = take_waiter(seat, rank, role, process);
  if (!index) return index.error();
  for (uint32_t tries = 0; tries < kPatience; ++tries) {
    const auto state = settled(after);
    if (!state || !state->empty()) {
      free_waiter(*index);
      return state ? Error{EAGAIN} : state.error();
    }
    if (begin_wait(*index, *state, kReceiversWait, after)) return *index;
  }
  return broken("segment: nobody gets through");
}

Result<uint32_t> SharedQueue::wait_to_send(Seat seat, uint32_t priority, std::span<const std::byte> message,
                                           uint32_t rank, uint32_t role, uint32_t process, Aftermath& after) const {
  if (const Status checked = check_message(priority, message.size()); !checked) return checked.error();
  Level& mine = level(seat);
  uint32_t claimed = kNoSlot;
  if (const Status got = claim(mine, claimed); !got) return got.error();
  const auto index = take_waiter(seat, rank, role, process);
  if (!index) {
    keep(mine, claimed);
    return index.error();
  }
  fill(claimed, priority, message, now_s());
  Slot& pending = slot(claimed);
  store(pending.partner, *index);
  store(waiter(*index).slot, claimed);
  for (uint32_t tries = 0; tries < kPatience; ++tries) {
    const auto state = settled(after);
    if (!state || state->count() < attributes_.maxmsg) {
      free_waiter(*index);
      keep(mine, claimed);
      return state ? Error{EAGAIN} : state.error();
    }
    store(pending.published, kPending | state->version());
    store(pending.previous, pending_link(state->version()));
    if (!begin_wait(*index, *state, kSendersWait, after)) continue;
    store(mine.taking, kNoSlot);  // the waiter names it
    return *index;
  }
  return broken("segment: nobody gets through");
}

Result<uint32_t> SharedQueue::wait_for_place(Seat seat, uint32_t rank, uint32_t process, Aftermath& after) const {
  const auto index = take_waiter(seat, rank, kSends | kThroughOwner, process);
  if (!index) return index.error();
  for (uint32_t tries = 0; tries < kPatience; ++tries) {
    const auto state = settled(after);
    if (!state || state->count() < attributes_.maxmsg) {
      free_waiter(*index);
      return state ? Error{EAGAIN} : state.error();
    }
    if (begin_wait(*index, *state, kSendersWait, after)) return *index;
  }
  return broken("segment: nobody gets through");
}

Wait SharedQueue::wait_state(uint32_t index) const {
  switch (state_of(load(waiter(index).word))) {
    case WaiterState::kDone:
    case WaiterState::kTaking:
      return Wait::kServed;
    case WaiterState::kIdle:
      return Wait::kCancelled;
    default:
      return Wait::kGoesOn;
  }
}

bool SharedQueue::fall_asleep(uint32_t index) const {
  Wide word = load(waiter(index).word);
  for (uint32_t tries = 0; state_of(word) == WaiterState::kWaiting && tries < kPatience; ++tries) {
    if (swap(waiter(index).word, word, waiter_word(WaiterState::kAsleep, kNoSlot, word.low))) return true;
  }
  return state_of(word) == WaiterState::kAsleep;
}

// The lower half of `high`: little-endian machines only, as all that Debian's Linux has this format for.
uint32_t* SharedQueue::futex_of(uint32_t index) const {
  static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);
  return reinterpret_cast<uint32_t*>(&waiter(index).word.high);
}

Result<Wait> SharedQueue::cancel_wait(uint32_t index, Aftermath& after) const {
  for (uint32_t tries = 0; tries < kPatience; ++tries) {
    const auto state = settled(after);
    const Wait now = wait_state(index);
    if (now != Wait::kGoesOn) return now;
    if (!state) return state.error();
    State next = *state;
    next.set_kind(Kind::kCancel);
    next.set_argument(index);
    if (decide(*state, next)) static_cast<void>(apply(next, after));
  }
  return broken("segment: nobody gets through");
}

Result<MessageInfo> SharedQueue::handed_over(uint32_t index) const {
  const Wide word = load(waiter(index).word);
  if (state_of(word) != WaiterState::kDone || !is_slot(slot_of(word))) return broken("segment: hand-over");
  return info_of(slot_of(word));
}

Result<MessageInfo> SharedQueue::finish_receive(Seat seat, uint32_t index, std::span<std::byte> buffer) const {
  Wide word = load(waiter(index).word);
  const uint32_t handed = slot_of(word);
  if (state_of(word) != WaiterState::kDone || !is_slot(handed)) return broken("segment: hand-over");
  if (info_of(handed).size > buffer.size()) return Error{EMSGSIZE};
  Level& mine = level(seat);
  store(mine.round, load(mine.round) + 1);
  store(mine.taking, handed);
  if (!swap(waiter(index).word, word, waiter_word(WaiterState::kTaking, kNoSlot, word.low))) {
    return broken("segment: hand-over");
  }
  const MessageInfo info = copy_out(handed, buffer);
  keep(mine, handed);
  count_wait(index);
  free_waiter(index);
  if (info.size > buffer.size()) return broken("segment: message size");
  return info;
}

Status SharedQueue::give_back_handed(Seat seat, uint32_t index, Aftermath& after) const {
  Wide word = load(waiter(index).word);
  const uint32_t handed = slot_of(word);
  if (state_of(word) != WaiterState::kDone) return {};  // a sender: its message is in the queue
  if (handed != kNoSlot) {
    if (!is_slot(handed)) return broken("segment: hand-over");
    Level& mine = level(seat);
    store(mine.taking, handed);
    // While it is in `taking` and not in the queue it is nobody else's.
    const Status given = give_back_slot(seat, handed, after);
    if (!given) return given;  // it stays where it is named
    store(mine.taking, kNoSlot);
  }
  free_waiter(index);
  return {};
}

uint32_t SharedQueue::places_taken() const { return State(load(header().state)).count(); }

void SharedQueue::finish_wait(Seat seat, uint32_t index) const {
  const bool cancelled = state_of(load(waiter(index).word)) == WaiterState::kIdle;
  const uint32_t mine = load(waiter(index).slot);
  if (cancelled && is_slot(mine)) {
    store(level(seat).taking, mine);
    keep(level(seat), mine);
  }
  count_wait(index);
  free_waiter(index);
}

uint32_t SharedQueue::list_waiters(std::span<WaiterInfo> waiters) const {
  uint32_t found = 0;
  const uint32_t used = load(header().waiters_used);
  for (uint32_t index = 0; index < used && index < kWaiters && found < waiters.size(); ++index) {
    const Waiter& listed = waiter(index);
    if (!waits(load(listed.word))) continue;
    waiters[found++] = {static_cast<uint32_t>(load(listed.owner) >> 32), load(listed.process),
                        (load(listed.role) & kReceives) != 0, static_cast<int64_t>(load(listed.since_ns))};
  }
  return found;
}

SharedQueue::WaiterView SharedQueue::waiters() const {
  WaiterView view;
  const uint32_t used = load(header().waiters_used);
  for (uint32_t index = 0; index < used && index < kWaiters; ++index) {
    if (!waits(load(waiter(index).word))) continue;
    ((load(waiter(index).role) & kReceives) != 0 ? view.receivers : view.senders)++;
    if (view.first_process == 0) view.first_process = load(waiter(index).process);
  }
  return view;
}

}  // namespace mqueuefs
