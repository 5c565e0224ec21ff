// What this kernel, and this daemon's rights, allow. Each is tried, not looked up by version.
//
// Every one of Features has a fallback, which `--without=NAME,...` forces for tests. SystemReport is for people: the
// same trials, with what they said, and some more.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/result.h"

namespace mqueuefs::daemon {

struct Features {
  bool nsfs_handles = false;     ///< file handles tell whether an IPC namespace lives; else a probe
  bool namespace_probe = false;  ///< its mqueue superblock tells that (namespace_probe.h); else /proc is searched
  bool peer_pidfd = false;       ///< SO_PEERPIDFD; else pidfd_open(2) by number
  bool mount_privilege = false;  ///< fsopen(2) is permitted here; else in a user namespace, or by fusermount3
  bool user_namespaces = false;  ///< we may make user namespaces that may mount
  bool enter_user_namespaces = true;  ///< others' that we may enter, tried for each
  bool fusermount = false;            ///< fusermount3 is installed
};

/// Tries everything; runs a short-lived child. Called once, before the loop.
Features detect_features();

/// Takes away the features called in the comma-separated `names`: nsfs-handles, namespace-probe,
/// pidfd-messages, mount-privilege, user-namespaces, fusermount. EINVAL: another name.
Status remove_features(Features& features, std::string_view names);

/// What the kernel's FUSE says of itself when a superblock is made.
struct FuseProtocol {
  uint32_t major = 0;
  uint32_t minor = 0;
  bool resend = false;       ///< requests in flight can be had again by another process (6.9)
  bool shares_superblock = false;  ///< several mounts of one superblock (5.13)
};

/// Of each trial 0, or the errno that it ended with.
struct SystemReport {
  Features features;
  int fuse_device = 0;       ///< opening /dev/fuse
  int mount_api = 0;         ///< fsopen(2) of FUSE; EPERM: it is there, but not for us
  int user_namespaces = 0;   ///< making one in which the mount API is permitted
  int ipc_namespaces = 0;    ///< the kernel has them; ENOENT
  int seccomp_notification = 0;
  int kernel_queues = 0;     ///< the kernel's own mq_open(2); ENOSYS
  std::optional<FuseProtocol> fuse;  ///< none: nothing can be mounted here
};

/// Tries everything; runs short-lived children.
SystemReport examine_system();

}  // namespace mqueuefs::daemon
