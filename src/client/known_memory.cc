#include "client/known_memory.h"

#include <atomic>
#include <cstdint>

#include "client/user_memory.h"

namespace mqueuefs::client {
namespace {

constexpr unsigned kPageBits = 12;
constexpr uintptr_t kPageMask = (uintptr_t{1} << kPageBits) - 1;
constexpr size_t kEntries = 1024;  // 4 MiB of buffers in pages of 4 KiB

// The generation, a page's number << 2, and how it is known. Of another generation it means nothing.
constinit std::atomic<uint64_t> known_pages[kEntries];
// In its upper bits, which numbers of pages don't reach (57 bits of address): a step for each time that all was forgotten.
constinit std::atomic<uint64_t> generation_now{0};
constexpr uint64_t kGenerationStep = uint64_t{1} << 47;
constexpr uintptr_t kEndOfPages = uintptr_t{1} << 45;

constexpr uint64_t kReadable = 2;
constexpr uint64_t kWritable = 3;

// Of memory in one page, which most is.
MQUEUEFS_HOT bool is_good(uintptr_t first, size_t size, uint64_t how) {
  const uintptr_t page = first >> kPageBits;
  const uint64_t found = known_pages[page % kEntries].load(std::memory_order_relaxed);
  const uint64_t wanted = generation_now.load(std::memory_order_relaxed) | page << 2 | kWritable;
  return (first & kPageMask) + size <= kPageMask + 1 && size <= kPageMask + 1 && (found | (kWritable ^ how)) == wanted &&
         page < kEndOfPages;
}

template <typename Ask>
MQUEUEFS_COLD bool find_out(uintptr_t first, size_t size, uint64_t how, Ask ask) {
  if (size == 0) return true;
  const uintptr_t last = first + size - 1;
  if (last < first) return false;
  for (uintptr_t at = first;; at = (at & ~kPageMask) + kPageMask + 1) {
    if (!is_good(at, 1, how)) {
      // Asked about in this generation: forgotten in the next one, also if that begins before it is noted.
      const uint64_t generation = generation_now.load();
      if (!ask(at)) return false;
      const uintptr_t page = at >> kPageBits;
      if (page < kEndOfPages) known_pages[page % kEntries].store(generation | page << 2 | how, std::memory_order_relaxed);
    }
    if ((at | kPageMask) >= last) return true;
  }
}

}  // namespace

bool known_readable(const void* address, size_t size) {
  const auto first = reinterpret_cast<uintptr_t>(address);
  if (is_good(first, size, kReadable)) [[likely]] return true;
  return find_out(first, size, kReadable, [](uintptr_t at) { return readable(reinterpret_cast<void*>(at), 1); });
}

bool known_writable(void* address, size_t size) {
  const auto first = reinterpret_cast<uintptr_t>(address);
  if (is_good(first, size, kWritable)) [[likely]] return true;
  return find_out(first, size, kWritable, [](uintptr_t at) { return writable(reinterpret_cast<void*>(at), 1); });
}

void forget_known_memory() {
  if (generation_now.fetch_add(kGenerationStep) + kGenerationStep != 0) return;
  // All generations were used once: nothing may be left of the first.
  for (auto& page : known_pages) page.store(0, std::memory_order_relaxed);
}

}  // namespace mqueuefs::client
