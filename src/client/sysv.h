// The twelve calls of System V IPC, as the C library has them: sysvipc(7) and the pages that it names.
//
// -1 and errno as those pages say; besides ENOSYS: no daemon answers, and none can be started. Thread-safe, fork-safe.
// Cancellation points: msgsnd and msgrcv. What a program has attached is known here (attachments.h); the rest is the
// daemon's.
#pragma once

#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <time.h>

namespace mqueuefs::client {

int msg_get(key_t key, int flags);
int msg_send(int id, const void* message, size_t size, int flags);
ssize_t msg_receive(int id, void* message, size_t size, long type, int flags);
int msg_control(int id, int command, msqid_ds* status);

/// semctl(2)'s fourth argument, which has no declaration; `number` where it is one.
union SemArgument {
  int number;
  semid_ds* status;
  unsigned short* values;
  seminfo* info;
};

int sem_get(key_t key, int count, int flags);
/// `timeout` may be null: semop(2).
int sem_operate(int id, const sembuf* operations, size_t count, const timespec* timeout);
int sem_control(int id, int number, int command, SemArgument argument);
/// This thread has left the undo values that it shared, by unshare(2) or setns(2): exit_sem() of ipc/sem.c.
void sem_left();
/// Whether semctl(2) has a fourth argument.
bool sem_control_has_argument(int command);

int shm_get(key_t key, size_t size, int flags);
/// MAP_FAILED: errno says why.
void* shm_attach(int id, const void* address, int flags);
int shm_detach(const void* address);
int shm_control(int id, int command, shmid_ds* status);

}  // namespace mqueuefs::client
