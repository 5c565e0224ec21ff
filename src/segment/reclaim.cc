// Where is every slot? For those that the dead had in hand, and for the check of a whole segment.
//
// A slot that is not free, not in the queue, not a waiter's, and that no living member names, was a dead one's. It can
// become nobody else's: who takes a slot takes it from the free ones or out of the queue. What is asked at different
// moments is one picture if the state, the free list and each member's round are the same after as before.

#include "segment/shared_queue.h"
#include "segment/slot_set.h"
#include "segment/tagged.h"

namespace mqueuefs {

Status SharedQueue::mark_list(uint32_t head, uint32_t tail, SlotSet& seen, uint32_t& messages) const {
  uint32_t at = head;
  uint64_t before = 0;
  for (uint32_t steps = 0; steps < format_.slots; ++steps) {
    if (!is_slot(at) || !seen.insert(at)) return Error{EUCLEAN, "segment: list"};
    const uint64_t published = load(slot(at).published);
    if (published <= before || load(slot(at).size) > attributes_.msgsize) return Error{EUCLEAN, "segment: order"};
    before = published;
    ++messages;
    if (at == tail) return {};
    const uint64_t link = load(slot(at).next);
    uint32_t following = link_slot(link);
    if (!is_slot(following) || !link_is_newer(link, published)) {
      // Not written, as in receive.cc.
      uint32_t newer = tail;
      for (following = kNoSlot; following == kNoSlot && is_slot(newer);) {
        const uint32_t older = link_slot(load(slot(newer).previous));
        if (older == at) following = newer;
        if (++steps >= format_.slots || older == newer) break;
        newer = older;
      }
    }
    at = following;
  }
  return Error{EUCLEAN, "segment: list"};
}

Status SharedQueue::mark_lists(const State& state, SlotSet& seen, uint32_t& messages) const {
  if (state.head != kNoSlot) {
    if (const Status marked = mark_list(state.head, state.tail, seen, messages); !marked) return marked;
  }
  const uint32_t top = is_slot(state.head) ? load(slot(state.head).priority) : 0;
  for (std::optional<uint32_t> index = leaf_below(kLeaves); index; index = leaf_below(*index)) {
    for (uint64_t bits = load(leaf(*index).high); bits != 0; bits &= bits - 1) {
      const uint32_t priority = *index * 64 + static_cast<uint32_t>(__builtin_ctzll(bits));
      const uint64_t value = load(list(priority)).high;
      if (list_head(value) == kNoSlot) continue;
      if (priority >= top) return Error{EUCLEAN, "segment: a list above the top"};
      if (const Status marked = mark_list(list_head(value), list_tail(value), seen, messages); !marked) return marked;
    }
  }
  for (uint32_t place = 0; place < kReturned; ++place) {
    const auto index = static_cast<uint32_t>(load(returned(place)).high);
    if (index == kNoSlot) continue;
    if (!is_slot(index) || !seen.insert(index)) return Error{EUCLEAN, "segment: returned"};
    ++messages;
  }
  return {};
}

Status SharedQueue::mark_free(SlotSet& seen) const {
  const Wide free = load(header().free_slots);
  const auto used = static_cast<uint32_t>(free.high >> 32);
  if (used > format_.slots) return Error{EUCLEAN, "segment: free list"};
  for (auto at = static_cast<uint32_t>(free.high); at != kNoSlot; at = load(slot(at).free_next)) {
    if (!is_slot(at) || at > used || !seen.insert(at)) return Error{EUCLEAN, "segment: free list"};
  }
  return {};
}

// Waiters first: what goes from a waiter to a member is seen at one of them. `held` before `taking`: what goes from
// there to here is seen, too, and what goes the other way changes the round.
Status SharedQueue::mark_in_hand(SlotSet& seen, uint64_t& rounds) const {
  for (uint32_t index = 0; index < kWaiters; ++index) {
    if (load(waiter(index).owner) == 0) continue;
    const Wide word = load(waiter(index).word);
    if (const uint32_t pending = load(waiter(index).slot); is_slot(pending)) seen.insert(pending);
    if (state_of(word) == WaiterState::kDone && is_slot(slot_of(word))) seen.insert(slot_of(word));
  }
  for (uint32_t index = 0; index < kMembers; ++index) {
    if (load(member(index).owner) == 0) continue;
    for (const Level& level : member(index).levels) {
      rounds += load(level.round);
      if (const uint32_t held = load(level.held); is_slot(held)) seen.insert(held);
      if (const uint32_t taking = load(level.taking); is_slot(taking)) seen.insert(taking);
      rounds += load(level.held);
    }
  }
  return {};
}

Result<uint32_t> SharedQueue::reclaim() const {
  Aftermath after;
  const auto state = settled(after);
  if (!state) return state.error();
  const Wide free = load(header().free_slots);
  SlotSet seen;
  uint64_t rounds = 0;
  if (const Status marked = mark_in_hand(seen, rounds); !marked) return marked.error();
  uint32_t messages = 0;
  Status marked = mark_lists(*state, seen, messages);
  SlotSet of_free;
  if (marked) marked = mark_free(of_free);
  SlotSet ignored;
  uint64_t rounds_now = 0;
  static_cast<void>(mark_in_hand(ignored, rounds_now));
  if (!still(*state) || load(header().free_slots) != free || rounds != rounds_now) return Error{EAGAIN};
  if (!marked) return broken(marked.error().step);
  uint32_t found = 0;
  const auto used = static_cast<uint32_t>(free.high >> 32);
  for (uint32_t index = 1; index <= used; ++index) {
    if (seen.contains(index) || of_free.contains(index) || ignored.contains(index)) continue;
    free_slot(index);
    ++found;
  }
  return found;
}

Status SharedQueue::verify() const {
  Aftermath after;
  if (const Status identity = check_identity(); !identity) return broken(identity.error().step);
  const auto state = settled(after);
  if (!state) return state.error();
  SlotSet seen;
  uint32_t messages = 0;
  Status checked = mark_lists(*state, seen, messages);
  if (checked) checked = mark_free(seen);
  if (checked) checked = verify_index();
  if (checked && messages + load(header().reserved_places) != state->count) checked = Error{EUCLEAN, "segment: count"};
  if (checked && (state->head == kNoSlot) != (state->tail == kNoSlot)) checked = Error{EUCLEAN, "segment: top list"};
  if (checked && state->has(kReceiversWait) && !state->empty()) checked = Error{EUCLEAN, "segment: who waits"};
  if (!checked) return broken(checked.error().step);
  return {};
}

}  // namespace mqueuefs
