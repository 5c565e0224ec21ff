// System V IPC as programs call it: short forms of libc's functions, and an IPC namespace to try them in.
//
// The target decides who answers libc's functions (support/target.h): the kernel, libmqueuefs-preload.so, or, for
// a static binary, `mqueuefs run --via seccomp`.
#pragma once

#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <time.h>

#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>

#include "support/target.h"

namespace mqueuefs::test {

/// Indexes are below this, and an id is sequence * this + index (doc/behaviour.md H1).
inline constexpr int kIdsPerSequence = 32768;

/// What the tests use where any key will do.
inline constexpr key_t kKey = 0x6d710001;

class SysvTest : public TargetTest {
 protected:
  /// Runs `body` in a child, as a member of a new IPC namespace, which is mounted nowhere and ends with it.
  static void in_new_ipc_namespace(const std::function<void()>& body);
};

/// In a child that is process 1 of a new pid namespace.
void in_new_pid_namespace(const std::function<void()>& body);

/// Installs a handler that does nothing but count; `handled()` tells how often it ran in this process.
void handle_signal(int signo, int flags);
int handled();

/// State of `pid` in /proc: 'S' asleep, 'T' stopped, ...
bool is_in_state(pid_t pid, char state);

// Messages.

int new_queue(int mode = 0600);
/// msgsnd. Fails with EAGAIN where it would block, unless `flags` are given.
int send_message(int id, long type, std::string_view text, int flags = IPC_NOWAIT);
/// msgrcv: "TYPE:TEXT", or "<ENOMSG>".
std::string receive_message(int id, long type = 0, int flags = IPC_NOWAIT, size_t size_bytes = 8192);
/// IPC_STAT; a failure is one of the test.
msqid_ds status_of_queue(int id);

// Semaphores.

/// What semctl(2) has its callers define.
union SemaphoreArgument {
  int val;
  semid_ds* buf;
  unsigned short* array;
  seminfo* info;
};

int new_semaphores(int count, int mode = 0600);
int operate(int id, std::initializer_list<sembuf> operations);
int operate_within(int id, std::initializer_list<sembuf> operations, const timespec& timeout);
int value_of(int id, int number = 0);
int set_value(int id, int number, int value);
semid_ds status_of_semaphores(int id);

// Memory.

int new_memory(size_t size_bytes, int mode = 0600);
shmid_ds status_of_memory(int id);
/// shmat; a failure is MAP_FAILED.
char* attach(int id, const void* address = nullptr, int flags = 0);

}  // namespace mqueuefs::test
