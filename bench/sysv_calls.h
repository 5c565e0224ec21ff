// The contenders of `mqueuefs-bench sysv`: the calls as the kernel answers them, and as libmqueuefs-preload.so does.
#pragma once

#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>

#include <memory>
#include <string>

namespace mqueuefs::bench {

struct SysvCalls {
  int (*msgget)(key_t, int);
  int (*msgsnd)(int, const void*, size_t, int);
  ssize_t (*msgrcv)(int, void*, size_t, long, int);
  int (*msgctl)(int, int, msqid_ds*);
  int (*semget)(key_t, int, int);
  int (*semop)(int, sembuf*, size_t);
  int (*semctl)(int, int, int, ...);
  int (*shmget)(key_t, size_t, int);
  void* (*shmat)(int, const void*, int);
  int (*shmdt)(const void*);
  int (*shmctl)(int, int, shmid_ds*);
};

/// By system call, whoever has interposed libc's.
const SysvCalls& kernel_sysv_calls();
/// Those of the library at `path`, loaded into this process.
SysvCalls load_sysv_calls(const std::string& path);

}  // namespace mqueuefs::bench
