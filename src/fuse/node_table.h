// The inodes that the kernel knows, and what it may believe about them.
//
// A node id is the queue's inode number; those are never used again, so no generation is needed. The kernel
// counts how often it was told of an inode (LOOKUP, CREATE, MKNOD, READDIRPLUS) and gives the count back with
// FORGET; until then the queue's object is kept, also when the queue itself has ended.
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "fuse/open_file.h"
#include "ipc/queue_inode.h"

namespace mqueuefs::fuse {

struct Node {
  std::shared_ptr<ipc::QueueInode> queue;
  uint64_t lookups = 0;
  bool attributes_cached = false;  ///< the kernel answers stat(2) itself: it has to be told of a change
  std::vector<OpenFile*> pollers;  ///< those with a poll handle
};

/// Thread rule: the loop's. The root is not in it: it is never forgotten.
class NodeTable {
 public:
  Node* find(uint64_t inode) {
    const auto found = nodes_.find(inode);
    return found == nodes_.end() ? nullptr : &found->second;
  }

  /// The kernel is about to be told of `queue` once more.
  Node& remember(std::shared_ptr<ipc::QueueInode> queue) {
    Node& node = nodes_[queue->inode()];
    if (node.queue == nullptr) node.queue = std::move(queue);
    ++node.lookups;
    return node;
  }

  void forget(uint64_t inode, uint64_t lookups) {
    const auto found = nodes_.find(inode);
    if (found == nodes_.end()) return;
    // A file that is open holds its inode, so nobody can be polling a forgotten one.
    if (found->second.lookups > lookups) {
      found->second.lookups -= lookups;
    } else {
      nodes_.erase(found);
    }
  }

  size_t size() const { return nodes_.size(); }

 private:
  std::unordered_map<uint64_t, Node> nodes_;
};

}  // namespace mqueuefs::fuse
