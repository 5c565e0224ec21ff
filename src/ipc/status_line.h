// The text that reading a queue gives. See mq_overview(7), "Mounting the message queue filesystem".
#pragma once

#include <cstddef>
#include <span>

#include "ipc/queue_inode.h"

namespace mqueuefs::ipc {

/// Writes the line, newline included, and returns its length. `notify_pid` is the registered process as
/// numbered for the reader (doc/behaviour.md B2, B3).
size_t format_status_line(const QueueStatus& status, pid_t notify_pid, std::span<char, 128> out);

}  // namespace mqueuefs::ipc
