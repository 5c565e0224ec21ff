// Looking at messages inside the queue without taking any.

#include <algorithm>

#include "segment/shared_queue.h"
#include "segment/tagged.h"

namespace mqueuefs {
namespace {

constexpr uint32_t kLooks = 1000;

}  // namespace

/// The first slot of the lists behind `position`; kNoSlot: none. EAGAIN: the state has moved.
Result<uint32_t> SharedQueue::list_after(const State& state, const PeekPosition& position, uint64_t& patience) const {
  if (state.head() == kNoSlot) return uint32_t{kNoSlot};
  if (!is_slot(state.head())) return Error{EAGAIN};
  const uint32_t top = load(slot(state.head()).priority);
  if (position.priority > top) return state.head();
  const uint64_t value = position.priority == top ? uint64_t{state.tail()} << 32 | state.head()
                                                  : load(list(position.priority)).high;
  uint32_t at = list_head(value);
  const uint32_t tail = list_tail(value);
  if (at != kNoSlot) {
    if (!is_slot(at)) return Error{EAGAIN};
    // The hint is still in the list if it is the same message and not older than the first.
    const uint32_t hint = position.slot_hint;
    if (is_slot(hint) && load(slot(hint).published) == position.sequence &&
        load(slot(hint).priority) == position.priority && load(slot(at).published) <= position.sequence) {
      at = hint;
    }
    for (;;) {
      if (load(slot(at).published) > position.sequence) return at;
      if (at == tail) break;
      at = following(state, at, tail, patience);
      if (at == kNoSlot) return Error{EAGAIN};
    }
  }
  const auto lower = highest_below(std::min(position.priority, top), state);
  if (!lower) return lower.error();
  return *lower == kPriorities ? uint32_t{kNoSlot} : list_head(load(list(*lower)).high);
}

Result<uint32_t> SharedQueue::slot_after(const State& state, const PeekPosition& position, uint64_t& patience) const {
  auto best = list_after(state, position, patience);
  if (!best || !state.has(kSomeReturned)) return best;
  for (uint32_t place = 0; place < kReturned; ++place) {
    const auto index = static_cast<uint32_t>(load(returned(place)).high);
    if (!is_slot(index)) continue;
    const uint32_t priority = load(slot(index).priority);
    const uint64_t sequence = load(slot(index).published);
    const bool behind = priority < position.priority ||
                        (priority == position.priority && sequence > position.sequence);
    if (!behind) continue;
    if (is_slot(*best)) {
      const uint32_t best_priority = load(slot(*best).priority);
      if (best_priority > priority ||
          (best_priority == priority && load(slot(*best).published) < sequence)) {
        continue;
      }
    }
    best = index;
  }
  return best;
}

Result<MessageInfo> SharedQueue::peek(PeekPosition& position, uint32_t offset, std::span<std::byte> buffer,
                                      Aftermath& after) const {
  if (position.priority > kPriorities) return Error{EINVAL};
  uint64_t patience = walk_patience();
  for (uint32_t looks = 0; looks < kLooks && patience != 0; ++looks) {
    const auto state = settled(after);
    if (!state) return state.error();
    if (state->empty()) return Error{EAGAIN};
    const auto found = slot_after(*state, position, patience);
    if (!found) {
      if (found.code() == EAGAIN) continue;
      return found.error();
    }
    if (*found == kNoSlot) {
      if (still(*state)) return Error{EAGAIN};
      continue;
    }
    if (!is_slot(*found)) {
      if (still(*state)) return broken("segment: list");
      continue;
    }
    const MessageInfo info = info_of(*found);
    const size_t wanted = std::min(buffer.size(), size_t{info.size} - std::min(offset, info.size));
    copy_shared(buffer.data(), payload(*found) + offset, wanted);
    if (!still(*state)) continue;
    position = PeekPosition{info.priority, info.sequence, *found};
    return info;
  }
  return Error{EBUSY, "the queue changes too fast to be looked at"};
}

}  // namespace mqueuefs
