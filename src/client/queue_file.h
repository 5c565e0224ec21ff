// Is a descriptor a queue of ours, or somebody else's business?
#pragma once

#include <cstdint>
#include <optional>

namespace mqueuefs::client {

/// True: a regular file on FUSE, which answers our ioctls or says ENOTTY. False: anything else, the kernel's own
/// message queues, or no descriptor at all: the kernel has the answer.
///
/// Costs one statx(2) without a request to the file system, except for the first descriptor of a mount.
/// Async-signal-safe. Does not change errno.
bool may_be_queue(int fd);

struct FileIdentity {
  uint64_t device;
  uint64_t inode;
};

/// Which file it is, without a request to the file system. Async-signal-safe.
std::optional<FileIdentity> identify(int fd);

}  // namespace mqueuefs::client
