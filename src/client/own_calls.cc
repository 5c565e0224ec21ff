// The system calls that the two shared libraries make, under the C library's names, hidden in them.
//
// A library that is loaded into other people's programs must not find theirs: a C program may well have a function
// of its own called shutdown, connect or send, and the dynamic linker would take that for ours. These definitions
// are bound when the library is linked, and nobody else sees them (visibility, and the symbol maps), so that the
// rest of the code calls close() as everywhere. Names that ISO C reserves, and those that begin with an underscore
// or pthread_, no program defines lightly; a test holds the list of what is left.
//
// Not in the static library: the commands use the C library as it is. No call here is a cancellation point; who
// wants one says so (kernel_call). 64-bit systems only, where the kernel's structures are the C library's.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#if defined(__LP64__)

namespace {

// The size of the kernel's signal sets.
constexpr long kSignalSetBytes = 8;

}  // namespace

// As the C library's in all but the declared types: integers and addresses in registers, of which the kernel takes as
// many bits as it means; the result is -1 and errno, or fits.
#define MQUEUEFS_OWN(name, ...)                                                                    \
  extern "C" __attribute__((visibility("hidden"))) long own_##name(__VA_ARGS__) __asm__(#name);    \
  long own_##name(__VA_ARGS__)

#define MQUEUEFS_OWN_0(name) \
  MQUEUEFS_OWN(name) { return syscall(SYS_##name); }
#define MQUEUEFS_OWN_1(name, number) \
  MQUEUEFS_OWN(name, long a) { return syscall(number, a); }
#define MQUEUEFS_OWN_2(name, number) \
  MQUEUEFS_OWN(name, long a, long b) { return syscall(number, a, b); }
#define MQUEUEFS_OWN_3(name, number) \
  MQUEUEFS_OWN(name, long a, long b, long c) { return syscall(number, a, b, c); }
#define MQUEUEFS_OWN_4(name, number) \
  MQUEUEFS_OWN(name, long a, long b, long c, long d) { return syscall(number, a, b, c, d); }
#define MQUEUEFS_OWN_5(name, number) \
  MQUEUEFS_OWN(name, long a, long b, long c, long d, long e) { return syscall(number, a, b, c, d, e); }
#define MQUEUEFS_OWN_6(name, number) \
  MQUEUEFS_OWN(name, long a, long b, long c, long d, long e, long f) { return syscall(number, a, b, c, d, e, f); }

MQUEUEFS_OWN_0(getpid)
MQUEUEFS_OWN_0(geteuid)
MQUEUEFS_OWN_0(getegid)
MQUEUEFS_OWN_0(setsid)
MQUEUEFS_OWN_2(getgroups, SYS_getgroups)

#if !defined(MQUEUEFS_PRELOAD)
MQUEUEFS_OWN_1(close, SYS_close)
#endif
MQUEUEFS_OWN_3(read, SYS_read)
MQUEUEFS_OWN_3(write, SYS_write)
MQUEUEFS_OWN_3(ioctl, SYS_ioctl)
MQUEUEFS_OWN_3(fcntl, SYS_fcntl)
MQUEUEFS_OWN_3(fcntl64, SYS_fcntl)
MQUEUEFS_OWN_2(pipe2, SYS_pipe2)
MQUEUEFS_OWN_2(eventfd, SYS_eventfd2)

MQUEUEFS_OWN_3(socket, SYS_socket)
MQUEUEFS_OWN_4(socketpair, SYS_socketpair)
MQUEUEFS_OWN_3(connect, SYS_connect)
MQUEUEFS_OWN_2(shutdown, SYS_shutdown)
MQUEUEFS_OWN_5(getsockopt, SYS_getsockopt)
MQUEUEFS_OWN_3(sendmsg, SYS_sendmsg)
MQUEUEFS_OWN_3(recvmsg, SYS_recvmsg)

MQUEUEFS_OWN_4(openat, SYS_openat)
MQUEUEFS_OWN_4(openat64, SYS_openat)
MQUEUEFS_OWN_3(unlinkat, SYS_unlinkat)
MQUEUEFS_OWN_4(faccessat, SYS_faccessat2)
MQUEUEFS_OWN_2(fstat, SYS_fstat)
MQUEUEFS_OWN_2(fstat64, SYS_fstat)
MQUEUEFS_OWN_4(fstatat, SYS_newfstatat)
MQUEUEFS_OWN_4(fstatat64, SYS_newfstatat)
MQUEUEFS_OWN_5(statx, SYS_statx)
MQUEUEFS_OWN_2(statfs, SYS_statfs)
MQUEUEFS_OWN_2(statfs64, SYS_statfs)
MQUEUEFS_OWN_2(fstatfs, SYS_fstatfs)
MQUEUEFS_OWN_2(fstatfs64, SYS_fstatfs)

#if !defined(MQUEUEFS_PRELOAD)
MQUEUEFS_OWN_6(mmap, SYS_mmap)
MQUEUEFS_OWN_6(mmap64, SYS_mmap)
#endif
#if !defined(MQUEUEFS_PRELOAD)
MQUEUEFS_OWN_2(munmap, SYS_munmap)
#endif
MQUEUEFS_OWN_3(madvise, SYS_madvise)
MQUEUEFS_OWN_2(memfd_create, SYS_memfd_create)
MQUEUEFS_OWN_2(ftruncate, SYS_ftruncate)
MQUEUEFS_OWN_2(ftruncate64, SYS_ftruncate)
MQUEUEFS_OWN_3(execve, SYS_execve)
MQUEUEFS_OWN_2(clock_gettime, SYS_clock_gettime)

MQUEUEFS_OWN(open, long path, long flags, long mode) { return syscall(SYS_openat, AT_FDCWD, path, flags, mode); }
MQUEUEFS_OWN(open64, long path, long flags, long mode) { return syscall(SYS_openat, AT_FDCWD, path, flags, mode); }
MQUEUEFS_OWN(stat, long path, long status) { return syscall(SYS_newfstatat, AT_FDCWD, path, status, 0); }
MQUEUEFS_OWN(stat64, long path, long status) { return syscall(SYS_newfstatat, AT_FDCWD, path, status, 0); }
MQUEUEFS_OWN(access, long path, long mode) { return syscall(SYS_faccessat, AT_FDCWD, path, mode); }
MQUEUEFS_OWN(readlink, long path, long text, long size) {
  return syscall(SYS_readlinkat, AT_FDCWD, path, text, size);
}
#if !defined(MQUEUEFS_PRELOAD)
MQUEUEFS_OWN(dup2, int from, int to) {
  // dup3(2) refuses what dup2(2) does not mind.
  return from == to ? syscall(SYS_fcntl, from, F_GETFD) < 0 ? -1 : to : syscall(SYS_dup3, from, to, 0);
}
#endif
MQUEUEFS_OWN(waitpid, long pid, long status, long options) {
  return syscall(SYS_wait4, pid, status, options, 0);
}
MQUEUEFS_OWN(ppoll, long polled, long count, const timespec* timeout, long mask) {
  // The kernel writes back what is left of it.
  timespec copy{};
  if (timeout != nullptr) copy = *timeout;
  return syscall(SYS_ppoll, polled, count, timeout != nullptr ? &copy : nullptr, mask, kSignalSetBytes);
}
MQUEUEFS_OWN(poll, long polled, long count, int timeout_ms) {
  timespec timeout{timeout_ms / 1000, timeout_ms % 1000 * 1'000'000L};
  return syscall(SYS_ppoll, polled, count, timeout_ms >= 0 ? &timeout : nullptr, 0, kSignalSetBytes);
}
MQUEUEFS_OWN(sigprocmask, long how, long set, long before) {
  return syscall(SYS_rt_sigprocmask, how, set, before, kSignalSetBytes);
}
MQUEUEFS_OWN(sigemptyset, void* set) {
  memset(set, 0, sizeof(sigset_t));
  return 0;
}
MQUEUEFS_OWN(sigfillset, void* set) {
  memset(set, 0xff, sizeof(sigset_t));
  return 0;
}
MQUEUEFS_OWN(getpagesize) { return static_cast<long>(getauxval(AT_PAGESZ)); }
MQUEUEFS_OWN(strnlen, const char* text, size_t most) {
  const void* const end = memchr(text, 0, most);
  return end != nullptr ? static_cast<const char*>(end) - text : static_cast<long>(most);
}

extern "C" __attribute__((visibility("hidden"), format(printf, 2, 3))) int own_dprintf(int fd, const char* format,
                                                                                      ...) __asm__("dprintf");
int own_dprintf(int fd, const char* format, ...) {
  char text[2048];
  va_list arguments;
  va_start(arguments, format);
  const int length = vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  if (length < 0) return -1;
  const size_t size = static_cast<size_t>(length) < sizeof text ? static_cast<size_t>(length) : sizeof text - 1;
  return static_cast<int>(syscall(SYS_write, fd, text, size));
}

#endif
