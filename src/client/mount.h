// Mounting a namespace, as an act of the caller's own: what the mount helper and `unshare --mount` do.
//
// The daemon hands over a detached mount, and the caller attaches it with move_mount(2): so it works in whatever
// mount namespace the caller is in and for whoever may mount there. An ordinary user outside of a user namespace
// may not: then fusermount3 makes the mount, and the daemon adopts its /dev/fuse.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "client/connection.h"

namespace mqueuefs::client {

/// Mounts at the directory `dir`. `flags`: control::MountFlags. `source` is kept and means nothing.
///
/// Errors: ENOENT: no such namespace or directory; EPERM: the namespace is not the caller's to mount (doc/behaviour.md A4);
/// ENOTDIR; those of move_mount(2).
Status mount_namespace(Connection& connection, const char* namespace_name, const char* source, const char* dir,
                       uint32_t flags);

/// The same mount, not attached to a directory yet: for move_mount(2).
///
/// Errors: ENOENT: no such namespace; EPERM; EOPNOTSUPP: this daemon can't make mounts for others.
Result<UniqueFd> detached_mount(Connection& connection, const char* namespace_name, const char* source, uint32_t flags);

/// Changes the superblock mounted at `dir` to read-only or back, and that mount's own flags, as
/// mount(2) with MS_REMOUNT does; the daemon does it where the caller may not.
Status remount_namespace(Connection& connection, const char* namespace_name, const char* dir, uint32_t flags);

/// Mounts at `dir` with fusermount3 and returns the mount's /dev/fuse. `options` are for its -o.
/// Blocks until it has ended; what it complains about goes to standard error.
/// Errors: ENOENT: not installed; EPERM: it refused.
Result<UniqueFd> fusermount(const char* dir, const char* options);

/// Takes such a mount away again, lazily.
Status fusermount_unmount(const char* dir);

}  // namespace mqueuefs::client
