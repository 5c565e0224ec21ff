#include "daemon/authority.h"

#include <linux/nsfs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "daemon/proc_files.h"
#include "daemon/proc_text.h"

namespace mqueuefs::daemon {
namespace {

constexpr int kMostUserNamespaces = 33;  // their depth is bounded by 32, see user_namespaces(7)

bool has_one_of(pid_t task, uint64_t capabilities) {
  const auto status = read_proc(task, "status");
  return status && (effective_capabilities(*status) & capabilities) != 0;
}

Result<uid_t> owner_of(int user_namespace) {
  uid_t uid = 0;
  if (ioctl(user_namespace, NS_GET_OWNER_UID, &uid) < 0) return last_error("NS_GET_OWNER_UID");
  return uid;
}

uint64_t own_inode() {
  const auto inode = namespace_inode_of(getpid(), "user");
  return inode ? *inode : kInitialUserNamespaceInode;
}

}  // namespace

Result<KernelOwner> kernel_owner_of(ipc::TaskId thread) {
  const auto ipc = open_namespace_of(thread, "ipc");  // for a moment only: it would keep the namespace
  if (!ipc) return ipc.error();
  KernelOwner owner;
  owner.user_namespace = UniqueFd(ioctl(ipc->get(), NS_GET_USERNS));
  if (!owner.user_namespace) return last_error("NS_GET_USERNS");
  const auto inode = inode_of(owner.user_namespace.get());
  if (!inode) return inode.error();
  const auto uid = owner_of(owner.user_namespace.get());
  if (!uid) return uid.error();
  owner.inode = *inode;
  owner.uid = *uid;
  return owner;
}

Authority::Authority() : own_user_namespace_(own_inode()), own_sys_admin_(has_one_of(getpid(), kAdministrator)) {}

bool Authority::is_administrator(const control::Caller& caller, uint64_t capabilities) const {
  if (!own_sys_admin_ && caller.uid == geteuid()) return true;
  return is_capable(caller, nullptr, capabilities);
}

bool Authority::owns_kernel_namespace(const control::Caller& caller, const KernelOwner& owner,
                                      uint64_t capabilities) const {
  return is_administrator(caller, capabilities) || is_capable(caller, &owner, capabilities);
}

bool Authority::is_capable(const control::Caller& caller, const KernelOwner* owner, uint64_t capabilities) const {
  const auto callers = namespace_inode_of(caller.thread, "user");
  if (!callers) return false;
  if (owner == nullptr) return *callers == own_user_namespace_ && has_one_of(caller.thread, capabilities);
  // As security/commoncap.c:cap_capable: capable in the namespace itself or an ancestor of it, or, from right
  // above, the user who made it or a namespace on the way.
  UniqueFd level(dup(owner->user_namespace.get()));
  uint64_t inode = owner->inode;
  for (int depth = 0; level && depth < kMostUserNamespaces; ++depth) {
    if (inode == *callers) return has_one_of(caller.thread, capabilities);
    UniqueFd parent(ioctl(level.get(), NS_GET_PARENT));
    if (!parent) return false;
    const auto parent_inode = inode_of(parent.get());
    const auto maker = owner_of(level.get());
    if (!parent_inode || !maker) return false;
    if (*parent_inode == *callers && *maker == caller.uid) return true;
    level = std::move(parent);
    inode = *parent_inode;
  }
  return false;
}

}  // namespace mqueuefs::daemon
