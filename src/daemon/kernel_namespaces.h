// The kernel's IPC namespaces that the daemon knows, and when each ends.
//
// The daemon keeps no reference on one, so that it ends when the kernel says. It is recognised by its inode
// and, where that works, by its nsfs file handle, which stops to open when the last task and the last
// descriptor have gone. Without handles a namespace lives while /proc shows a task in it.
//
// Each has a *sentinel*: a member process whose pidfd is watched. When that ends, the next one is looked for;
// if there is none the namespace has ended (or, with handles, is held by a bind mount: then it is looked at
// again every five seconds). Where only a thread of another namespace's process was seen, that process stands in,
// with handles, which do not care who is asked about. A sentinel may leave the namespace unnoticed, which is why alive() is also asked
// where it matters: before a creation and before a mount.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "control/reactor.h"
#include "daemon/tasks.h"

namespace mqueuefs::daemon {

/// The file handle of a namespace, opaque; empty: none. See name_to_handle_at(2).
using NamespaceHandle = std::vector<char>;

/// Whether nsfs handles open on this kernel with these rights: tried on our own namespace.
bool nsfs_handles_work();

class KernelNamespace {
 public:
  /// Never used again, unlike the inode.
  uint64_t key() const { return key_; }
  uint64_t inode() const { return inode_; }

 private:
  friend class KernelNamespaces;
  uint64_t key_ = 0;
  uint64_t inode_ = 0;
  NamespaceHandle handle_;
  uint64_t owner_inode_ = 0;  // of the user namespace that owns it; 0: not ours to know
  std::string uid_map_;       // of that one, once somebody was seen who can tell; they never change again
  std::string gid_map_;
  pid_t sentinel_ = 0;
  std::unique_ptr<control::ProcessWatch> sentinel_watch_;  // null: nobody is in sight
};

/// Thread rule: the loop's.
class KernelNamespaces {
 public:
  /// `ended` is called with the key after the namespace was forgotten.
  KernelNamespaces(control::Reactor& reactor, Tasks& tasks, bool use_handles,
                   std::function<void(uint64_t)> ended);
  KernelNamespaces(const KernelNamespaces&) = delete;
  KernelNamespaces& operator=(const KernelNamespaces&) = delete;

  /// The namespace of a thread; it becomes known if it was not. ESRCH; EACCES: not ours to know;
  /// EOPNOTSUPP: a kernel without IPC namespaces.
  Result<KernelNamespace*> of_task(pid_t process, ipc::TaskId thread);
  KernelNamespace* find(uint64_t key);

  /// Whether it still lives. If not, it has been forgotten and `ended` called.
  bool alive(uint64_t key);

  /// Whether the user namespace that owns it has names for the creator's ids (which are as numbered here). True
  /// where that can't be told: no such namespace is known, or nobody in sight is in it.
  bool owner_can_name(uint64_t key, const ipc::Creator& creator);

  /// Asks of each whether it still lives, and sees to it that each has a sentinel: for one that left unnoticed.
  void look_at_all();

  /// Nobody cares any more.
  void forget(uint64_t key);
  size_t size() const { return by_key_.size(); }

 private:
  bool is_alive(KernelNamespace& known);
  bool watch_sentinel(KernelNamespace& known, pid_t process);
  /// The member with the lowest process id, which is then watched. False: nobody is in sight.
  bool find_sentinel(KernelNamespace& known);
  void sentinel_gone(uint64_t key);
  bool learn_maps(KernelNamespace& known, pid_t process);
  void end(uint64_t key);

  Tasks& tasks_;
  const bool use_handles_;
  const std::function<void(uint64_t)> ended_;
  UniqueFd nsfs_;           // some namespace that is no IPC namespace: open_by_handle_at wants a file of nsfs
  uint64_t own_user_namespace_ = 0;
  uint64_t own_inode_ = 0;  // the daemon's own IPC namespace, which its own membership must not keep
  uint64_t next_key_ = 1;
  std::map<uint64_t, std::unique_ptr<KernelNamespace>> by_key_;
  std::unordered_map<uint64_t, uint64_t> key_of_inode_;
  std::unique_ptr<control::Timer> slow_timer_;
};

}  // namespace mqueuefs::daemon
