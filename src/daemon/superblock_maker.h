// How the kernel's superblocks come to be: three ways, the first that this daemon's rights allow.
//
//   kPrivileged        the daemon may mount: it does, at once. All users are admitted (allow_other).
//   kInUserNamespace   a short-lived child enters a user namespace in which it may. If the requester's user
//                      namespace owns the IPC namespace it is that one, and all in it are admitted; else it
//                      is a fresh one, and exactly this user and group are admitted, wherever they are.
//   kFusermount        fusermount3 mounts at a temporary directory, which is detached at once.
//
// In each case the daemon ends up with /dev/fuse and an O_PATH descriptor of the root: the internal mount.
#pragma once

#include <functional>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"
#include "daemon/child_task.h"
#include "daemon/features.h"
#include "daemon/fuse_mount.h"

namespace mqueuefs::daemon {

enum class SuperblockWay { kPrivileged, kInUserNamespace, kFusermount };

/// What the daemon holds of one of the kernel's superblocks.
struct KernelSuperblock {
  SuperblockWay way = SuperblockWay::kPrivileged;
  UniqueFd device;                  ///< /dev/fuse; goes to the session
  UniqueFd root;                    ///< O_PATH; none: let go
  UniqueFd user_namespace;          ///< kInUserNamespace: the one that owns it
  bool owned_by_requester = false;  ///< kInUserNamespace: not a fresh one
};

/// For a child process only: a user namespace in which nothing changes but that we may mount. Errors: those of the
/// system calls.
Status enter_fresh_user_namespace();
/// For a child process only: this user namespace, and a mount namespace that it owns.
Status enter_user_namespace(int user_namespace);

/// Thread rule: the loop's. `done` may be called before the function returns.
class SuperblockMaker {
 public:
  /// `work_dir`: where kFusermount may make temporary directories.
  SuperblockMaker(ChildTasks& children, const Features& features, std::string work_dir);

  /// `owner` is the user namespace that owns the IPC namespace, or none. Errors: EOPNOTSUPP no way works
  /// here; those of the system calls.
  void make(UniqueFd owner, std::function<void(Result<KernelSuperblock>)> done);

  /// A detached mount of `superblock`, whose /dev/fuse is `device`. EOPNOTSUPP: kFusermount.
  void mount_again(const KernelSuperblock& superblock, int device, const std::string& source,
                   uint64_t attributes, std::function<void(Result<UniqueFd>)> done);

  /// Always in a child, since it may ask the server. EOPNOTSUPP: kFusermount.
  void set_read_only(const KernelSuperblock& superblock, bool read_only, std::function<void(Status)> done);

 private:
  void make_in_user_namespace(UniqueFd owner, std::function<void(Result<KernelSuperblock>)> done);
  void make_by_fusermount(std::function<void(Result<KernelSuperblock>)> done);

  ChildTasks& children_;
  const Features features_;
  const std::string work_dir_;
};

}  // namespace mqueuefs::daemon
