// What only the owner of the segment does: messages that go back, places kept for messages to come, flags, sums.

#include <algorithm>

#include "segment/patience.h"
#include "segment/shared_queue.h"
#include "segment/tagged.h"

namespace mqueuefs {

Result<State> SharedQueue::look(Aftermath& after) const { return settled(after); }

Status SharedQueue::give_back(Seat seat, const MessageInfo& info, std::span<const std::byte> message,
                              Aftermath& after) const {
  if (info.priority >= kPriorities || info.sequence == 0 || (info.sequence & kPending) != 0) return Error{EINVAL};
  if (message.size() != info.size) return Error{EINVAL};
  if (message.size() > attributes_.msgsize) return Error{EMSGSIZE};
  uint32_t claimed = kNoSlot;
  if (const Status got = claim(level(seat), claimed); !got) return got;
  fill(claimed, info.priority, message, now_s());
  store(slot(claimed).published, info.sequence);
  const Status given = give_back_slot(seat, claimed, after);
  if (given) {
    store(level(seat).taking, kNoSlot);
  } else {
    keep(level(seat), claimed);
  }
  return given;
}

Status SharedQueue::give_back_slot(Seat seat, uint32_t index, Aftermath& after) const {
  Slot& given = slot(index);
  const uint32_t size = std::min(load(given.size), attributes_.msgsize);
  for (uint32_t tries = 0; tries < kPatience; ++tries) {
    const auto state = settled(after);
    if (!state) return state.error();
    State next = *state;
    next.set_argument(index);
    const auto receiver = state->has(kReceiversWait) ? best_waiter(kReceives) : std::nullopt;
    if (receiver && state->empty()) {
      next.set_kind(Kind::kHand);
      next.set_tail(*receiver + 1);
      if (!decide(*state, next)) continue;
      static_cast<void>(apply(next, after));
      return {};
    }
    uint32_t place = 0;
    while (place < kReturned && load(returned(place)).high != kNoSlot) ++place;
    if (place == kReturned) return still(*state) ? Error{EAGAIN} : broken("segment: returned");
    store(given.partner, place);
    next.set_kind(Kind::kReturn);
    next.set_count(next.count() + 1);
    next.clear(kReceiversWait | kPoll);
    next.set(kSomeReturned);
    if (!decide(*state, next)) continue;
    static_cast<void>(apply(next, after));
    Level& mine = level(seat);
    store(mine.bytes, load(mine.bytes) + size);
    if (state->has(kPoll)) after.tell_owner = true;
    return {};
  }
  return broken("segment: nobody gets through");
}

Status SharedQueue::reserve_place(Aftermath& after) const {
  for (uint32_t tries = 0; tries < kPatience; ++tries) {
    const auto state = settled(after);
    if (!state) return state.error();
    if (state->count() >= attributes_.maxmsg) return Error{EAGAIN};
    State next = *state;
    next.set_count(next.count() + 1);
    if (!decide(*state, next)) continue;
    store(header().reserved_places, load(header().reserved_places) + 1);
    return {};
  }
  return broken("segment: nobody gets through");
}

void SharedQueue::take_granted_place() const {
  store(header().reserved_places, load(header().reserved_places) + 1);
}

Status SharedQueue::send_reserved(Seat seat, uint32_t priority, std::span<const std::byte> message,
                                  Aftermath& after) const {
  const Status sent = send_from(seat, priority, message, Place::kReserved, after);
  if (sent) store(header().reserved_places, load(header().reserved_places) - 1);
  return sent;
}

Status SharedQueue::send_granted(Seat seat, uint32_t priority, std::span<const std::byte> message,
                                 Aftermath& after) const {
  const Status sent = send_from(seat, priority, message, Place::kGranted, after);
  if (sent) store(header().reserved_places, load(header().reserved_places) - 1);
  return sent;
}

Status SharedQueue::drop_reserved(Aftermath& after) const {
  for (uint32_t tries = 0; tries < kPatience; ++tries) {
    const auto state = settled(after);
    if (!state) return state.error();
    if (state->count() == 0) return broken("segment: reserved places");
    State next = *state;
    next.set_count(next.count() - 1);
    next.clear(kPoll);
    if (!decide(*state, next)) continue;
    store(header().reserved_places, load(header().reserved_places) - 1);
    if (state->has(kPoll)) after.tell_owner = true;
    static_cast<void>(settled(after));  // somebody may wait for the place
    return {};
  }
  return broken("segment: nobody gets through");
}

Status SharedQueue::change_flags(uint32_t set, uint32_t clear, Aftermath& after) const {
  constexpr uint32_t kMine = kNotify | kPoll;
  for (uint32_t tries = 0; tries < kPatience; ++tries) {
    const auto state = settled(after);
    if (!state) return state.error();
    State next = *state;
    next.clear(clear & kMine);
    next.set(set & kMine);
    if (next.flags() == state->flags() || decide(*state, next)) return {};
  }
  return broken("segment: nobody gets through");
}

uint32_t SharedQueue::messages() const { return messages(State(load(header().state))); }

uint32_t SharedQueue::messages(const State& state) const {
  if (state.kind() == Kind::kDead) return 0;
  const uint32_t reserved = load(header().reserved_places);
  return state.count() > reserved ? state.count() - reserved : 0;
}

uint64_t SharedQueue::payload_bytes() const {
  if (messages() == 0) return 0;
  const uint64_t bytes = counted_bytes();
  // Counted by several, one after the other: it may look negative for a moment.
  return static_cast<int64_t>(bytes) < 0 ? 0 : std::min(bytes, uint64_t{format_.slots} * attributes_.msgsize);
}

uint64_t SharedQueue::counted_bytes() const {
  uint64_t bytes = load(header().bytes);
  const uint32_t used = load(header().members_used);
  for (uint32_t index = 0; index < used && index < kMembers; ++index) {
    for (const Level& level : member(index).levels) bytes += load(level.bytes);
  }
  return bytes;
}

uint64_t SharedQueue::messages_sent() const {
  uint64_t sent = load(header().messages_sent);
  const uint32_t used = load(header().members_used);
  for (uint32_t index = 0; index < used && index < kMembers; ++index) {
    for (const Level& level : member(index).levels) sent += load(level.messages_sent);
  }
  return sent;
}

// The first message of each priority is its oldest.
int64_t SharedQueue::oldest_sent_s(uint32_t most_priorities, Aftermath& after) const {
  int64_t oldest_s = 0;
  PeekPosition position;
  for (uint32_t priorities = 0; priorities < most_priorities; ++priorities) {
    const auto first = peek(position, 0, {}, after);
    if (!first || !is_slot(position.slot_hint)) break;
    const auto sent_s = static_cast<int64_t>(load(slot(position.slot_hint).sent_s));
    if (oldest_s == 0 || sent_s < oldest_s) oldest_s = sent_s;
    if (first->priority == 0) break;
    position = {first->priority - 1, 0, kNoSlot};
  }
  return oldest_s;
}

void SharedQueue::set_traced(bool traced) const { store(header().traced, traced ? uint32_t{1} : uint32_t{0}); }

SharedQueue::WaitTimes SharedQueue::wait_times() const {
  WaitTimes times;
  for (uint32_t bucket = 0; bucket < kWaitBuckets; ++bucket) times.waits[bucket] = load(header().waits[bucket]);
  times.total_ns = load(header().waited_ns);
  return times;
}

int64_t SharedQueue::take_change_s() const {
  if (load(header().changed_s) == 0) return 0;
  return static_cast<int64_t>(header().changed_s.exchange(0, std::memory_order_acq_rel));
}

void SharedQueue::initialize(uint64_t version) const {
  Header& mine = header();
  State state;
  state.set_version(version);
  const Wide word = state.word();
  store(mine.state.high, word.high);
  store(mine.state.low, word.low);
  store(mine.version, kSegmentVersion);
  store(mine.maxmsg, attributes_.maxmsg);
  store(mine.msgsize, attributes_.msgsize);
  store(mine.slots, format_.slots);
  store(mine.size, format_.size);
  store(mine.magic, kSegmentMagic);
}

Status SharedQueue::check_identity() const {
  const Header& mine = header();
  const bool same = load(mine.magic) == kSegmentMagic && load(mine.version) == kSegmentVersion &&
                    load(mine.maxmsg) == attributes_.maxmsg && load(mine.msgsize) == attributes_.msgsize &&
                    load(mine.slots) == format_.slots && load(mine.size) == format_.size;
  if (!same) return Error{EUCLEAN, "segment: identity"};
  return {};
}

}  // namespace mqueuefs
