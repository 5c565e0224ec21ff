// What the ioctls of control/queue_ioctl.h do, apart from how FUSE carries them.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "fuse/open_file.h"
#include "fuse/session.h"
#include "ipc/channel.h"
#include "ipc/task_info.h"

namespace mqueuefs::fuse {

/// Who calls, on what.
struct IoctlContext {
  OpenFile& file;
  ipc::TaskInfo& tasks;
  Services& services;
  ipc::Sender caller;
};

/// `error` or `outcome` (QueueIoctlOutcome), and how many bytes of the answer are used.
struct IoctlReply {
  int error = 0;
  int outcome = 0;
  size_t size = 0;
  struct Taken {
    MessageInfo info;
    size_t offset;  ///< of its payload in the answer
  };
  // Messages in the answer: if that can't be delivered, they are to be given back.
  std::optional<Taken> taken;
  std::vector<Taken> further;
};

/// Carries out one ioctl. `argument` is input; `answer` has room for as many bytes as the caller has.
///
/// Never blocks. Errors: ENOTTY unknown command; EINVAL an argument that makes no sense; else those of the
/// call that it stands for, in that call's order (doc/behaviour.md E2, E3, F2).
IoctlReply handle_queue_ioctl(const IoctlContext& context, unsigned command,
                              std::span<const std::byte> argument, std::span<std::byte> answer);

}  // namespace mqueuefs::fuse
