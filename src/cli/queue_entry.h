// A queue as `list` and `stat` show it.
#pragma once

#include <string>

#include "cli/encoding.h"
#include "control/messages.h"

namespace mqueuefs::cli {

/// The name as people write it: with its slash, printable.
std::string shown_name(const control::QueueEntry& entry);
/// "2 receivers (pid 123)", or "-". `first_waiter_pid` is shown if it is visible here.
std::string shown_waiters(const control::QueueEntry& entry);
/// "signal 10 (pid 123)", "none (pid 123)", "thread (pid 123)", or "-".
std::string shown_notification(const control::QueueEntry& entry);

Json queue_json(const control::QueueEntry& entry);

}  // namespace mqueuefs::cli
