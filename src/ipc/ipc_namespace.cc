#include "ipc/ipc_namespace.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace mqueuefs::ipc {

IpcNamespace::IpcNamespace(uint64_t id, std::string name, uid_t owner_uid, gid_t owner_gid,
                           const Environment& environment)
    : id_(id),
      name_(std::move(name)),
      owner_uid_(owner_uid),
      sysv_({environment.tasks, environment.budget, limits_, environment.shared_memory}),
      superblock_(std::make_shared<Superblock>(*this, environment, owner_uid, owner_gid)) {}

IpcNamespace::~IpcNamespace() { superblock_->namespace_ = nullptr; }

bool IpcNamespace::has_default_limits() const {
  const Limits defaults;
  return std::ranges::all_of(limit_rules(),
                             [&](const LimitRule& rule) { return limits_.*rule.value == defaults.*rule.value; });
}

uint64_t IpcNamespace::charged_bytes(uid_t uid) const {
  const auto account = charged_bytes_.find(uid);
  return account == charged_bytes_.end() ? 0 : account->second;
}

uint64_t IpcNamespace::charged_bytes() const {
  uint64_t sum = 0;
  for (const auto& [uid, bytes] : charged_bytes_) sum += bytes;
  return sum;
}

Status IpcNamespace::charge(uid_t uid, uint64_t bytes, uint64_t rlimit_bytes) {
  const uint64_t now = charged_bytes(uid);
  if (now + bytes < now || now + bytes > rlimit_bytes) return Error{EMFILE, "RLIMIT_MSGQUEUE"};
  if (const Status reserved = superblock_->environment().budget.reserve(uid, bytes); !reserved) return reserved;
  charged_bytes_[uid] = now + bytes;
  queue_count_++;
  return {};
}

void IpcNamespace::give_charge_back(uid_t uid, uint64_t bytes) {
  const auto account = charged_bytes_.find(uid);
  MQUEUEFS_CHECK(account != charged_bytes_.end() && account->second >= bytes && queue_count_ > 0);
  account->second -= bytes;
  if (account->second == 0) charged_bytes_.erase(account);
  queue_count_--;
}

}  // namespace mqueuefs::ipc
