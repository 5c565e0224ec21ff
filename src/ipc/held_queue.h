// A queue that is kept as an open handle keeps it: for who has unlinked it and may have to undo that.
#pragma once

#include <memory>
#include <utility>

#include "ipc/queue_inode.h"

namespace mqueuefs::ipc {

/// Thread rule: the loop's.
class HeldQueue {
 public:
  explicit HeldQueue(std::shared_ptr<QueueInode> queue) : queue_(std::move(queue)), held_(queue_->open_handle().ok()) {}
  HeldQueue(const HeldQueue&) = delete;
  HeldQueue& operator=(const HeldQueue&) = delete;
  ~HeldQueue() {
    if (held_) queue_->close_handle();
  }
  const std::shared_ptr<QueueInode>& queue() const { return queue_; }

 private:
  const std::shared_ptr<QueueInode> queue_;
  const bool held_;
};

}  // namespace mqueuefs::ipc
