// Where is every slot? For those that the dead had in hand, and for the check of a whole segment.
//
// A slot that is not free, not in the queue, not a waiter's, and that no living member names, was a dead one's. It can
// become nobody else's: who takes a slot takes it from the free ones or out of the queue. What is asked at different
// moments is one picture if the state, the free list and each member's round are the same after as before.
//
// A member may well name a slot that is in the queue: it is about to take it, or has just sent it.

#include <algorithm>
#include <utility>

#include "segment/shared_queue.h"
#include "segment/slot_set.h"
#include "segment/tagged.h"

namespace mqueuefs {

struct SharedQueue::Queued {
  SlotSet seen;
  uint32_t messages = 0;
  uint64_t bytes = 0;
  uint64_t patience = 0;
};

struct SharedQueue::InHand {
  SlotSet seen;
  uint64_t rounds = 0;
  bool at_rest = true;  ///< nobody names a slot that he works on
};

/// The slot behind `index` in a list that ends at `tail`; kNoSlot: it can't be told. Takes what it costs out of
/// `patience`. A link that is missing (receive.cc) is written, so that it is looked for once: that is right if the state
/// did not move until the other direction was read, and nothing if the slot is used for something else afterwards.
uint32_t SharedQueue::following(const State& state, uint32_t index, uint32_t tail, uint64_t& patience) const {
  const uint64_t link = load(slot(index).next);
  const uint64_t published = load(slot(index).published);
  if (patience != 0) --patience;
  if (patience == 0) return kNoSlot;
  if (is_slot(link_slot(link)) && link_is_newer(link, published)) return link_slot(link);
  for (uint32_t newer = tail; is_slot(newer) && patience != 0; --patience) {
    const uint32_t older = link_slot(load(slot(newer).previous));
    if (older == index) {
      const uint64_t found = make_link(newer, load(slot(newer).published));
      if (still(state)) store(slot(index).next, found);
      return newer;
    }
    newer = older;
  }
  return kNoSlot;
}

Status SharedQueue::mark_list(const State& state, uint32_t head, uint32_t tail, Queued& queued) const {
  uint32_t at = head;
  uint64_t before = 0;
  for (;;) {
    if (!is_slot(at) || !queued.seen.insert(at)) return Error{EUCLEAN, "segment: list"};
    const uint64_t published = load(slot(at).published);
    const uint32_t size = load(slot(at).size);
    if (published <= before || size > attributes_.msgsize) return Error{EUCLEAN, "segment: order"};
    before = published;
    queued.messages++;
    queued.bytes += size;
    if (at == tail) return {};
    at = following(state, at, tail, queued.patience);
  }
}

Status SharedQueue::mark_lists(const State& state, Queued& queued) const {
  queued.patience = walk_patience();
  if (state.head() != kNoSlot) {
    if (const Status marked = mark_list(state, state.head(), state.tail(), queued); !marked) return marked;
  }
  const uint32_t top = is_slot(state.head()) ? load(slot(state.head()).priority) : 0;
  for (std::optional<uint32_t> index = leaf_below(kLeaves); index; index = leaf_below(*index)) {
    for (uint64_t bits = load(leaf(*index).high); bits != 0; bits &= bits - 1) {
      const uint32_t priority = *index * 64 + static_cast<uint32_t>(__builtin_ctzll(bits));
      const uint64_t value = load(list(priority)).high;
      if (list_head(value) == kNoSlot) continue;
      if (priority >= top) return Error{EUCLEAN, "segment: a list above the top"};
      const Status marked = mark_list(state, list_head(value), list_tail(value), queued);
      if (!marked) return marked;
    }
  }
  for (uint32_t place = 0; place < kReturned; ++place) {
    const auto index = static_cast<uint32_t>(load(returned(place)).high);
    if (index == kNoSlot) continue;
    if (!is_slot(index) || !queued.seen.insert(index)) return Error{EUCLEAN, "segment: returned"};
    queued.messages++;
    queued.bytes += load(slot(index).size);
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
void SharedQueue::mark_in_hand(InHand& hands) const {
  const uint32_t waiters = std::min(load(header().waiters_used), kWaiters);
  for (uint32_t index = 0; index < waiters; ++index) {
    if (load(waiter(index).owner) == 0) continue;
    const Wide word = load(waiter(index).word);
    if (const uint32_t pending = load(waiter(index).slot); is_slot(pending)) hands.seen.insert(pending);
    if (state_of(word) == WaiterState::kDone && is_slot(slot_of(word))) hands.seen.insert(slot_of(word));
  }
  const uint32_t members = std::min(load(header().members_used), kMembers);
  for (uint32_t index = 0; index < members; ++index) {
    if (load(member(index).owner) == 0) continue;
    for (const Level& level : member(index).levels) {
      hands.rounds += load(level.round);
      if (const uint32_t held = load(level.held); is_slot(held)) hands.seen.insert(held);
      if (const uint32_t taking = load(level.taking); is_slot(taking)) {
        hands.seen.insert(taking);
        hands.at_rest = false;
      }
      hands.rounds += load(level.round);
    }
  }
}

Result<uint32_t> SharedQueue::reclaim() const {
  Aftermath after;
  const auto state = settled(after);
  if (!state) return state.error();
  const Wide free = load(header().free_slots);
  InHand hands;
  mark_in_hand(hands);
  const uint64_t rounds = std::exchange(hands.rounds, 0);
  const uint64_t counted = counted_bytes();
  Queued queued;
  Status marked = mark_lists(*state, queued);
  if (marked) marked = mark_free(queued.seen);
  mark_in_hand(hands);
  if (!still(*state) || load(header().free_slots) != free || rounds != hands.rounds) return Error{EAGAIN};
  if (!marked) return broken(marked.error().step);
  // Each message's bytes are counted after it was sent or received, and while its slot is named.
  if (hands.at_rest && counted_bytes() == counted) {
    header().bytes.fetch_add(queued.bytes - counted, std::memory_order_relaxed);
  }
  uint32_t found = 0;
  const auto used = static_cast<uint32_t>(free.high >> 32);
  for (uint32_t index = 1; index <= used; ++index) {
    if (queued.seen.contains(index) || hands.seen.contains(index)) continue;
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
  Queued queued;
  Status checked = mark_lists(*state, queued);
  if (checked) checked = mark_free(queued.seen);
  if (checked) checked = verify_index();
  if (checked && queued.messages + load(header().reserved_places) + granted_places() != state->count()) {
    checked = Error{EUCLEAN, "segment: count"};
  }
  if (checked && (state->head() == kNoSlot) != (state->tail() == kNoSlot)) checked = Error{EUCLEAN, "segment: top list"};
  if (checked && state->has(kReceiversWait) && !state->empty()) checked = Error{EUCLEAN, "segment: who waits"};
  if (!checked) return broken(checked.error().step);
  return {};
}

}  // namespace mqueuefs
