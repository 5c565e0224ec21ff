#include "client/known_memory.h"

#include <atomic>
#include <cstdint>

#include "client/user_memory.h"

namespace mqueuefs::client {
namespace {

constexpr unsigned kPageBits = 12;
constexpr uintptr_t kPageMask = (uintptr_t{1} << kPageBits) - 1;
constexpr size_t kEntries = 1024;  // 4 MiB of buffers in pages of 4 KiB
constexpr uint64_t kWritable = uint64_t{1} << 63;
constexpr uint64_t kReadable = uint64_t{1} << 62;
constexpr unsigned kGenerationBits = 10;

// A page's number << 10 | generation, and what may be done with it. Only ever compared as a whole.
constinit std::atomic<uint64_t> known_pages[kEntries];
constinit std::atomic<uint64_t> memory_generation{1};

bool wraps_around(uintptr_t first, size_t size) { return first + size < first; }

template <typename Ask>
bool all_known(uintptr_t first, size_t size, uint64_t wanted, Ask ask) {
  const uint64_t now = memory_generation.load(std::memory_order_relaxed) & ((1U << kGenerationBits) - 1);
  const uintptr_t last = first + size - 1;
  for (uintptr_t at = first;; at = (at & ~kPageMask) + kPageMask + 1) {
    const uint64_t page = at >> kPageBits;
    std::atomic<uint64_t>& entry = known_pages[page % kEntries];
    const uint64_t value = page << kGenerationBits | now;
    const uint64_t found = entry.load(std::memory_order_relaxed);
    if ((found & wanted) == 0 || (found & ~(kReadable | kWritable)) != value) {
      if (!ask(at)) return false;
      const uint64_t before = (found & ~(kReadable | kWritable)) == value ? found : value;
      entry.store(before | wanted, std::memory_order_relaxed);
    }
    if ((at | kPageMask) >= last) return true;
  }
}

}  // namespace

bool known_readable(const void* address, size_t size) {
  const auto first = reinterpret_cast<uintptr_t>(address);
  if (size == 0) return true;
  if (wraps_around(first, size)) return false;
  return all_known(first, size, kReadable, [](uintptr_t at) { return readable(reinterpret_cast<void*>(at), 1); });
}

bool known_writable(void* address, size_t size) {
  const auto first = reinterpret_cast<uintptr_t>(address);
  if (size == 0) return true;
  if (wraps_around(first, size)) return false;
  return all_known(first, size, kWritable, [](uintptr_t at) { return writable(reinterpret_cast<void*>(at), 1); });
}

void forget_known_memory() { memory_generation.fetch_add(1, std::memory_order_relaxed); }

}  // namespace mqueuefs::client
