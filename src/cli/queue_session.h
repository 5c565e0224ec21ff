// What send, receive and peek share: a connection, an open queue, its status; and how long to wait.
#pragma once

#include <optional>
#include <string>

#include "base/unique_fd.h"
#include "cli/command.h"
#include "cli/explain.h"
#include "client/connection.h"
#include "client/transfer.h"

namespace mqueuefs::cli {

struct QueueSession {
  client::Connection connection;
  UniqueFd queue;
  client::QueueStatus status;
};

/// Opens the queue that `attempt` names. Nothing: the failure has been reported.
std::optional<QueueSession> open_session(const Attempt& attempt, int oflag);

/// --nonblock and --timeout SECONDS.
struct WaitOptions {
  bool nonblock = false;
  std::string timeout;  ///< seconds, with a fraction; empty: for ever

  /// From now on.
  client::Deadline deadline() const;
  int oflag() const;
};
void add_wait_options(CLI::App& command, WaitOptions& options);

/// "1.5" as nanoseconds. Nothing: not a number of seconds, or negative.
std::optional<int64_t> parse_seconds(const std::string& text);

}  // namespace mqueuefs::cli
