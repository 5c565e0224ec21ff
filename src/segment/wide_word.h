// A word of 16 bytes that changes as a whole, in memory that several processes share.
//
// One compare-and-swap instruction (cmpxchg16b, CASP or a LL/SC pair) or none: a lock, as a library would use for
// what the machine has not, could be held by a process that is dead.
//
// Invariant of every user: `low` differs between any two values that a word has within one reader's look. So a
// reader needs no locked instruction: low, high, low again, and the same `low` twice means one value.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(MQUEUEFS_MODEL_STEPS)
// The interleaving test decides at each access to shared memory who goes on.
extern "C" void mqueuefs_model_step();
#define MQUEUEFS_STEP() mqueuefs_model_step()
#else
#define MQUEUEFS_STEP() static_cast<void>(0)
#endif

namespace mqueuefs {

using Word32 = std::atomic<uint32_t>;
using Word64 = std::atomic<uint64_t>;
static_assert(Word32::is_always_lock_free && sizeof(Word32) == 4);
static_assert(Word64::is_always_lock_free && sizeof(Word64) == 8);

/// One load. Another process may change the word between two loads, so the value that was checked must be the
/// value that is used: load once, keep the copy.
template <typename T>
inline T load(const std::atomic<T>& word) {
  MQUEUEFS_STEP();
  return word.load(std::memory_order_acquire);
}
template <typename T>
inline void store(std::atomic<T>& word, T value) {
  MQUEUEFS_STEP();
  word.store(value, std::memory_order_release);
}
template <typename T>
inline bool swap(std::atomic<T>& word, T expected, T desired) {
  MQUEUEFS_STEP();
  return word.compare_exchange_strong(expected, desired, std::memory_order_acq_rel, std::memory_order_acquire);
}

struct Wide {
  uint64_t low = 0;
  uint64_t high = 0;
  bool operator==(const Wide&) const = default;
};

struct alignas(16) WideWord {
  Word64 low;
  Word64 high;
};
static_assert(sizeof(WideWord) == 16);

inline Wide load(const WideWord& word) {
  for (;;) {
    const uint64_t low = load(word.low);
    const uint64_t high = word.high.load(std::memory_order_acquire);
    MQUEUEFS_STEP();
    if (word.low.load(std::memory_order_acquire) == low) return {low, high};
  }
}

/// True: `word` was `expected` and is `desired` now. A full barrier. Otherwise `expected` is what it was.
inline bool swap(WideWord& word, Wide& expected, Wide desired) {
  MQUEUEFS_STEP();
#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__)
  bool swapped;
  __asm__ __volatile__("lock cmpxchg16b %1"
                       : "=@ccz"(swapped), "+m"(word), "+a"(expected.low), "+d"(expected.high)
                       : "b"(desired.low), "c"(desired.high)
                       : "memory");
  return swapped;
#else
  __extension__ using Whole = unsigned __int128;
  const Whole before = static_cast<Whole>(expected.high) << 64 | expected.low;
  const Whole after = static_cast<Whole>(desired.high) << 64 | desired.low;
  const Whole seen = __sync_val_compare_and_swap(reinterpret_cast<Whole*>(&word), before, after);
  if (seen == before) return true;
  expected = {static_cast<uint64_t>(seen), static_cast<uint64_t>(seen >> 64)};
  return false;
#endif
}

/// memcpy from or to memory that another process may be changing: what is read then is not believed (it is asked
/// afterwards whether the state has moved), or is nonsense that somebody wrote on purpose.
inline void copy_shared(std::byte* to, const std::byte* from, size_t bytes) {
#if defined(__SANITIZE_THREAD__)
  for (size_t at = 0; at < bytes; ++at) {
    __atomic_store_n(to + at, __atomic_load_n(from + at, __ATOMIC_RELAXED), __ATOMIC_RELAXED);
  }
#else
  if (bytes != 0) memcpy(to, from, bytes);
#endif
}

}  // namespace mqueuefs
