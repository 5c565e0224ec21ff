#include "client/mount_call.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <atomic>

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

constexpr long kMqueueMagic = 0x19800202;  // MQUEUE_MAGIC of ipc/mqueue.c

// The source that was last given to a context. Contexts do not tell it; one that this process did not configure, or not
// last, gets the kernel's default. Only what mountinfo shows depends on it.
struct NotedSource {
  std::atomic<int> context{-1};
  char text[256] = {};
};
constinit NotedSource noted_source;

void note_source(int context, const void* source) {
  noted_source.context.store(-1);
  const ptrdiff_t length = readable_length(static_cast<const char*>(source), sizeof noted_source.text);
  if (length < 0 || static_cast<size_t>(length) >= sizeof noted_source.text) return;
  memcpy(noted_source.text, source, static_cast<size_t>(length));
  noted_source.text[length] = '\0';
  noted_source.context.store(context);
}

unsigned long flags_of(unsigned attributes) {
  unsigned long flags = 0;
  if ((attributes & MOUNT_ATTR_RDONLY) != 0) flags |= MS_RDONLY;
  if ((attributes & MOUNT_ATTR_NOSUID) != 0) flags |= MS_NOSUID;
  if ((attributes & MOUNT_ATTR__ATIME) == MOUNT_ATTR_NOATIME) flags |= MS_NOATIME;
  if ((attributes & MOUNT_ATTR__ATIME) == MOUNT_ATTR_STRICTATIME) flags |= MS_STRICTATIME;
  return flags;
}

}  // namespace

int fsopen_call(const char* type, unsigned flags) {
  const long context = syscall(SYS_fsopen, type, flags);
  if (context < 0 && errno == ENODEV && is_mqueue(type)) errno = ENOSYS;
  return static_cast<int>(context);
}

int fsconfig_call(int context, unsigned command, const char* key, const void* value, int auxiliary) {
  const long result = syscall(SYS_fsconfig, context, command, key, value, auxiliary);
  if (result == 0 && command == FSCONFIG_SET_STRING && readable_length(key, 7) == 6 && memcmp(key, "source", 6) == 0) {
    note_source(context, value);
  }
  return static_cast<int>(result);
}

int fsmount_call(int context, unsigned flags, unsigned attributes) {
  // The kernel checks state, flags and rights.
  UniqueFd kernels(static_cast<int>(syscall(SYS_fsmount, context, flags, attributes)));
  struct statfs status {};
  if (!kernels || fstatfs(kernels.get(), &status) != 0 || status.f_type != kMqueueMagic) return kernels.release();
  Call call;
  const char* const source = noted_source.context.exchange(-1) == context ? noted_source.text : "none";
  Lease lease;
  auto connection = lease.connection();
  if (!connection) return call.fail(errno_without_daemon(connection.code()));
  auto ours = detached_mount(**connection, "", source, control::mount_flags(flags_of(attributes)));
  if (!ours && lease.was_idle() && !(*connection)->healthy()) {
    connection = lease.renewed();
    if (!connection) return call.fail(errno_without_daemon(connection.code()));
    ours = detached_mount(**connection, "", source, control::mount_flags(flags_of(attributes)));
  }
  if (!ours) return call.fail(ours.code() == EOPNOTSUPP ? EPERM : ours.code());
  // Under the number that the kernel chose.
  const int close_on_exec = (flags & FSMOUNT_CLOEXEC) != 0 ? O_CLOEXEC : 0;
  if (syscall(SYS_dup3, ours->get(), kernels.get(), close_on_exec) < 0) return call.fail(errno);
  ours->reset();
  // When this is answered the daemon has closed its own descriptor of the mount (mount_namespace).
  static_cast<void>((*connection)->request(control::Type::kWithdraw, {}).ok());
  return kernels.release();
}

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
