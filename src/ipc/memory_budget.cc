#include "ipc/memory_budget.h"

#include "base/check.h"

namespace mqueuefs::ipc {

MemoryBudget::~MemoryBudget() { MQUEUEFS_CHECK(used_bytes_.empty()); }

Status MemoryBudget::reserve(uid_t uid, uint64_t bytes) {
  const uint64_t now = used(uid);
  if (bytes > ceiling_bytes_ || now > ceiling_bytes_ - bytes) return Error{ENOMEM, "memory ceiling of the user"};
  take(uid, bytes);
  return {};
}

void MemoryBudget::take(uid_t uid, uint64_t bytes) {
  if (bytes != 0) used_bytes_[uid] += bytes;
}

void MemoryBudget::give_back(uid_t uid, uint64_t bytes) {
  if (bytes == 0) return;
  const auto account = used_bytes_.find(uid);
  MQUEUEFS_CHECK(account != used_bytes_.end() && account->second >= bytes);
  account->second -= bytes;
  if (account->second == 0) used_bytes_.erase(account);
}

uint64_t MemoryBudget::used(uid_t uid) const {
  const auto account = used_bytes_.find(uid);
  return account == used_bytes_.end() ? 0 : account->second;
}

}  // namespace mqueuefs::ipc
