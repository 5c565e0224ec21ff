// What IPC_INFO, MSG_INFO, SEM_INFO and SHM_INFO tell: the limits, how much of them is in use, and what the kernel has
// always said there. Pure. A limit that is more than an int holds is shown as INT_MAX.
#pragma once

#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>

#include "ipc/limits.h"
#include "ipc/sysv/status.h"

namespace mqueuefs::ipc::sysv {

/// IPC_INFO; `in_use`: MSG_INFO, SEM_INFO.
msginfo message_info(const Limits& limits, const Usage& usage, bool in_use);
seminfo semaphore_info(const Limits& limits, const Usage& usage, bool in_use);
shminfo memory_info(const Limits& limits);
/// SHM_INFO.
shm_info memory_use(const Usage& usage);

}  // namespace mqueuefs::ipc::sysv
