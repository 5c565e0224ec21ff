// Session's implementation, for the operations in this room only.
#pragma once

#include <fuse_lowlevel.h>

#include <memory>

#include "fuse/device.h"
#include "fuse/node_table.h"
#include "fuse/open_file.h"
#include "fuse/session.h"

namespace mqueuefs::fuse {

/// How long the kernel may keep what it was told where Caching::kOn: for ever; we say when it is over.
inline constexpr double kForever_s = 1e9;

/// The biggest answer to one READDIR, and what a WRITE may carry before it is refused.
inline constexpr uint32_t kMaxTransferBytes = 128 * 1024;

class FuseSession final : public Session, public ipc::SuperblockObserver {
 public:
  FuseSession(std::shared_ptr<ipc::Superblock> superblock, Services& services, Caching caching);
  ~FuseSession() override;
  Status connect(UniqueFd fuse_device);

  int device() const override { return device_.fd(); }
  bool process() override { return device_.process(); }
  const std::shared_ptr<ipc::Superblock>& superblock() const { return superblock_; }
  std::shared_ptr<ipc::QueueInode> find_queue(uint64_t inode) override {
    const Node* node = nodes_.find(inode);
    return node != nullptr ? node->queue : nullptr;
  }
  SessionCounters counters() const override {
    SessionCounters counters = counters_;
    counters.requests = device_.requests();
    return counters;
  }

  void attributes_changed(ipc::QueueInode& queue) override;
  void readiness_changed(ipc::QueueInode& queue) override;

  // --- for the operations ---
  static FuseSession& of(fuse_req_t request) {
    return *static_cast<FuseSession*>(fuse_req_userdata(request));
  }

  Services& services() { return services_; }
  ipc::TaskInfo& tasks() { return superblock_->environment().tasks; }
  NodeTable& nodes() { return nodes_; }
  SessionCounters& count() { return counters_; }
  bool caching() const { return caching_ == Caching::kOn; }
  double timeout_s() const { return caching() ? kForever_s : 0; }
  /// After attributes_of(): the times of a queue that processes map change without us.
  double attributes_timeout_s(const Node& node) const { return node.attributes_cached ? kForever_s : 0; }

  /// What stat(2) will show. Tells the kernel's attributes apart from those it does not have.
  struct stat attributes_of(Node& node);
  struct stat root_attributes() const;
  /// An answer that makes the kernel know `queue`, counted.
  fuse_entry_param entry_for(std::shared_ptr<ipc::QueueInode> queue);

  /// ESTALE: the queue has ended.
  Status open(std::shared_ptr<ipc::QueueInode> queue, fuse_file_info& info);
  OpenFile* file(const fuse_file_info* info) { return files_.find(info->fh); }
  void close(uint64_t number);
  /// The poll handle of an earlier poll(2) on the same file is replaced: the kernel has one a file.
  void keep_poll_handle(OpenFile& file, PollHandle handle);

 private:
  void drop_poll_handle(OpenFile& file);

  const std::shared_ptr<ipc::Superblock> superblock_;
  Services& services_;
  const Caching caching_;
  NodeTable nodes_;
  OpenFiles files_;
  SessionCounters counters_;
  Device device_;  // last: nothing asks when the rest is gone
};

/// 0: `name` may be the name of a queue; else ENAMETOOLONG: FUSE itself lets longer ones through (doc/behaviour.md A7).
int check_name(const char* name);

}  // namespace mqueuefs::fuse
