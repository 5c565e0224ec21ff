// The kernel's IPC namespaces that the daemon knows, and when each ends.
//
// The daemon keeps no reference on one, so that it ends when the kernel says: with the last task, the last descriptor
// and the last bind mount. There are three ways to know that, the first that works here:
//
//   handle   the nsfs file handle does not open any more. Exact, and asked whenever it matters.
//   probe    namespace_probe.h. Exact, but a helper process has to ask; so the question is put only while no
//            member is known. The loop waits for the answer for a moment; a late one counts when it comes.
//   search   a helper process sees neither member nor holder in /proc. Not exact: what nobody can see in /proc
//            (a descriptor on its way through a socket) does not hold.
//
// An unknown or outstanding answer means that the namespace lives: its queues are kept.
//
// Each has a *sentinel*: a member process whose pidfd is watched. When that ends, the namespace is asked about and the
// next sentinel is looked for; one without any is asked about again every five seconds. Where only a thread of another namespace's process was seen, that process stands in,
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
#include "daemon/child_task.h"
#include "daemon/features.h"
#include "daemon/namespace_probe.h"
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
  NamespaceProbe probe_;
  int probe_tries_ = 0;
  bool probe_in_the_making_ = false;  // its helper process is in the namespace
  bool asked_ = false;                // a helper process has not answered yet
  bool was_late_ = false;             // it let the loop wait once, and is not waited for again
  int64_t searched_ns_ = 0;
  int64_t left_ns_ = 0;  // real time; way of the search: when the last member was missed first; 0: there is one
  pid_t sentinel_ = 0;
  std::unique_ptr<control::ProcessWatch> sentinel_watch_;  // null: nobody is in sight
};

/// Thread rule: the loop's.
class KernelNamespaces {
 public:
  /// `ended` is called with the key after the namespace was forgotten.
  KernelNamespaces(control::Reactor& reactor, Tasks& tasks, ChildTasks& children, const Features& features,
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
  enum class Wait { kBriefly, kNot };

  bool look_at(uint64_t key, Wait wait);
  bool is_alive(KernelNamespace& known, Wait wait);
  /// Not a thread of another namespace that has got the same inode since.
  bool is_member(pid_t task, const KernelNamespace& known) const;
  void make_probe(KernelNamespace& known, int namespace_fd);
  void retry_probe(KernelNamespace& known, ipc::TaskId thread);
  /// Has a helper process answer. kUnknown: it has not yet; if the namespace has ended it will be forgotten.
  NamespaceLife ask(KernelNamespace& known, Wait wait);
  void search_for_holders(KernelNamespace& known);
  /// The helper process keeps the descriptors `kept`. `answered` is called unless the namespace was forgotten. Returns the helper process, or 0.
  pid_t ask_helper(KernelNamespace& known, std::vector<int> kept, std::function<NamespaceLife()> question,
                   std::function<void(NamespaceLife)> answered);
  bool watch_sentinel(KernelNamespace& known, pid_t process);
  /// The member with the lowest process id, which is then watched. False: nobody is in sight.
  bool find_sentinel(KernelNamespace& known);
  void sentinel_gone(uint64_t key);
  bool learn_maps(KernelNamespace& known, pid_t process);
  void end(uint64_t key);

  Tasks& tasks_;
  ChildTasks& children_;
  const bool use_handles_;
  const bool use_probes_;
  const std::function<void(uint64_t)> ended_;
  UniqueFd nsfs_;           // some namespace that is no IPC namespace: open_by_handle_at wants a file of nsfs
  uint64_t own_user_namespace_ = 0;
  uint64_t own_inode_ = 0;  // the daemon's own IPC namespace, which its own membership must not keep
  uint64_t next_key_ = 1;
  uint64_t last_looked_at_ = 0;  // whose turn it was
  int questions_ = 0;            // that are not answered
  std::map<uint64_t, std::unique_ptr<KernelNamespace>> by_key_;
  std::unordered_map<uint64_t, uint64_t> key_of_inode_;
  std::unique_ptr<control::Timer> slow_timer_;
};

}  // namespace mqueuefs::daemon
