// What msgctl(2), semctl(2) and shmctl(2) carry, as a 64-bit kernel and its C library lay it out (asm-generic/msgbuf.h,
// sembuf.h, shmbuf.h). Pure. Whatever is not said is zero.
#pragma once

#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>

#include "control/sysv_host.h"
#include "ipc/sysv/status.h"

namespace mqueuefs::seccomp {

/// IPC_STAT and its kin. Users are numbered as `users` does.
msqid_ds to_kernel(const ipc::sysv::MessageQueueStatus& status, const control::UserView& users);
semid_ds to_kernel(const ipc::sysv::SemaphoreArrayStatus& status, const control::UserView& users);
shmid_ds to_kernel(const ipc::sysv::SharedMemoryStatus& status, const control::UserView& users);

/// IPC_SET. Whom `users` does not know is nobody.
ipc::sysv::PermissionChange change_from(const ipc_perm& wanted, const control::UserView& users);

}  // namespace mqueuefs::seccomp
