#include "ipc/sysv/permissions.h"

#include <cerrno>

namespace mqueuefs::ipc::sysv {

Permissions created_by(const Caller& caller, key_t key, int flags) {
  return {.key = key,
          .uid = caller.euid,
          .gid = caller.egid,
          .cuid = caller.euid,
          .cgid = caller.egid,
          .mode = static_cast<mode_t>(flags) & 0777};
}

bool may_access(const Permissions& permissions, const Caller& caller, unsigned flags) {
  // Each of the three places asks for the same: shmget(key, size, 0444) and 0004 are one question.
  const unsigned asked = ((flags >> 6) | (flags >> 3) | flags) & 07;
  const bool is_owner = caller.euid == permissions.uid || caller.euid == permissions.cuid;
  const unsigned as_owner = permissions.mode >> 6, as_group = permissions.mode >> 3, as_other = permissions.mode;
  if (is_owner) return (asked & ~as_owner) == 0 || caller.rights->owns_ipc();
  // Whether he is in the group is asked only if that makes a difference.
  if ((asked & ~as_group) == 0 && (asked & ~as_other) == 0) return true;
  if ((asked & ~as_group) != 0 && (asked & ~as_other) != 0) return caller.rights->owns_ipc();
  const bool in_group = caller.egid == permissions.gid || caller.egid == permissions.cgid ||
                        caller.rights->in_group(permissions.cgid) || caller.rights->in_group(permissions.gid);
  return (asked & ~(in_group ? as_group : as_other)) == 0 || caller.rights->owns_ipc();
}

Status may_control(const Permissions& permissions, const Caller& caller) {
  if (caller.euid == permissions.uid || caller.euid == permissions.cuid) return {};
  if (caller.rights->administers()) return {};
  return Error{EPERM, "neither owner nor creator"};
}

Status check_change(const PermissionChange& change) {
  if (change.uid == static_cast<uid_t>(-1) || change.gid == static_cast<gid_t>(-1)) return Error{EINVAL, "owner"};
  return {};
}

void apply_change(Permissions& permissions, const PermissionChange& change) {
  permissions.uid = change.uid;
  permissions.gid = change.gid;
  permissions.mode = (permissions.mode & ~mode_t{0777}) | (change.mode & 0777);
}

}  // namespace mqueuefs::ipc::sysv
