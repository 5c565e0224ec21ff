// What System V calls ask of the daemon: whose namespace, with what rights, and what becomes of it when the process ends.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string_view>

#include "base/result.h"
#include "control/host.h"
#include "ipc/ipc_namespace.h"
#include "ipc/sysv/caller.h"

namespace mqueuefs::control {

/// Where a thread was when it was looked at: names a namespace for as long as it is there.
struct SysvPlace {
  uint64_t kernel_key = 0;    ///< the kernel namespace; 0: by name
  uint64_t namespace_id = 0;  ///< by name
};

/// What an administrator wants.
enum class SysvAccess {
  kLook,     ///< members; the owner; administrators
  kControl,  ///< the owner, who may what CAP_SYS_ADMIN may; else as the object's mode says
  kRestore,  ///< the owner, or CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE over it
};

/// How a task's user namespace numbers users and groups.
class UserView {
 public:
  virtual ~UserView() = default;
  /// 65534: it has no number there.
  virtual uid_t user(uid_t uid) const = 0;
  virtual gid_t group(gid_t gid) const = 0;
  /// The other way round; (uid_t)-1, which nobody is: it means nobody.
  virtual uid_t user_meant(uid_t uid) const = 0;
  virtual gid_t group_meant(gid_t gid) const = 0;
};

/// A thread that may be asleep in a call.
class Sleeper {
 public:
  virtual ~Sleeper() = default;
  /// By a signal or a debugger. The kernel takes such a one out of the line. One system call.
  virtual bool is_stopped() const = 0;
};

/// Thread rule: the loop's. None of these blocks.
class SysvHost {
 public:
  virtual ~SysvHost() = default;

  /// Looks where the thread is; or (a name) which namespace that is, if the caller may use it. Costs some reads of
  /// /proc. Errors: as Host's.
  virtual Result<SysvPlace> find_sysv_place(const Caller& caller, std::string_view name) = 0;
  /// O(1). Null: it is gone.
  virtual ipc::IpcNamespace* namespace_at(const SysvPlace& place) = 0;

  /// What `caller` may there, asked of /proc when it is asked. `place` and `caller` are copied.
  virtual std::unique_ptr<ipc::sysv::CallerRights> sysv_rights(const Caller& caller, const SysvPlace& place) = 0;

  /// The process may hold something there now (undo values, attached memory): its end, and that it executes another
  /// program, are told to the model from now on. ESRCH: it has ended.
  virtual Status hold(pid_t process, ipc::IpcNamespace& where) = 0;
  /// Before attachments are counted, or shmat(2) or shmdt(2) changes them: whoever has executed another program meanwhile
  /// has detached before that. A system call for each process that holds something there.
  virtual void look_for_executed(ipc::IpcNamespace& where) = 0;
  /// The process says that it has just been forked: it has attached what its parent has. Returns whether that had
  /// anything.
  virtual bool inherit(pid_t process) = 0;
  /// In whichever namespace. EINVAL.
  virtual Status detach(pid_t process, uint64_t attachment) = 0;
  virtual std::unique_ptr<Sleeper> sleeper(pid_t process, ipc::TaskId thread) = 0;
  /// The process has left its undo values by unshare(2) or setns(2): they are applied, if it is the only thread.
  virtual void undo(pid_t process) = 0;
  /// A descriptor of a segment's file, read-only or as it is. EMFILE, ENFILE.
  virtual Result<UniqueFd> share_memory(int file, bool read_only) = 0;
  /// A connection of this process has ended.
  virtual void connection_ended(pid_t process) = 0;

  /// Whether the thread is there still; of a name: always. One read of /proc.
  virtual bool is_at(ipc::TaskId thread, const SysvPlace& place) = 0;

  /// For an administrator's request. Errors: as Host's; EPERM.
  virtual Result<SysvPlace> sysv_target(const Caller& caller, std::string_view name, SysvAccess access) = 0;
  /// Costs a read of /proc.
  virtual std::shared_ptr<const UserView> users_seen_by(ipc::TaskId reader) = 0;
};

}  // namespace mqueuefs::control
