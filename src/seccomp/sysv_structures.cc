#include "seccomp/sysv_structures.h"

namespace mqueuefs::seccomp {
namespace {

// x86-64 and arm64 have the same; a C library that had others could not pass them on as they are.
static_assert(sizeof(ipc_perm) == 48 && sizeof(msqid_ds) == 120 && sizeof(shmid_ds) == 112);

ipc_perm to_kernel(const ipc::sysv::Permissions& from, const control::UserView& users) {
  ipc_perm to{};
  to.__key = from.key;
  to.uid = users.user(from.uid);
  to.gid = users.group(from.gid);
  to.cuid = users.user(from.cuid);
  to.cgid = users.group(from.cgid);
  to.mode = static_cast<decltype(to.mode)>(from.mode);
  to.__seq = static_cast<decltype(to.__seq)>(from.sequence());
  return to;
}

}  // namespace

msqid_ds to_kernel(const ipc::sysv::MessageQueueStatus& status, const control::UserView& users) {
  msqid_ds to{};
  to.msg_perm = to_kernel(status.permissions, users);
  to.msg_stime = status.stime_s;
  to.msg_rtime = status.rtime_s;
  to.msg_ctime = status.ctime_s;
  to.__msg_cbytes = status.cbytes;
  to.msg_qnum = status.qnum;
  to.msg_qbytes = status.qbytes;
  to.msg_lspid = status.lspid;
  to.msg_lrpid = status.lrpid;
  return to;
}

semid_ds to_kernel(const ipc::sysv::SemaphoreArrayStatus& status, const control::UserView& users) {
  semid_ds to{};
  to.sem_perm = to_kernel(status.permissions, users);
  to.sem_otime = status.otime_s;
  to.sem_ctime = status.ctime_s;
  to.sem_nsems = status.nsems;
  return to;
}

shmid_ds to_kernel(const ipc::sysv::SharedMemoryStatus& status, const control::UserView& users) {
  shmid_ds to{};
  to.shm_perm = to_kernel(status.permissions, users);
  to.shm_segsz = status.segsz;
  to.shm_atime = status.atime_s;
  to.shm_dtime = status.dtime_s;
  to.shm_ctime = status.ctime_s;
  to.shm_cpid = status.cpid;
  to.shm_lpid = status.lpid;
  to.shm_nattch = status.nattch;
  return to;
}

ipc::sysv::PermissionChange change_from(const ipc_perm& wanted, const control::UserView& users) {
  return {users.user_meant(wanted.uid), users.group_meant(wanted.gid), static_cast<mode_t>(wanted.mode)};
}

}  // namespace mqueuefs::seccomp
