// Acting in a task's place: what it may, and how, read from /proc; a helper process takes it on.
//
// For helper processes of the system-call front door. As a kernel call would see it: the file system ids, the
// groups, the effective capabilities in the task's own user namespace, the umask; for paths also its mount
// namespace, root and working directory.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "ipc/task_info.h"

namespace mqueuefs::daemon {

/// As numbered in the reader's user namespace.
struct TargetIdentity {
  pid_t process = 0;
  std::array<uid_t, 4> uids{};  ///< real, effective, saved, file system
  std::array<gid_t, 4> gids{};
  std::vector<gid_t> groups;
  uint64_t capabilities = 0;  ///< effective
  mode_t mask = 022;
};

/// What /proc/PID/status says. EIO: that is no such text.
Result<TargetIdentity> parse_identity(std::string_view status);
/// ESRCH: it is gone.
Result<TargetIdentity> read_identity(ipc::TaskId task);

enum class Take {
  kCredentials,
  kCredentialsAndPaths,  ///< its mount namespace, root and working directory too
};

/// The calling process takes the task's place, for good. In a helper process only. EPERM: this daemon may not.
Status become(ipc::TaskId task, Take what);

/// Closes every descriptor but these.
void close_all_but(std::vector<int> kept);

}  // namespace mqueuefs::daemon
