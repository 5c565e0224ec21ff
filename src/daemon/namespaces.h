// The table of emulated namespaces: who keeps which one alive.
//
//   binding:  a kernel IPC namespace (by its key)  ->  Namespace     several may be bound to one
//   pin:      a name                               ->  Namespace     until the name is removed
//
// A namespace without binding and without pin is freed at once: the kernel's free_ipc_ns. No I/O here.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/result.h"
#include "ipc/ipc_namespace.h"

namespace mqueuefs::daemon {

/// One emulated namespace and what keeps it.
struct Namespace {
  std::unique_ptr<ipc::IpcNamespace> ipc;
  std::string name;             ///< empty: not pinned (any more)
  uid_t accounted_uid = 0;      ///< whose number of namespaces it counts in
  std::set<uint64_t> bindings;  ///< keys of kernel IPC namespaces

  uint64_t id() const { return ipc->id(); }
};

/// 1 to 255 bytes, no '/', not "." or "..".
bool is_namespace_name(std::string_view name);

/// Thread rule: the loop's.
class Namespaces {
 public:
  /// `freeing` is told of each namespace just before it goes.
  Namespaces(const ipc::Environment& environment, uint32_t max_per_user,
             std::function<void(Namespace&)> freeing);
  Namespaces(const Namespaces&) = delete;
  Namespaces& operator=(const Namespaces&) = delete;
  ~Namespaces();

  /// EINVAL: not a name; EEXIST; ENOSPC: the user has as many as he may.
  Result<Namespace*> create_named(std::string_view name, uid_t uid, gid_t gid);
  /// An unnamed one, bound to `key`, for `accounted_uid`; `root_uid` and `root_gid` own its root directory.
  /// ENOSPC.
  Result<Namespace*> create_bound(uint64_t key, uid_t accounted_uid, uid_t root_uid, gid_t root_gid);

  /// EINVAL; ENOENT.
  Result<Namespace*> find(std::string_view name) const;
  Namespace* bound_to(uint64_t key) const;
  Namespace* by_id(uint64_t id) const;
  /// By id.
  const std::map<uint64_t, std::unique_ptr<Namespace>>& all() const { return by_id_; }
  size_t named_count() const { return by_name_.size(); }

  /// Takes the pin away; freed unless bound.
  void remove_name(Namespace& target);
  /// The kernel namespace `key` acts as `target` from now on; what it was bound to may be freed.
  void bind(uint64_t key, Namespace& target);
  /// The kernel namespace has ended.
  void unbind(uint64_t key);

 private:
  Result<Namespace*> create(std::string_view name, uid_t accounted_uid, uid_t root_uid, gid_t root_gid);
  void free_if_unused(Namespace& target);

  const ipc::Environment environment_;
  const uint32_t max_per_user_;
  const std::function<void(Namespace&)> freeing_;
  uint64_t next_id_ = 1;
  std::map<uint64_t, std::unique_ptr<Namespace>> by_id_;
  std::map<std::string, Namespace*, std::less<>> by_name_;
  std::unordered_map<uint64_t, Namespace*> by_key_;
  std::unordered_map<uid_t, uint32_t> per_user_;
};

}  // namespace mqueuefs::daemon
