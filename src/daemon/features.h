// What this kernel, and this daemon's rights, allow. Each is tried, not looked up by version.
//
// Every one has a fallback, which `--without=NAME,...` forces for tests.
#pragma once

#include <string_view>

#include "base/result.h"

namespace mqueuefs::daemon {

struct Features {
  bool nsfs_handles = false;     ///< file handles tell whether an IPC namespace lives; else /proc is searched
  bool peer_pidfd = false;       ///< SO_PEERPIDFD; else pidfd_open(2) by number
  bool mount_privilege = false;  ///< fsopen(2) is permitted here; else in a user namespace, or by fusermount3
  bool user_namespaces = false;  ///< we may make user namespaces that may mount
  bool enter_user_namespaces = true;  ///< others' that we may enter, tried for each
  bool fusermount = false;            ///< fusermount3 is installed
};

/// Tries everything; runs a short-lived child. Called once, before the loop.
Features detect_features();

/// Takes away the features called in the comma-separated `names`: nsfs-handles, pidfd-messages,
/// mount-privilege, user-namespaces, fusermount. EINVAL: another name.
Status remove_features(Features& features, std::string_view names);

}  // namespace mqueuefs::daemon
