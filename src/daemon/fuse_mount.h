// The system calls that make FUSE superblocks and mounts. No policy; used by the daemon and by its children.
//
// `fsopen("fuse")` with a fresh /dev/fuse makes a superblock; with one that is mounted already it makes
// another, independent mount of the same superblock, with a source text of its own (Linux 5.13). A detached
// mount can be passed to another process and attached there by move_mount(2). See fsopen(2), fuse(4).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"

namespace mqueuefs::daemon {

/// The superblock's options; of a second mount only `source` matters.
struct SuperblockOptions {
  std::string source = "none";
  uid_t uid = 0;  ///< who is admitted without allow_other: exactly this user and group
  gid_t gid = 0;
  bool allow_other = false;  ///< everybody in the user namespace that makes the superblock, and below
};

/// How a mount is attached: kMount* of control/messages.h, as mount_setattr(2) wants them.
uint64_t mount_attributes(uint32_t mount_flags);

Result<UniqueFd> open_fuse_device();

/// A descriptor of our own for the connection behind `foreign`, a /dev/fuse that is mounted: who shares a
/// file description can make it blocking. EINVAL: it is something else. Asks no server about it.
Result<UniqueFd> own_fuse_device(int foreign);

/// A detached mount. Sends nothing to the server. Errors: EPERM no right to mount; those of fsconfig(2).
Result<UniqueFd> make_mount(int fuse_device, const SuperblockOptions& options, uint64_t attributes);

/// An O_PATH descriptor of the mount's root, made without a request to the server (an openat(2) would send a
/// GETATTR). Once `mount` is closed it can't be mounted any more; openat(2) below it works, and it keeps the
/// superblock alive.
Result<UniqueFd> root_of(int mount);
/// The same of what is mounted at `dir`.
Result<UniqueFd> root_at(const char* dir);

/// Changes the superblock's read-only flag. Blocks while the server is asked: never for the server itself.
Status set_read_only(int root, bool read_only);

/// The path of fusermount3, or "".
std::string find_fusermount();

/// Mounts at `dir` by fusermount3 and returns /dev/fuse. Blocks until the helper has ended.
Result<UniqueFd> mount_by_fusermount(const std::string& fusermount, const char* dir, const char* options);
/// Detaches what was mounted so. Blocks, and asks the server: never for the server itself.
Status unmount_by_fusermount(const std::string& fusermount, const char* dir);

}  // namespace mqueuefs::daemon
