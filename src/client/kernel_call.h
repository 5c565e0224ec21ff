// A system call at which the thread can be cancelled, whoever has the C library's name for it.
#pragma once

#include <pthread.h>
#include <unistd.h>

namespace mqueuefs::client {

/// A cancellation point unless the thread has cancellation disabled. -1 and errno. Not for calls whose effect must not
/// be lost: the thread may be cancelled after it.
inline long kernel_call(long number, long a, long b, long c, long d, long e, long f = 0) {
  int type = PTHREAD_CANCEL_DEFERRED;
  pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &type);
  const long result = syscall(number, a, b, c, d, e, f);
  pthread_setcanceltype(type, nullptr);
  return result;
}

}  // namespace mqueuefs::client
