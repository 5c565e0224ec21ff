#include "segment/priority_index.h"

#include <bit>

namespace mqueuefs {
namespace {

constexpr Error kBrokenIndex{EUCLEAN, "segment: priority index"};

constexpr uint64_t bit(uint32_t number) {
  return uint64_t{1} << (number % 64);
}
constexpr uint64_t bits_below(uint32_t number) {
  return bit(number) - 1;
}
uint32_t highest_bit(uint64_t word) {
  return 63 - static_cast<uint32_t>(std::countl_zero(word));
}

void set(Word64& word, uint64_t mask) {
  store(word, load_once(word) | mask);
}

// True if the word became 0.
bool clear(Word64& word, uint64_t mask) {
  const uint64_t rest = load_once(word) & ~mask;
  store(word, rest);
  return rest == 0;
}

}  // namespace

bool PriorityIndex::contains(uint32_t priority) const {
  return (load_once(view_.leaf(priority / 64)) & bit(priority)) != 0;
}

void PriorityIndex::insert(uint32_t priority) {
  const uint32_t leaf = priority / 64;
  set(view_.leaf(leaf), bit(priority));
  set(view_.header().index_middle[leaf / 64], bit(leaf));
  set(view_.header().index_top, bit(leaf / 64));
}

void PriorityIndex::erase(uint32_t priority) {
  const uint32_t leaf = priority / 64;
  if (!clear(view_.leaf(leaf), bit(priority))) return;
  if (!clear(view_.header().index_middle[leaf / 64], bit(leaf))) return;
  clear(view_.header().index_top, bit(leaf / 64));
}

Result<uint32_t> PriorityIndex::highest_below(uint32_t bound) const {
  const Header& header = view_.header();
  uint64_t in_top = load_once(header.index_top);
  if (in_top >= bit(kIndexMiddleWords)) return kBrokenIndex;

  uint32_t leaf = 0;
  uint64_t in_leaf = 0;
  if (bound < kPriorities) {
    // Up the tree while nothing is left of the bound at this level, ...
    leaf = bound / 64;
    in_leaf = load_once(view_.leaf(leaf)) & bits_below(bound);
    if (in_leaf != 0) return leaf * 64 + highest_bit(in_leaf);
    const uint32_t middle = leaf / 64;
    const uint64_t in_middle = load_once(header.index_middle[middle]) & bits_below(leaf);
    if (in_middle != 0) {
      leaf = middle * 64 + highest_bit(in_middle);
      in_leaf = load_once(view_.leaf(leaf));
      if (in_leaf == 0) return kBrokenIndex;
      return leaf * 64 + highest_bit(in_leaf);
    }
    in_top &= bits_below(middle);
  }
  if (in_top == 0) return kPriorities;
  // ... then down along the highest bits.
  const uint32_t middle = highest_bit(in_top);
  const uint64_t in_middle = load_once(header.index_middle[middle]);
  if (in_middle == 0) return kBrokenIndex;
  leaf = middle * 64 + highest_bit(in_middle);
  in_leaf = load_once(view_.leaf(leaf));
  if (in_leaf == 0) return kBrokenIndex;
  return leaf * 64 + highest_bit(in_leaf);
}

Status PriorityIndex::verify() const {
  const Header& header = view_.header();
  const uint64_t in_top = load_once(header.index_top);
  if (in_top >= bit(kIndexMiddleWords)) return kBrokenIndex;
  for (uint32_t middle = 0; middle < kIndexMiddleWords; ++middle) {
    const uint64_t in_middle = load_once(header.index_middle[middle]);
    if ((in_middle != 0) != ((in_top & bit(middle)) != 0)) return kBrokenIndex;
    for (uint32_t leaf = middle * 64; leaf < (middle + 1) * 64; ++leaf) {
      if ((load_once(view_.leaf(leaf)) != 0) != ((in_middle & bit(leaf)) != 0)) return kBrokenIndex;
    }
  }
  return {};
}

}  // namespace mqueuefs
