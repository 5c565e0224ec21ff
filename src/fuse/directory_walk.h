// The order of readdir(3) and the positions in it (telldir, lseek).
//
// "." and "..", then the queues, newest first (doc/behaviour.md A7). A position names the entry *before* it: 0 nothing,
// 1 ".", 2 "..", else a queue's inode number + 1. So it stays good while entries come and go, needs no state
// in the open directory, and fits into 31 bits for as long as inode numbers do (a 32-bit program's d_off).
// Positions need not grow along the way: the kernel only compares them for equality.
#pragma once

#include <cstdint>

#include "ipc/superblock.h"

namespace mqueuefs::fuse {

inline constexpr uint64_t kDotPosition = 1;
inline constexpr uint64_t kDotDotPosition = 2;

constexpr uint64_t directory_position_of(uint64_t inode) {
  return inode + 1;
}

/// Calls `emit(name, queue, position)` for each entry after `position` until it answers false; `queue` is
/// null for "." and "..".
template <typename Emit>
void walk_directory(const ipc::Superblock& superblock, uint64_t position, Emit emit) {
  if (position < kDotPosition && !emit(".", nullptr, kDotPosition)) return;
  if (position < kDotDotPosition && !emit("..", nullptr, kDotDotPosition)) return;
  uint64_t below = position <= kDotDotPosition ? UINT64_MAX : position - 1;
  while (ipc::QueueInode* queue = superblock.next_below(below)) {
    below = queue->inode();
    if (!emit(queue->name().c_str(), queue, directory_position_of(below))) return;
  }
}

}  // namespace mqueuefs::fuse
