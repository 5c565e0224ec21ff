// One mqueue file system: the root, the names, the inodes.
//
// A superblock belongs to a namespace and may outlive it: then `namespace_or_null()` is null, nothing can be
// created any more (EACCES), and everything else goes on. Front doors that show it (FUSE sessions) share it
// with the namespace; it goes with the last of them, and its queues with it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/result.h"
#include "ipc/file_attributes.h"
#include "ipc/limits.h"
#include "ipc/queue_inode.h"
#include "ipc/task_info.h"

namespace mqueuefs::ipc {

namespace sysv {
class SharedMemorySource;
}
class IpcNamespace;

inline constexpr uint64_t kRootInode = 1;
inline constexpr size_t kMaxNameBytes = 255;  ///< NAME_MAX

/// A front door that shows a superblock and has to be told what changed behind the kernel's back.
class SuperblockObserver {
 public:
  /// st_size, mode, owner or a time of the queue is another than before.
  virtual void attributes_changed(QueueInode& queue) = 0;
  /// Somebody who polls the queue has to look again (doc/behaviour.md E10).
  virtual void readiness_changed(QueueInode& queue) = 0;

 protected:
  ~SuperblockObserver() = default;
};

/// The queues that processes map, for who calls QueueInode::catch_up now and then.
using MappedQueues = std::unordered_set<QueueInode*>;

/// What all namespaces and superblocks of a daemon share. Must outlive them.
struct Environment {
  TaskInfo& tasks;
  MemoryBudget& budget;
  MappedSegments& mapped_segments;
  MappedQueues& mapped_queues;
  sysv::SharedMemorySource* shared_memory = nullptr;  ///< null: namespaces have no System V shared memory
};

/// Thread rule: the loop's.
class Superblock : public std::enable_shared_from_this<Superblock> {
 public:
  Superblock(IpcNamespace& ipc_namespace, const Environment& environment, uid_t root_uid, gid_t root_gid);
  Superblock(const Superblock&) = delete;
  Superblock& operator=(const Superblock&) = delete;
  ~Superblock();

  /// The namespace, or null once it was freed. The only way from here to there.
  IpcNamespace* namespace_or_null() const { return namespace_; }

  const FileAttributes& root() const { return root_; }
  int64_t root_size() const { return 40 + 20 * static_cast<int64_t>(names_.size()); }  ///< doc/behaviour.md A1
  void set_root_attributes(const AttributeChange& change);
  /// readdir(3) under relatime: true if the root's atime has to move, which it then does (doc/behaviour.md B12).
  bool note_directory_read();
  /// Whether note_directory_read() would move it now: a front door may answer from a cache only if not.
  bool directory_read_is_due() const;

  /// ENOENT, ENAMETOOLONG.
  Result<std::shared_ptr<QueueInode>> find(std::string_view name) const;

  /// Creates a queue; null `requested` means the namespace's default attributes. Errors, in this order
  /// (doc/behaviour.md C5): ENAMETOOLONG, EEXIST; EACCES the namespace is gone; ENOSPC queues_max; EINVAL attributes;
  /// EOVERFLOW; EMFILE RLIMIT_MSGQUEUE; ENOMEM the user's ceiling.
  Result<std::shared_ptr<QueueInode>> create(std::string_view name, mode_t mode,
                                             const RequestedAttributes* requested, const Creator& creator);

  /// ENOENT, ENAMETOOLONG. Rights were checked by the kernel.
  Status unlink(std::string_view name);

  /// Gives an unlinked queue its name back. EEXIST: another has it; ESTALE: the queue has ended.
  Status relink(const std::shared_ptr<QueueInode>& queue);

  size_t queue_count() const { return names_.size(); }
  /// The newest queue with an inode below `inode` (UINT64_MAX: the newest of all), or null: the order of
  /// readdir (doc/behaviour.md A7), stable while entries come and go.
  QueueInode* next_below(uint64_t inode) const;
  /// The oldest with an inode above `inode`, or null.
  QueueInode* next_above(uint64_t inode) const;

  /// What went through queues that have ended.
  const QueueActivity& ended_queues() const { return ended_queues_; }

  void add_observer(SuperblockObserver& observer) { observers_.push_back(&observer); }
  void remove_observer(SuperblockObserver& observer);
  size_t observer_count() const { return observers_.size(); }

  const Environment& environment() const { return environment_; }

 private:
  friend class IpcNamespace;  // severs the pointer when it is freed
  friend class QueueInode;    // reports changes, gives its charge back

  void attributes_changed(QueueInode& queue);
  void readiness_changed(QueueInode& queue);
  void queue_is_mapped(QueueInode& queue, bool mapped);
  void give_charge_back(uid_t uid, uint64_t bytes);

  IpcNamespace* namespace_;
  const Environment environment_;
  FileAttributes root_;
  uint64_t next_inode_ = kRootInode + 1;
  std::unordered_map<std::string_view, std::shared_ptr<QueueInode>> names_;  // keys are the inodes' names
  std::map<uint64_t, QueueInode*> by_inode_;                                 // those with a name
  std::unordered_set<QueueInode*> unlinked_;                                 // without one, and still in use
  std::vector<SuperblockObserver*> observers_;
  QueueActivity ended_queues_;
};

}  // namespace mqueuefs::ipc
