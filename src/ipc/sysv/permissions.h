// Owner, key and mode of a System V IPC object, and who may do what with it. See sysvipc(7).
#pragma once

#include <sys/ipc.h>
#include <sys/types.h>

#include <cstdint>

#include "base/result.h"
#include "ipc/sysv/caller.h"

namespace mqueuefs::ipc::sysv {

/// The kernel's kern_ipc_perm. `id` and `key` are changed by the table only.
struct Permissions {
  int id = -1;
  key_t key = IPC_PRIVATE;
  uid_t uid = 0;   ///< owner
  gid_t gid = 0;
  uid_t cuid = 0;  ///< creator
  gid_t cgid = 0;
  mode_t mode = 0;  ///< 0777 bits; of shared memory also SHM_DEST and SHM_LOCKED

  int index() const { return id & 0x7fff; }
  /// What struct ipc_perm calls __seq.
  uint32_t sequence() const { return static_cast<uint32_t>(id) >> 15; }
};

/// Of a new object: the caller's, with the 0777 bits of `flags`. The table gives it its id.
Permissions created_by(const Caller& caller, key_t key, int flags);

/// What IPC_SET may change of it.
struct PermissionChange {
  uid_t uid = 0;
  gid_t gid = 0;
  mode_t mode = 0;  ///< its 0777 bits count
};

inline constexpr unsigned kRead = 0444;   ///< S_IRUGO, for may_access
inline constexpr unsigned kWrite = 0222;  ///< S_IWUGO
inline constexpr unsigned kExecute = 0111;

/// ipcperms() of ipc/util.c: whether all bits asked for (in any of the three places of `flags`) are granted by those
/// of the owner (who owns or made it), else of its groups, else of others; CAP_IPC_OWNER passes.
bool may_access(const Permissions& permissions, const Caller& caller, unsigned flags);

/// ipcctl_obtain_check(): EPERM unless owner, creator, or CAP_SYS_ADMIN.
Status may_control(const Permissions& permissions, const Caller& caller);

/// ipc_update_perm(). EINVAL: no such user or group (-1). Nothing is changed then.
Status check_change(const PermissionChange& change);
void apply_change(Permissions& permissions, const PermissionChange& change);

}  // namespace mqueuefs::ipc::sysv
