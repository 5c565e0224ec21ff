// Which priorities below the top one have messages: a bitmap of three levels, so that the highest is found in a few
// steps.
//
// A bit may be set for a list that is empty, never clear for one that is not. So setting needs no care, by however late
// a helper, and an emptied list's bit stays until somebody stumbles over too many of them: bits are cleared by a change
// of the state (kClean), and only the words that this change clears carry its version.

#include <bit>

#include "segment/shared_queue.h"
#include "segment/tagged.h"

namespace mqueuefs {
namespace {

// How many bits of empty lists a search passes over before it has them cleared: programs use few priorities over and
// over, and then it is better to leave their bits.
constexpr uint32_t kStaleBits = 4;

constexpr uint64_t bit(uint32_t number) { return uint64_t{1} << (number % 64); }
constexpr uint64_t bits_below(uint32_t number) { return bit(number) - 1; }
uint32_t highest_bit(uint64_t word) { return 63 - static_cast<uint32_t>(std::countl_zero(word)); }

void set_bit(TaggedWord& word, uint64_t mask) {
  if ((load(word.high) & mask) != 0) return;
  MQUEUEFS_STEP();
  word.high.fetch_or(mask, std::memory_order_acq_rel);
}

}  // namespace

void SharedQueue::index_insert(uint32_t priority) const {
  const uint32_t index = priority / 64;
  set_bit(leaf(index), bit(priority));
  set_bit(header().middle[index / 64], bit(index));
  set_bit(header().top, bit(index / 64));
}

// The highest leaf below `index` that may not be 0.
std::optional<uint32_t> SharedQueue::leaf_below(uint32_t index) const {
  uint32_t middle = index / 64;
  uint64_t bits = middle < kMiddles ? load(header().middle[middle].high) & bits_below(index) : 0;
  uint64_t top = load(header().top.high) & (middle < kMiddles ? bits_below(middle) : bits_below(kMiddles));
  while (bits == 0) {
    if (top == 0) return std::nullopt;
    middle = highest_bit(top);
    top &= ~bit(middle);
    bits = load(header().middle[middle].high);
  }
  return middle * 64 + highest_bit(bits);
}

/// The highest priority below `bound` whose list is not empty; kPriorities: none. EAGAIN: the state has moved.
Result<uint32_t> SharedQueue::highest_below(uint32_t bound, State state) const {
  uint32_t stale = 0;
  std::optional<uint32_t> index;
  uint64_t bits = 0;
  if (bound < kPriorities) {
    index = bound / 64;
    bits = load(leaf(*index).high) & bits_below(bound);
  } else {
    index = leaf_below(kLeaves);
    if (!index) return kPriorities;
    bits = load(leaf(*index).high);
  }
  for (;;) {
    while (bits != 0) {
      const uint32_t priority = *index * 64 + highest_bit(bits);
      if (list_head(load(list(priority)).high) != kNoSlot) return priority;
      ++stale;
      bits &= ~bit(priority);
    }
    // This leaf has nothing below the bound. What it promises above costs the next search time again.
    if (stale >= kStaleBits || (bound / 64 != *index && load(leaf(*index).high) == 0)) {
      State next = state;
      next.set_kind(Kind::kClean);
      next.set_argument(*index);
      decide(state, next);
      return Error{EAGAIN};
    }
    index = leaf_below(*index);
    if (!index) return kPriorities;
    bits = load(leaf(*index).high);
  }
}

void SharedQueue::apply_clean(uint32_t index, uint64_t version) const {
  Wide before = load(leaf(index));
  for (uint32_t tries = 0; before.low < version && tries < kPatience; ++tries) {
    // No list changes at this version; if the state has moved the version of the word has, too.
    uint64_t live = 0;
    for (uint64_t bits = before.high; bits != 0; bits &= bits - 1) {
      const auto number = static_cast<uint32_t>(std::countr_zero(bits));
      if (list_head(load(list(index * 64 + number)).high) != kNoSlot) live |= bit(number);
    }
    if (swap(leaf(index), before, Wide{version, live})) break;
  }
  // All three get this version, also if nothing is cleared: a bit of an empty list that comes late would otherwise make
  // one of us stop here, and another one, who did not see it, clear a bit above when a later message needs it.
  TaggedWord& middle = header().middle[index / 64];
  clear_tagged(middle, version, load(leaf(index).high) == 0 ? bit(index) : 0);
  clear_tagged(header().top, version, load(middle.high) == 0 ? bit(index / 64) : 0);
}

// Nothing that has messages is missing.
Status SharedQueue::verify_index() const {
  if ((load(header().top.high) >> kMiddles) != 0) return Error{EUCLEAN, "segment: index"};
  for (uint32_t priority = 0; priority < kPriorities; ++priority) {
    if (list_head(load(list(priority)).high) == kNoSlot) continue;
    const uint32_t index = priority / 64;
    if ((load(leaf(index).high) & bit(priority)) == 0 || (load(header().middle[index / 64].high) & bit(index)) == 0 ||
        (load(header().top.high) & bit(index / 64)) == 0) {
      return Error{EUCLEAN, "segment: index"};
    }
  }
  return {};
}

}  // namespace mqueuefs
