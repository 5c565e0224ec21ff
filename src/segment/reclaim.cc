// Where is every slot? For those that the dead had in hand, and for the check of a whole segment.
//
// A slot that is not free, not in the queue, not a waiter's, and that no living member names, was a dead one's. It can
// become nobody else's: who takes a slot takes it from the free ones or out of the queue. What is asked at different
// moments is one picture if the state, the free list and each member's round are the same after as before.
//
// A member may well name a slot that is in the queue: it is about to take it, or has just sent it.

#include <algorithm>

#include "segment/shared_queue.h"
#include "segment/slot_set.h"
#include "segment/tagged.h"

namespace mqueuefs {

/// The slot behind `index` in the list that ends at `tail`, by the links from newer to older; kNoSlot: none. Takes what it
/// costs out of `patience`.
uint32_t SharedQueue::behind(uint32_t index, uint32_t tail, uint64_t& patience) const {
  for (uint32_t newer = tail; is_slot(newer) && patience != 0; --patience) {
    const uint32_t older = link_slot(load(slot(newer).previous));
    if (older == index) return newer;
    if (older == newer) break;
    newer = older;
  }
  return kNoSlot;
}

Status SharedQueue::mark_list(uint32_t head, uint32_t tail, SlotSet& seen, uint32_t& messages) const {
  uint64_t patience = walk_patience();
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
      // Not written, as in receive.cc. One is missing for each sender that is stopped or dead: few.
      following = behind(at, tail, patience);
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
// there to here is seen, too. What goes back is missed once, and twice only after a new round.
uint64_t SharedQueue::mark_in_hand(SlotSet& seen) const {
  uint64_t rounds = 0;
  const uint32_t waiters = std::min(load(header().waiters_used), kWaiters);
  for (uint32_t index = 0; index < waiters; ++index) {
    if (load(waiter(index).owner) == 0) continue;
    const Wide word = load(waiter(index).word);
    if (const uint32_t pending = load(waiter(index).slot); is_slot(pending)) seen.insert(pending);
    if (state_of(word) == WaiterState::kDone && is_slot(slot_of(word))) seen.insert(slot_of(word));
  }
  const uint32_t members = std::min(load(header().members_used), kMembers);
  for (uint32_t index = 0; index < members; ++index) {
    if (load(member(index).owner) == 0) continue;
    for (const Level& level : member(index).levels) {
      rounds += load(level.round);
      if (const uint32_t held = load(level.held); is_slot(held)) seen.insert(held);
      if (const uint32_t taking = load(level.taking); is_slot(taking)) seen.insert(taking);
      rounds += load(level.round);
    }
  }
  return rounds;
}

Result<uint32_t> SharedQueue::reclaim() const {
  Aftermath after;
  const auto state = settled(after);
  if (!state) return state.error();
  const Wide free = load(header().free_slots);
  SlotSet in_hand;
  const uint64_t rounds = mark_in_hand(in_hand);
  SlotSet seen;  // in the queue or free
  uint32_t messages = 0;
  Status marked = mark_lists(*state, seen, messages);
  if (marked) marked = mark_free(seen);
  const uint64_t rounds_now = mark_in_hand(in_hand);
  if (!still(*state) || load(header().free_slots) != free || rounds != rounds_now) return Error{EAGAIN};
  if (!marked) return broken(marked.error().step);
  uint32_t found = 0;
  const auto used = static_cast<uint32_t>(free.high >> 32);
  for (uint32_t index = 1; index <= used; ++index) {
    if (seen.contains(index) || in_hand.contains(index)) continue;
    free_slot(index);
    ++found;
  }
  return found;
}

/// Places kept for waiters, of which the owner does not know yet.
uint32_t SharedQueue::granted_places() const {
  uint32_t granted = 0;
  for (uint32_t index = 0; index < kWaiters; ++index) {
    const bool place = load(waiter(index).owner) != 0 && load(waiter(index).role) == (kSends | kThroughOwner) &&
                       load(waiter(index).slot) == kNoSlot;
    if (place && state_of(load(waiter(index).word)) == WaiterState::kDone) ++granted;
  }
  return granted;
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
  if (checked && messages + load(header().reserved_places) + granted_places() != state->count) {
    checked = Error{EUCLEAN, "segment: count"};
  }
  if (checked && (state->head == kNoSlot) != (state->tail == kNoSlot)) checked = Error{EUCLEAN, "segment: top list"};
  if (checked && state->has(kReceiversWait) && !state->empty()) checked = Error{EUCLEAN, "segment: who waits"};
  if (!checked) return broken(checked.error().step);
  return {};
}

}  // namespace mqueuefs
