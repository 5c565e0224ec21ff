// Which of the kernel's superblocks shows which namespace, and their sessions.
//
// A namespace has at most one *current* superblock of each kind (its queues; what /proc would show of it), made when first
// needed; the descriptor of its root that is kept here is, for the queues, the internal mount. A superblock ends when nobody holds it any more (ENODEV on /dev/fuse),
// or at once by `umount -f`: if its namespace lives the next request makes another over the same queues. When
// a namespace is freed the root is let go, and the session goes on as long as others hold the superblock.
// Adopted superblocks (mounted by fusermount3 for the client) are never current.
//
// FUSE's own descriptors are opened and closed here only as /dev/fuse, detached mounts and O_PATH: nothing of
// that asks a server.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "control/host.h"
#include "control/reactor.h"
#include "daemon/namespaces.h"
#include "daemon/superblock_maker.h"
#include "fuse/session.h"

namespace mqueuefs::daemon {

/// Thread rule: the loop's. Replies may come before a call returns, or much later.
class Mounts {
 public:
  enum class View { kQueues, kProc };
  using MakeText = std::function<std::unique_ptr<fuse::TextTree>(Namespace& target)>;

  /// `ended` is called from the loop after a superblock has ended. `make_text` makes what View::kProc shows.
  Mounts(control::Reactor& reactor, SuperblockMaker& maker, fuse::Services& services, MakeText make_text,
         std::function<void()> ended);
  Mounts(const Mounts&) = delete;
  Mounts& operator=(const Mounts&) = delete;
  ~Mounts();

  /// A descriptor of the root, O_PATH, that can't be mounted. `owner`: see SuperblockMaker::make.
  void open_root(Namespace& target, UniqueFd owner, control::DescriptorReply reply);
  /// A detached mount.
  void mount(Namespace& target, UniqueFd owner, control::MountRequest request,
             control::DescriptorReply reply);
  /// EOPNOTSUPP: names are cached for this namespace, so it can't be shown by a second superblock.
  Status adopt(Namespace& target, View view, UniqueFd fuse_device);
  void set_read_only(Namespace& target, bool read_only, control::StatusReply reply);

  /// The queue that a file of one of these superblocks is; null: it is of none.
  std::shared_ptr<ipc::QueueInode> find_queue(uint32_t device_major, uint32_t device_minor, uint64_t inode) const;

  /// The namespace is freed. May be called while one of its superblocks is asking something.
  void forget(uint64_t namespace_id);
  /// Lets the internal mount go. What is mounted nowhere then ends.
  void let_go(uint64_t namespace_id);

  /// Superblocks that live, of one namespace or of all (those of freed ones included).
  size_t count(uint64_t namespace_id) const;
  /// How many requests the live ones have had.
  uint64_t requests(uint64_t namespace_id) const;
  size_t count() const { return live_.size() + making_; }

 private:
  struct Live;
  using LiveReply = std::function<void(Result<Live*>)>;
  struct Current {
    Live* live = nullptr;
    std::vector<LiveReply> waiting;  // while it is being made
  };

  using Key = std::pair<uint64_t, View>;  // namespace id

  void with_superblock(Namespace& target, View view, UniqueFd owner, LiveReply reply);
  void with_root(Namespace& target, UniqueFd owner, LiveReply reply);
  using MakeSession = std::function<Result<std::unique_ptr<fuse::Session>>(UniqueFd device)>;
  /// Of what lives at this moment: the namespace may be freed before its superblock is made.
  MakeSession session_maker(Namespace& target, View view, fuse::Caching caching);
  Result<Live*> start_session(const Key& key, const MakeSession& make, KernelSuperblock made, fuse::Caching caching);
  void let_go(const Key& key);
  void serve(Live& live);
  bool has_ended(const Live& live) const;
  void end(Live& live);

  control::Reactor& reactor_;
  SuperblockMaker& maker_;
  fuse::Services& services_;
  const MakeText make_text_;
  const std::function<void()> ended_;
  std::list<std::unique_ptr<Live>> live_;
  std::unordered_map<uint64_t, Live*> by_device_;
  std::map<Key, Current> current_;
  size_t making_ = 0;
};

}  // namespace mqueuefs::daemon
