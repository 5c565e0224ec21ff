// Is a descriptor a queue of ours, or somebody else's business?
#pragma once

namespace mqueuefs::client {

/// True: a regular file on FUSE, which answers our ioctls or says ENOTTY. False: anything else, the kernel's own
/// message queues, or no descriptor at all: the kernel has the answer.
///
/// Costs one statx(2) without a request to the file system, except for the first descriptor of a mount.
/// Async-signal-safe. Does not change errno.
bool may_be_queue(int fd);

}  // namespace mqueuefs::client
