// Who makes a System V IPC call, and how he is asked whether he is still there.
//
// Ids of users and processes are as the daemon sees them; a front door translates what it shows to a caller in another
// user namespace. Processes are translated here, when a status is read (TaskInfo::pid_seen_by).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>

#include "ipc/task_info.h"

namespace mqueuefs::ipc::sysv {

/// What a rule has to know of a caller's rights only now and then: asked when the answer depends on it, since it may
/// cost a read of /proc. For a task that is gone the answers are those that allow least. Never blocks.
class CallerRights {
 public:
  virtual ~CallerRights() = default;
  /// in_group_p(): the effective group or a supplementary one.
  virtual bool in_group(gid_t gid) = 0;
  /// CAP_IPC_OWNER in the user namespace that owns the IPC namespace: passes all permission bits.
  virtual bool owns_ipc() = 0;
  /// CAP_SYS_ADMIN there: may set and remove what is another's.
  virtual bool administers() = 0;
  /// CAP_IPC_LOCK there: may SHM_LOCK and SHM_UNLOCK what is another's, as much as he likes.
  virtual bool may_lock() = 0;
  /// CAP_SYS_RESOURCE in the initial user namespace: msg_qbytes over msgmnb.
  virtual bool may_exceed_limits() = 0;
  /// Soft RLIMIT_MEMLOCK, bytes.
  virtual uint64_t rlimit_memlock() = 0;
};

/// A value; whoever waits keeps a copy. `rights` must live as long as the call, or as the wait.
struct Caller {
  pid_t process = 0;   ///< the tgid: what lspid, lrpid, sempid, cpid, lpid show, and whose SEM_UNDO values they are
  TaskId thread = 0;   ///< for whom pids are translated
  uid_t euid = 0;
  gid_t egid = 0;
  CallerRights* rights = nullptr;  ///< never null in a call
};

/// Asked once, with what the call is going to return, if it succeeds: after all checks and directly before anything
/// changes. False: the caller is gone, nothing has happened, and the call says ESRCH (which none of these calls says
/// otherwise). Not asked if the call fails or waits. Must not call the model.
using Confirm = std::function<bool(int64_t result)>;

/// For who can not vanish unseen.
inline bool confirmed(int64_t) { return true; }

}  // namespace mqueuefs::ipc::sysv
