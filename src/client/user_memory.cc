#include "client/user_memory.h"

#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <iterator>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23  // linux/mman.h since 5.14
#endif

namespace mqueuefs::client {
namespace {

// Pages are this long or a multiple of it.
constexpr uintptr_t kStep = 4096;

// rt_sigprocmask(2) reads the new mask before it sees that there is no such operation. Null would be no mask at all,
// so of the lowest page another byte is asked.
bool byte_readable(uintptr_t address) {
  const uintptr_t in_page = address < 8 ? 8 : address & ~uintptr_t{7};
  const long result = syscall(SYS_rt_sigprocmask, ~0, in_page, nullptr, 8);
  return result == 0 || errno != EFAULT;
}

// FUTEX_WAKE_OP writes atomically: here the word's own value.
bool byte_writable(uintptr_t address) {
  uint32_t nobody = 0;
  const long result = syscall(SYS_futex, &nobody, FUTEX_WAKE_OP | FUTEX_PRIVATE_FLAG, 0, 0, address & ~uintptr_t{3},
                              FUTEX_OP(FUTEX_OP_OR, 0, FUTEX_OP_CMP_LT, 0));
  return result >= 0 || errno != EFAULT;
}

bool wraps(uintptr_t address, size_t size) { return address + size < address; }

template <typename Probe>
bool every_page(uintptr_t first, size_t size, Probe probe) {
  const uintptr_t last = first + size - 1;
  for (uintptr_t at = first;; at = (at & ~(kStep - 1)) + kStep) {
    if (!probe(at)) return false;
    if ((at | (kStep - 1)) >= last) return true;
  }
}

}  // namespace

bool readable(const void* address, size_t size) {
  const auto first = reinterpret_cast<uintptr_t>(address);
  if (size == 0) return true;
  if (wraps(first, size)) return false;
  const int saved = errno;
  const bool ok = every_page(first, size, byte_readable);
  errno = saved;
  return ok;
}

bool writable(void* address, size_t size) {
  const auto first = reinterpret_cast<uintptr_t>(address);
  if (size == 0) return true;
  if (wraps(first, size)) return false;
  const int saved = errno;
  bool ok = false;
  if ((first | (kStep - 1)) < first + size - 1) {
    // Several pages in one call, where the kernel has it.
    const auto page_bytes = static_cast<uintptr_t>(getpagesize());
    const uintptr_t begin = first & ~(page_bytes - 1);
    ok = madvise(reinterpret_cast<void*>(begin), first + size - begin, MADV_POPULATE_WRITE) == 0;
  }
  if (!ok) ok = every_page(first, size, byte_writable);
  errno = saved;
  return ok;
}

bool writable_when_last_seen(void* address, size_t size) {
  // Page numbers and one, each in one place only; 0: none. Forked children have the same pages.
  static constinit std::atomic<uintptr_t> seen[256];
  const auto first = reinterpret_cast<uintptr_t>(address);
  if (size == 0 || wraps(first, size)) return size == 0;
  bool all = true;
  const uintptr_t last_page = (first + size - 1) / kStep;
  for (uintptr_t page = first / kStep; page <= last_page && all; ++page) {
    all = seen[page % std::size(seen)].load(std::memory_order_relaxed) == page + 1;
  }
  if (all) return true;
  if (!writable(address, size)) return false;
  for (uintptr_t page = first / kStep; page <= last_page; ++page) {
    seen[page % std::size(seen)].store(page + 1, std::memory_order_relaxed);
  }
  return true;
}

ptrdiff_t readable_length(const char* text, size_t most) {
  size_t length = 0;
  while (length < most) {
    const size_t in_page = kStep - reinterpret_cast<uintptr_t>(text + length) % kStep;
    const size_t part = in_page < most - length ? in_page : most - length;
    if (!readable(text + length, 1)) return -1;
    const size_t found = strnlen(text + length, part);
    length += found;
    if (found < part) break;
  }
  return static_cast<ptrdiff_t>(length);
}

}  // namespace mqueuefs::client
