#include "client/mount_call.h"

#include <limits.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "client/call.h"
#include "client/mount.h"
#include "client/user_memory.h"
#include "control/mount_flags.h"

#ifndef FUSE_SUPER_MAGIC
#define FUSE_SUPER_MAGIC 0x65735546
#endif

namespace mqueuefs::client {
namespace {

// mount(2): with these flags it makes no new file system and looks at no type.
constexpr unsigned long kOtherOperations =
    MS_REMOUNT | MS_BIND | MS_MOVE | MS_SHARED | MS_PRIVATE | MS_SLAVE | MS_UNBINDABLE;

bool is_mqueue(const char* type) { return type != nullptr && readable_length(type, 7) == 6 && memcmp(type, "mqueue", 6) == 0; }

}  // namespace

int mount_call(const char* source, const char* target, const char* type, unsigned long flags, const void* data) {
  if ((flags & kOtherOperations) != 0 || !is_mqueue(type)) {
    return static_cast<int>(syscall(SYS_mount, source, target, type, flags, data));
  }
  Call call;
  if (source == nullptr) source = "none";
  if (readable_length(source, PATH_MAX) < 0 || readable_length(target, PATH_MAX) < 0) return call.fail(EFAULT);
  // The kernel's mqueue has no options.
  if (data != nullptr) {
    const ptrdiff_t length = readable_length(static_cast<const char*>(data), 1);
    if (length != 0) return call.fail(length < 0 ? EFAULT : EINVAL);
  }
  Lease lease;
  const auto connection = lease.connection();
  if (!connection) return call.fail(errno_without_daemon(connection.code()));
  Status mounted = mount_namespace(**connection, "", source, target, control::mount_flags(flags));
  if (!mounted && lease.was_idle() && !(*connection)->healthy()) {
    const auto other = lease.renewed();
    if (!other) return call.fail(errno_without_daemon(other.code()));
    mounted = mount_namespace(**other, "", source, target, control::mount_flags(flags));
  }
  return call.finish(mounted);
}

int umount_call(const char* target, int flags) {
  const long result = syscall(SYS_umount2, target, flags);
  if (result == 0 || errno != EPERM || readable_length(target, PATH_MAX) < 0) return static_cast<int>(result);
  Call call;
  struct statfs status {};
  const bool is_fuse = statfs(target, &status) == 0 && status.f_type == FUSE_SUPER_MAGIC;
  return is_fuse && fusermount_unmount(target) ? 0 : call.fail(EPERM);
}

}  // namespace mqueuefs::client
