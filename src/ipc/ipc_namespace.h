// An emulated IPC namespace: limits, charges, the one superblock, and the System V objects.
//
// Who keeps it alive (bindings to kernel namespaces, a name) is the daemon's business (daemon/); when the last
// of them goes the object is destroyed, which severs the superblock: the kernel's free_ipc_ns.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>

#include "base/result.h"
#include "ipc/limits.h"
#include "ipc/superblock.h"
#include "ipc/sysv/sysv_ipc.h"

namespace mqueuefs::ipc {

/// Thread rule: the loop's.
class IpcNamespace {
 public:
  IpcNamespace(uint64_t id, std::string name, uid_t owner_uid, gid_t owner_gid, const Environment& environment);
  IpcNamespace(const IpcNamespace&) = delete;
  IpcNamespace& operator=(const IpcNamespace&) = delete;
  /// Frees the namespace: its superblock goes on without it, who waits for a System V object gets EIDRM.
  ~IpcNamespace();

  uint64_t id() const { return id_; }
  const std::string& name() const { return name_; }  ///< empty: not a named one
  uid_t owner_uid() const { return owner_uid_; }

  Limits& limits() { return limits_; }
  const Limits& limits() const { return limits_; }
  bool has_default_limits() const;

  const std::shared_ptr<Superblock>& superblock() const { return superblock_; }

  sysv::SysvIpc& sysv() { return sysv_; }
  const sysv::SysvIpc& sysv() const { return sysv_; }

  /// Queues that exist, unlinked but open ones included (doc/behaviour.md D4).
  uint64_t queue_count() const { return queue_count_; }
  uint64_t charged_bytes(uid_t uid) const;
  uint64_t charged_bytes() const;

 private:
  friend class Superblock;

  /// Counts a queue. EMFILE: over `rlimit_bytes`. ENOMEM: over the user's ceiling.
  Status charge(uid_t uid, uint64_t bytes, uint64_t rlimit_bytes);
  void give_charge_back(uid_t uid, uint64_t bytes);

  const uint64_t id_;
  const std::string name_;
  const uid_t owner_uid_;
  Limits limits_;
  sysv::SysvIpc sysv_;
  uint64_t queue_count_ = 0;
  std::unordered_map<uid_t, uint64_t> charged_bytes_;
  std::shared_ptr<Superblock> superblock_;
};

}  // namespace mqueuefs::ipc
