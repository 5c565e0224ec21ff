// The C library's names of System V IPC; what they do is in client/sysv_*.cc.
//
// unshare(2) and setns(2) are here because a thread that changes its namespace must not be taken to be where it was:
// they do what they always do, and say so.
#include <errno.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <stdarg.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "client/sysv.h"
#include "client/sysv_call.h"

#define MQUEUEFS_EXPORT __attribute__((visibility("default")))

namespace client = mqueuefs::client;

extern "C" {

MQUEUEFS_EXPORT int msgget(key_t key, int flags) noexcept { return client::msg_get(key, flags); }
MQUEUEFS_EXPORT int msgsnd(int id, const void* message, size_t size, int flags) {
  return client::msg_send(id, message, size, flags);
}
MQUEUEFS_EXPORT ssize_t msgrcv(int id, void* message, size_t size, long type, int flags) {
  return client::msg_receive(id, message, size, type, flags);
}
MQUEUEFS_EXPORT int msgctl(int id, int command, struct msqid_ds* status) noexcept {
  return client::msg_control(id, command, status);
}

MQUEUEFS_EXPORT int semget(key_t key, int count, int flags) noexcept { return client::sem_get(key, count, flags); }
MQUEUEFS_EXPORT int semop(int id, struct sembuf* operations, size_t count) noexcept {
  return client::sem_operate(id, operations, count, nullptr);
}
MQUEUEFS_EXPORT int semtimedop(int id, struct sembuf* operations, size_t count, const struct timespec* timeout) noexcept {
  return client::sem_operate(id, operations, count, timeout);
}
MQUEUEFS_EXPORT int semctl(int id, int number, int command, ...) noexcept {
  client::SemArgument argument{};
  if (client::sem_control_has_argument(command)) {
    va_list arguments;
    va_start(arguments, command);
    argument = va_arg(arguments, client::SemArgument);
    va_end(arguments);
  }
  return client::sem_control(id, number, command, argument);
}

MQUEUEFS_EXPORT int shmget(key_t key, size_t size, int flags) noexcept { return client::shm_get(key, size, flags); }
MQUEUEFS_EXPORT void* shmat(int id, const void* address, int flags) noexcept {
  return client::shm_attach(id, address, flags);
}
MQUEUEFS_EXPORT int shmdt(const void* address) noexcept { return client::shm_detach(address); }
MQUEUEFS_EXPORT int shmctl(int id, int command, struct shmid_ds* status) noexcept {
  return client::shm_control(id, command, status);
}

MQUEUEFS_EXPORT int unshare(int flags) noexcept {
  const long result = syscall(SYS_unshare, flags);
  client::sysv_moved();
  if (result == 0 && (flags & (CLONE_NEWIPC | CLONE_SYSVSEM)) != 0) client::sem_left();
  return static_cast<int>(result);
}
MQUEUEFS_EXPORT int setns(int fd, int type) noexcept {
  const int saved = errno;
  const bool may_be_ipc = (type & CLONE_NEWIPC) != 0 || (type == 0 && syscall(SYS_ioctl, fd, NS_GET_NSTYPE) == CLONE_NEWIPC);
  errno = saved;
  const long result = syscall(SYS_setns, fd, type);
  client::sysv_moved();
  if (result == 0 && may_be_ipc) client::sem_left();
  return static_cast<int>(result);
}

}  // extern "C"
