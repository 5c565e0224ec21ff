#include "client/mount.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <utility>

namespace mqueuefs::client {
namespace {

using control::Type;

unsigned long mount_flags_of(uint32_t flags) {
  // Always both, as the kernel's own (doc/behaviour.md A3).
  unsigned long result = MS_RELATIME | MS_NOEXEC | MS_NODEV;
  if (flags & control::kMountReadOnly) result |= MS_RDONLY;
  if (flags & control::kMountNoSuid) result |= MS_NOSUID;
  if (flags & control::kMountNoAtime) result = (result & ~MS_RELATIME) | MS_NOATIME;
  if (flags & control::kMountStrictAtime) result = (result & ~MS_RELATIME) | MS_STRICTATIME;
  return result;
}

// fusermount3 -o separates by commas and unescapes backslashes.
void append_escaped(char* text, size_t size, const char* value) {
  size_t length = strlen(text);
  for (; *value != '\0' && length + 3 < size; ++value) {
    if (*value == ',' || *value == '\\') text[length++] = '\\';
    text[length++] = *value;
  }
  text[length] = '\0';
}

Status mount_by_fusermount(Connection& connection, const control::AdoptMount& adopt, const char* source,
                           const char* dir, uint32_t flags) {
  char options[8192];
  snprintf(options, sizeof options, "%s,nosuid,nodev,noexec,default_permissions%s,subtype=mqueuefs,fsname=",
           flags & control::kMountReadOnly ? "ro" : "rw",
           flags & control::kMountNoAtime ? ",noatime" : "");
  append_escaped(options, sizeof options, source);
  const auto device = fusermount(dir, options);
  if (!device) return device.error();
  const auto adopted = connection.request(Type::kAdoptMount, control::bytes_of(adopt), {}, device->get());
  if (adopted) return {};
  static_cast<void>(fusermount_unmount(dir).ok());
  return adopted.error();
}

}  // namespace

Result<UniqueFd> detached_mount(Connection& connection, const char* namespace_name, const char* source, uint32_t flags) {
  control::Mount request{};
  if (const Status named = set_name(request.target.name, namespace_name); !named) return named.error();
  if (strlen(source) >= sizeof request.source) return Error{ENAMETOOLONG, "source"};
  memcpy(request.source, source, strlen(source));
  request.flags = flags;
  auto reply = connection.request(Type::kMount, control::bytes_of(request));
  if (!reply) return reply.error();
  if (!reply->fd) return Error{EPROTO, "reply without descriptor"};
  return std::move(reply->fd);
}

Status mount_namespace(Connection& connection, const char* namespace_name, const char* source, const char* dir,
                       uint32_t flags) {
  const auto detached = detached_mount(connection, namespace_name, source, flags);
  // EOPNOTSUPP: fusermount3 may do it. A caller without the right to mount is refused with EPERM already.
  if (!detached && detached.code() != EOPNOTSUPP) return detached.error();
  if (detached) {
    // Not libc's move_mount(), which is younger than many a libc that this is loaded beside.
    if (syscall(SYS_move_mount, detached->get(), "", AT_FDCWD, dir, MOVE_MOUNT_F_EMPTY_PATH) == 0) {
      // Any request: when it is answered the daemon has closed its own descriptor of the mount, with which an umount(2)
      // that follows at once would be EBUSY.
      static_cast<void>(connection.request(Type::kWithdraw, {}).ok());
      return {};
    }
    if (errno != EPERM || geteuid() == 0) return last_error("move_mount");
  }
  // Without it fusermount3 would only say the same, in its own words.
  if (!detached && access("/dev/fuse", F_OK) != 0) return detached.error();
  control::AdoptMount adopt{};
  if (const Status named = set_name(adopt.target.name, namespace_name); !named) return named.error();
  adopt.flags = flags;
  return mount_by_fusermount(connection, adopt, source, dir, flags);
}

Status remount_namespace(Connection& connection, const char* namespace_name, const char* dir, uint32_t flags) {
  if (syscall(SYS_mount, nullptr, dir, nullptr, MS_REMOUNT | mount_flags_of(flags), nullptr) == 0) return {};
  if (errno != EPERM || (flags & control::kMountProcView) != 0) return last_error("remount");
  control::Remount request{};
  if (const Status named = set_name(request.target.name, namespace_name); !named) return named.error();
  request.read_only = flags & control::kMountReadOnly ? 1 : 0;
  const auto reply = connection.request(Type::kRemount, control::bytes_of(request));
  return reply ? Status{} : reply.error();
}

}  // namespace mqueuefs::client
