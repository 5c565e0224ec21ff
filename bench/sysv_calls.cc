// See sysv_calls.h.
#include "sysv_calls.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox.h"

namespace mqueuefs::bench {
namespace {

int kernel_semctl(int id, int number, int command, ...) {
  va_list arguments;
  va_start(arguments, command);
  const unsigned long argument = va_arg(arguments, unsigned long);
  va_end(arguments);
  return static_cast<int>(syscall(SYS_semctl, id, number, command, argument));
}

template <typename Function>
void find(void* library, const char* symbol, Function*& function) {
  function = reinterpret_cast<Function*>(dlsym(library, symbol));
  if (function == nullptr) fail(std::string("dlsym ") + symbol);
}

}  // namespace

const SysvCalls& kernel_sysv_calls() {
  static const SysvCalls calls = {
      [](key_t key, int flags) { return static_cast<int>(syscall(SYS_msgget, key, flags)); },
      [](int id, const void* message, size_t size, int flags) {
        return static_cast<int>(syscall(SYS_msgsnd, id, message, size, flags));
      },
      [](int id, void* message, size_t size, long type, int flags) {
        return static_cast<ssize_t>(syscall(SYS_msgrcv, id, message, size, type, flags));
      },
      [](int id, int command, msqid_ds* status) { return static_cast<int>(syscall(SYS_msgctl, id, command, status)); },
      [](key_t key, int count, int flags) { return static_cast<int>(syscall(SYS_semget, key, count, flags)); },
      [](int id, sembuf* operations, size_t count) {
        return static_cast<int>(syscall(SYS_semop, id, operations, count));
      },
      kernel_semctl,
      [](key_t key, size_t size, int flags) { return static_cast<int>(syscall(SYS_shmget, key, size, flags)); },
      [](int id, const void* address, int flags) { return reinterpret_cast<void*>(syscall(SYS_shmat, id, address, flags)); },
      [](const void* address) { return static_cast<int>(syscall(SYS_shmdt, address)); },
      [](int id, int command, shmid_ds* status) { return static_cast<int>(syscall(SYS_shmctl, id, command, status)); },
  };
  return calls;
}

SysvCalls load_sysv_calls(const std::string& path) {
  void* const library = dlopen(path.c_str(), RTLD_NOW);
  if (library == nullptr) fail("dlopen " + path);
  SysvCalls calls{};
  find(library, "msgget", calls.msgget);
  find(library, "msgsnd", calls.msgsnd);
  find(library, "msgrcv", calls.msgrcv);
  find(library, "msgctl", calls.msgctl);
  find(library, "semget", calls.semget);
  find(library, "semop", calls.semop);
  find(library, "semctl", calls.semctl);
  find(library, "shmget", calls.shmget);
  find(library, "shmat", calls.shmat);
  find(library, "shmdt", calls.shmdt);
  find(library, "shmctl", calls.shmctl);
  return calls;
}

}  // namespace mqueuefs::bench
