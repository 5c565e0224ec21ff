// Who may do what to a namespace (doc/behaviour.md A4).
//
//   the administrator   who has CAP_SYS_ADMIN in the daemon's user namespace; for a daemon without that right
//                       itself, its own user
//   a named namespace   the uid that made it
//   a kernel namespace  who has CAP_SYS_ADMIN in the user namespace that owns it: ns_capable() of the kernel,
//                       asked from outside as user_namespaces(7) describes
//
// Every answer for a task that can't be seen, or is gone, is no.
#pragma once

#include "base/result.h"
#include "base/unique_fd.h"
#include "control/host.h"

namespace mqueuefs::daemon {

/// Sets of capabilities, see capabilities(7).
inline constexpr uint64_t kAdministrator = uint64_t{1} << 21;               ///< CAP_SYS_ADMIN
inline constexpr uint64_t kRestorer = kAdministrator | uint64_t{1} << 40;  ///< or CAP_CHECKPOINT_RESTORE

/// Who owns a kernel IPC namespace.
struct KernelOwner {
  UniqueFd user_namespace;
  uint64_t inode = 0;  ///< of the user namespace
  uid_t uid = 0;       ///< who made the user namespace, as numbered here
};

/// The owner of the IPC namespace that `thread` is in. Errors: those of open(2) and ioctl_ns(2); EPERM: it
/// lies outside of what the daemon's user namespace can see.
Result<KernelOwner> kernel_owner_of(ipc::TaskId thread);

/// Thread rule: the loop's. Looks at /proc when asked, keeps nothing of it.
class Authority {
 public:
  Authority();

  /// `capabilities`: one of them is enough.
  bool is_administrator(const control::Caller& caller, uint64_t capabilities = kAdministrator) const;
  /// The administrator too.
  bool owns_kernel_namespace(const control::Caller& caller, const KernelOwner& owner,
                             uint64_t capabilities = kAdministrator) const;

  /// Whether the caller has one of these capabilities over the user namespace; or (null) over the daemon's. Nobody is
  /// the administrator here.
  bool is_capable(const control::Caller& caller, const KernelOwner* owner, uint64_t capabilities) const;

  /// Whether the user namespace is the one that the daemon is in.
  bool is_own(const KernelOwner& owner) const { return owner.inode == own_user_namespace_; }

 private:
  const uint64_t own_user_namespace_;
  const bool own_sys_admin_;
};

}  // namespace mqueuefs::daemon
