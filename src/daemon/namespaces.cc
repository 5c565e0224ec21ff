#include "daemon/namespaces.h"

#include <utility>

#include "base/check.h"

namespace mqueuefs::daemon {

bool is_namespace_name(std::string_view name) {
  return !name.empty() && name.size() <= 255 && name != "." && name != ".." &&
         name.find('/') == std::string_view::npos && name.find('\0') == std::string_view::npos;
}

Namespaces::Namespaces(const ipc::Environment& environment, uint32_t max_per_user,
                       std::function<void(Namespace&)> freeing)
    : environment_(environment), max_per_user_(max_per_user), freeing_(std::move(freeing)) {}

Namespaces::~Namespaces() = default;

Result<Namespace*> Namespaces::create(std::string_view name, uid_t accounted_uid, uid_t root_uid,
                                      gid_t root_gid) {
  const auto account = per_user_.find(accounted_uid);
  const uint32_t count = account == per_user_.end() ? 0 : account->second;
  if (accounted_uid != 0 && count >= max_per_user_) return Error{ENOSPC, "namespaces of one user"};
  auto fresh = std::make_unique<Namespace>();
  fresh->ipc =
      std::make_unique<ipc::IpcNamespace>(next_id_++, std::string(name), root_uid, root_gid, environment_);
  fresh->name = name;
  fresh->accounted_uid = accounted_uid;
  ++per_user_[accounted_uid];
  Namespace* const result = fresh.get();
  by_id_.emplace(result->id(), std::move(fresh));
  return result;
}

Result<Namespace*> Namespaces::create_named(std::string_view name, uid_t uid, gid_t gid) {
  if (!is_namespace_name(name)) return Error{EINVAL, "namespace name"};
  if (by_name_.contains(name)) return Error{EEXIST, "namespace name"};
  const auto fresh = create(name, uid, uid, gid);
  if (!fresh) return fresh.error();
  by_name_.emplace(name, *fresh);
  return *fresh;
}

Result<Namespace*> Namespaces::create_bound(uint64_t key, uid_t accounted_uid, uid_t root_uid,
                                            gid_t root_gid) {
  const auto fresh = create({}, accounted_uid, root_uid, root_gid);
  if (!fresh) return fresh.error();
  bind(key, **fresh);
  return *fresh;
}

Result<Namespace*> Namespaces::find(std::string_view name) const {
  if (!is_namespace_name(name)) return Error{EINVAL, "namespace name"};
  const auto found = by_name_.find(name);
  if (found == by_name_.end()) return Error{ENOENT, "no such namespace"};
  return found->second;
}

Namespace* Namespaces::bound_to(uint64_t key) const {
  const auto found = by_key_.find(key);
  return found == by_key_.end() ? nullptr : found->second;
}

Namespace* Namespaces::by_id(uint64_t id) const {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : found->second.get();
}

void Namespaces::remove_name(Namespace& target) {
  MQUEUEFS_CHECK(by_name_.erase(target.name) == 1);
  target.name.clear();
  free_if_unused(target);
}

void Namespaces::bind(uint64_t key, Namespace& target) {
  Namespace*& place = by_key_[key];
  if (place == &target) return;
  Namespace* const old = std::exchange(place, &target);
  target.bindings.insert(key);
  if (old == nullptr) return;
  old->bindings.erase(key);
  free_if_unused(*old);
}

void Namespaces::unbind(uint64_t key) {
  const auto found = by_key_.find(key);
  if (found == by_key_.end()) return;
  Namespace* const old = found->second;
  by_key_.erase(found);
  old->bindings.erase(key);
  free_if_unused(*old);
}

void Namespaces::free_if_unused(Namespace& target) {
  if (!target.name.empty() || !target.bindings.empty()) return;
  freeing_(target);
  const auto count = per_user_.find(target.accounted_uid);
  if (--count->second == 0) per_user_.erase(count);
  by_id_.erase(target.id());
}

}  // namespace mqueuefs::daemon
