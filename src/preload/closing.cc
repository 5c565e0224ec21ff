// What tells the fast path that a descriptor is about to become another file, or memory to go: the C library's functions
// that do so, each of which looks at what is known and then does what it always does.
//
// mmap(2) is among them for MAP_FIXED, which replaces what was there. Those that are cancellation points in the C library
// (close, fclose) are called there; the others are system calls. What the C library closes or unmaps by itself goes by
// unseen, and is none of the program's queues and buffers, apart from streams (fclose) and what is freed.
#undef _FILE_OFFSET_BITS  // both mmap and mmap64 are defined here, which are one otherwise

#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>

#include "client/attachments.h"
#include "client/known_memory.h"
#include "client/mapped_queues.h"

#define MQUEUEFS_EXPORT __attribute__((visibility("default")))

namespace {

using mqueuefs::client::descriptor_closes;
using mqueuefs::client::descriptors_close;
using mqueuefs::client::forget_known_memory;

// The C library's own. Looked up before the program starts, since the look-up is nothing for a signal handler.
int (*real_close)(int) = nullptr;
int (*real_fclose)(FILE*) = nullptr;

__attribute__((constructor)) void find_real_functions() {
  mqueuefs::client::closing_is_seen();
  real_close = reinterpret_cast<int (*)(int)>(dlsym(RTLD_NEXT, "close"));
  real_fclose = reinterpret_cast<int (*)(FILE*)>(dlsym(RTLD_NEXT, "fclose"));
}

}  // namespace

extern "C" {

MQUEUEFS_EXPORT int close(int fd) {
  descriptor_closes(fd);
  return real_close != nullptr ? real_close(fd) : static_cast<int>(syscall(SYS_close, fd));
}

MQUEUEFS_EXPORT int fclose(FILE* stream) {
  if (real_fclose == nullptr) find_real_functions();
  const int fd = fileno_unlocked(stream);
  if (fd >= 0) descriptor_closes(fd);
  return real_fclose(stream);
}

MQUEUEFS_EXPORT int dup2(int from, int to) noexcept {
  if (from != to) descriptor_closes(to);
#if defined(SYS_dup2)
  return static_cast<int>(syscall(SYS_dup2, from, to));
#else
  if (from == to) return syscall(SYS_fcntl, from, 1 /* F_GETFD */) < 0 ? -1 : to;
  return static_cast<int>(syscall(SYS_dup3, from, to, 0));
#endif
}

MQUEUEFS_EXPORT int dup3(int from, int to, int flags) noexcept {
  if (from != to) descriptor_closes(to);
  return static_cast<int>(syscall(SYS_dup3, from, to, flags));
}

MQUEUEFS_EXPORT int close_range(unsigned first, unsigned last, int flags) noexcept {
  constexpr int kCloseOnExec = 4;  // CLOSE_RANGE_CLOEXEC: they stay as they are
  if ((flags & kCloseOnExec) == 0) descriptors_close(first, last);
  return static_cast<int>(syscall(SYS_close_range, first, last, flags));
}

MQUEUEFS_EXPORT void closefrom(int first) noexcept {
  const unsigned from = first < 0 ? 0 : static_cast<unsigned>(first);
  descriptors_close(from, ~0U);
  if (syscall(SYS_close_range, from, ~0U, 0) == 0) return;
  // Before Linux 5.9.
  rlimit most{};
  if (syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, nullptr, &most) != 0) return;
  for (rlim_t fd = from; fd < most.rlim_cur; ++fd) syscall(SYS_close, fd);
}

MQUEUEFS_EXPORT int munmap(void* address, size_t size) noexcept {
  mqueuefs::client::memory_unmaps(address, size);
  const auto result = static_cast<int>(syscall(SYS_munmap, address, size));
  forget_known_memory();
  return result;
}

MQUEUEFS_EXPORT int mprotect(void* address, size_t size, int protection) noexcept {
  const auto result = static_cast<int>(syscall(SYS_mprotect, address, size, protection));
  forget_known_memory();
  return result;
}

MQUEUEFS_EXPORT void* mremap(void* address, size_t size, size_t new_size, int flags, ...) noexcept {
  va_list arguments;
  va_start(arguments, flags);
  void* const wanted = (flags & MREMAP_FIXED) != 0 || (flags & 4 /* MREMAP_DONTUNMAP */) != 0
                           ? va_arg(arguments, void*)
                           : nullptr;
  va_end(arguments);
  void* const moved = reinterpret_cast<void*>(syscall(SYS_mremap, address, size, new_size, flags, wanted));
  forget_known_memory();
  return moved;
}

MQUEUEFS_EXPORT void* mmap(void* address, size_t size, int protection, int flags, int fd, off_t offset) noexcept {
  void* const mapped = reinterpret_cast<void*>(syscall(SYS_mmap, address, size, protection, flags, fd, offset));
  if ((flags & MAP_FIXED) != 0) forget_known_memory();
  return mapped;
}

MQUEUEFS_EXPORT void* mmap64(void* address, size_t size, int protection, int flags, int fd, off64_t offset) noexcept {
  return mmap(address, size, protection, flags, fd, offset);
}

}  // extern "C"
