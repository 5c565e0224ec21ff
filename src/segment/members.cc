// Who works on a segment, and what becomes of those who die.

#include <sys/syscall.h>
#include <unistd.h>
#include <linux/futex.h>

#include <climits>

#include "segment/shared_queue.h"
#include "segment/tagged.h"

namespace mqueuefs {
namespace {

constexpr uint64_t owner_of(uint32_t incarnation, uint32_t thread) { return uint64_t{incarnation} << 32 | thread; }

}  // namespace

Result<uint32_t> SharedQueue::join(uint32_t incarnation, uint32_t thread) const {
  const uint64_t me = owner_of(incarnation, thread);
  const uint32_t used = load(header().members_used);
  for (uint32_t index = 0; index < used && index < kMembers; ++index) {
    if (load(member(index).owner) == me) return index;
  }
  for (uint32_t index = 0; index < kMembers; ++index) {
    Member& free = member(index);
    if (load(free.owner) != 0 || !swap(free.owner, uint64_t{0}, me)) continue;
    raise_to(header().members_used, index + 1);
    return index;
  }
  return Error{EAGAIN};
}

Result<uint32_t> SharedQueue::inherit(uint32_t incarnation, uint32_t thread, bool (*gone)(uint32_t)) const {
  for (uint32_t index = 0; index < kMembers; ++index) {
    Member& old = member(index);
    const uint64_t owner = load(old.owner);
    if (owner >> 32 != incarnation || !gone(static_cast<uint32_t>(owner))) continue;
    if (!swap(old.owner, owner, owner_of(incarnation, thread))) continue;
    // Its spare slots are good; what it was working on is found by reclaim().
    for (Level& level : old.levels) store(level.taking, kNoSlot);
    return index;
  }
  return Error{EAGAIN};
}

bool SharedQueue::has_members(uint32_t incarnation) const {
  const uint32_t used = load(header().members_used);
  for (uint32_t index = 0; index < used && index < kMembers; ++index) {
    if (load(member(index).owner) >> 32 == incarnation) return true;
  }
  return false;
}

void SharedQueue::leave(uint32_t incarnation) const {
  for (uint32_t index = 0; index < kMembers; ++index) {
    if (load(member(index).owner) >> 32 == incarnation) retire(member(index));
  }
}

// What it counted is kept for the sums; its spare slots go to all.
void SharedQueue::retire(Member& gone) const {
  for (Level& level : gone.levels) {
    header().bytes.fetch_add(load(level.bytes), std::memory_order_relaxed);
    header().messages_sent.fetch_add(load(level.messages_sent), std::memory_order_relaxed);
    store(level.bytes, uint64_t{0});
    store(level.messages_sent, uint64_t{0});
    const uint32_t held = load(level.held);
    store(level.taking, held);
    store(level.held, kNoSlot);
    if (is_slot(held)) free_slot(held);
    store(level.taking, kNoSlot);
  }
  store(gone.owner, uint64_t{0});
}

void SharedQueue::wake_served() const {
  const uint32_t used = load(header().waiters_used);
  const bool all = dead();
  for (uint32_t index = 0; index < used && index < kWaiters; ++index) {
    const WaiterState state = state_of(load(waiter(index).word));
    if (state != WaiterState::kDone && !(all && state == WaiterState::kAsleep)) continue;
    syscall(SYS_futex, futex_of(index), FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
  }
}

Status SharedQueue::bury(Seat seat, uint32_t incarnation, Aftermath& after) const {
  if (const auto state = settled(after); !state) return state.error();
  // In the order of their waits, so that what was handed to them comes back in its order: sequences tell it anyway.
  bool all = true;
  for (uint32_t index = 0; index < kWaiters; ++index) {
    if (load(waiter(index).owner) >> 32 == incarnation) all = bury_waiter(seat, index, after) && all;
  }
  for (uint32_t index = 0; index < kMembers; ++index) {
    Member& gone = member(index);
    if (load(gone.owner) >> 32 != incarnation) continue;
    retire(gone);
  }
  wake_served();
  return all ? Status() : Error{EAGAIN};
}

bool SharedQueue::bury_waiter(Seat seat, uint32_t index, Aftermath& after) const {
  const auto ended = cancel_wait(index, after);
  const Wide word = load(waiter(index).word);
  if (ended && *ended == Wait::kServed && state_of(word) == WaiterState::kDone && is_slot(slot_of(word)) &&
      (load(waiter(index).role) & kReceives) != 0) {
    const uint32_t handed = slot_of(word);
    store(level(seat).taking, handed);
    if (!give_back_slot(seat, handed, after)) return false;  // it stays where it is named
    store(level(seat).taking, kNoSlot);
  }
  free_waiter(index);  // a sender's slot is nobody's now: reclaim()
  return true;
}

}  // namespace mqueuefs
