// What is shown of the objects: msgctl, semctl and shmctl with IPC_STAT, ipcs(1), /proc/sysvipc/*.
//
// The pids are as the reader sees them (0: not at all, or nobody yet). Times are seconds since 1970; 0: never.
#pragma once

#include <sys/types.h>

#include <cstdint>

#include "ipc/sysv/permissions.h"

namespace mqueuefs::ipc::sysv {

enum class Kind { kMessages, kSemaphores, kMemory };

/// struct msqid_ds.
struct MessageQueueStatus {
  Permissions permissions;
  uint64_t cbytes = 0;  ///< payload bytes in the queue
  uint64_t qnum = 0;    ///< messages in the queue
  uint64_t qbytes = 0;
  pid_t lspid = 0;
  pid_t lrpid = 0;
  int64_t stime_s = 0;
  int64_t rtime_s = 0;
  int64_t ctime_s = 0;
  uint32_t waiting_senders = 0;
  uint32_t waiting_receivers = 0;
};

/// struct semid_ds.
struct SemaphoreArrayStatus {
  Permissions permissions;
  uint32_t nsems = 0;
  int64_t otime_s = 0;
  int64_t ctime_s = 0;
  uint32_t waiting = 0;
};

/// struct shmid_ds.
struct SharedMemoryStatus {
  Permissions permissions;
  uint64_t segsz = 0;  ///< bytes, as asked for
  pid_t cpid = 0;
  pid_t lpid = 0;
  uint64_t nattch = 0;
  int64_t atime_s = 0;
  int64_t dtime_s = 0;
  int64_t ctime_s = 0;
  uint64_t rss_bytes = 0;   ///< pages that exist; only in lists
  uint64_t swap_bytes = 0;
};

/// How much there is: {MSG,SEM,SHM}_INFO beside the limits.
struct Usage {
  int greatest_index = 0;   ///< what the call returns; 0 if there is none
  uint32_t used_ids = 0;
  uint64_t messages = 0;       ///< kMessages: msgmap, in all queues
  uint64_t message_bytes = 0;  ///< kMessages: msgtql
  uint64_t semaphores = 0;     ///< kSemaphores: semaem, in all arrays
  uint64_t memory_pages = 0;   ///< kMemory: shm_tot
  uint64_t rss_pages = 0;      ///< kMemory: shm_rss
  uint64_t swap_pages = 0;     ///< kMemory: shm_swp
};

/// Which object a status call means.
enum class Lookup {
  kId,           ///< IPC_STAT: this id
  kIndex,        ///< {MSG,SEM,SHM}_STAT: the place only
  kIndexUnasked  ///< {MSG,SEM,SHM}_STAT_ANY: the same, without asking for permission to read
};

}  // namespace mqueuefs::ipc::sysv
