// Whether the last call on something had to wait: then the next one is likely to.
#pragma once

#include <atomic>
#include <cstdint>

namespace mqueuefs::client {

/// Mistaken only at the price of one more request; so things may share a place, and mean others by now. Any thread.
class Habit {
 public:
  bool waits(int what) const { return word(what).load(std::memory_order_relaxed) >> bit(what) & 1; }
  void note(int what, bool waited) {
    if (waits(what) == waited) return;
    const uint64_t mask = uint64_t{1} << bit(what);
    waited ? word(what).fetch_or(mask, std::memory_order_relaxed) : word(what).fetch_and(~mask, std::memory_order_relaxed);
  }

 private:
  static constexpr unsigned kWords = 16;
  static unsigned bit(int what) { return static_cast<unsigned>(what) % 64; }
  std::atomic<uint64_t>& word(int what) { return words_[static_cast<unsigned>(what) / 64 % kWords]; }
  const std::atomic<uint64_t>& word(int what) const { return words_[static_cast<unsigned>(what) / 64 % kWords]; }
  std::atomic<uint64_t> words_[kWords] = {};
};

}  // namespace mqueuefs::client
