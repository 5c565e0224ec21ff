// How much memory the daemon will hold for one user, over all namespaces.
//
// The kernel charges a message on its way to the kernel memory of the task, and queues to RLIMIT_MSGQUEUE,
// which is one account for each user. Ours is one for each user and namespace (doc/behaviour.md D3), so something has to
// bound what a user can pile up by making namespaces, or by leaving messages in channels: this.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <unordered_map>

#include "base/result.h"

namespace mqueuefs::ipc {

/// One account a uid. Asserts at its end that every account is empty.
class MemoryBudget {
 public:
  explicit MemoryBudget(uint64_t ceiling_bytes = UINT64_MAX) : ceiling_bytes_(ceiling_bytes) {}
  MemoryBudget(const MemoryBudget&) = delete;
  MemoryBudget& operator=(const MemoryBudget&) = delete;
  ~MemoryBudget();

  /// ENOMEM: the user's account would exceed the ceiling.
  Status reserve(uid_t uid, uint64_t bytes);
  /// The same without the ceiling, for what comes to a user unasked: a message handed to his receiver.
  void take(uid_t uid, uint64_t bytes);
  void give_back(uid_t uid, uint64_t bytes);
  uint64_t used(uid_t uid) const;

 private:
  const uint64_t ceiling_bytes_;
  std::unordered_map<uid_t, uint64_t> used_bytes_;
};

}  // namespace mqueuefs::ipc
