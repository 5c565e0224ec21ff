#include "cli/queue_session.h"

#include <fcntl.h>

#include <cmath>
#include <cstdlib>

#include "base/clock.h"
#include "cli/connect.h"
#include "cli/output.h"
#include "client/queue.h"

namespace mqueuefs::cli {

std::optional<QueueSession> open_session(const Attempt& attempt, int oflag) {
  auto connection = connect_to_daemon(attempt);
  if (!connection) return std::nullopt;
  auto queue = client::open_queue(*connection, attempt.namespace_name.c_str(), attempt.queue.c_str(), oflag, 0, nullptr);
  if (!queue) {
    fail(explain(attempt, queue.error()));
    return std::nullopt;
  }
  const auto status = client::get_status(queue->get());
  if (!status) {
    fail(explain(attempt, status.error()));
    return std::nullopt;
  }
  return QueueSession{std::move(*connection), std::move(*queue), *status};
}

std::optional<int64_t> parse_seconds(const std::string& text) {
  if (text.empty() || text.find_first_not_of("0123456789.") != std::string::npos) return std::nullopt;
  char* end = nullptr;
  const double seconds = strtod(text.c_str(), &end);
  if (*end != '\0' || !std::isfinite(seconds)) return std::nullopt;
  // More than a lifetime is for ever, and must not overflow.
  return static_cast<int64_t>(std::min(seconds, 4e9) * 1e9);
}

client::Deadline WaitOptions::deadline() const {
  const auto timeout_ns = parse_seconds(timeout);
  if (!timeout_ns) return {};
  return client::Deadline(realtime_now_ns() + *timeout_ns);
}

int WaitOptions::oflag() const { return nonblock ? O_NONBLOCK : 0; }

void add_wait_options(CLI::App& command, WaitOptions& options) {
  auto* nonblock = command.add_flag("--nonblock", options.nonblock, "Fail instead of waiting");
  const auto check = [](const std::string& text) {
    return parse_seconds(text) ? std::string() : "\"" + text + "\" is not a number of seconds";
  };
  command.add_option("--timeout", options.timeout, "Wait for at most that long; fractions are allowed")
      ->option_text("SECONDS")
      ->check(CLI::Validator(check, "SECONDS"))
      ->excludes(nonblock);
}

}  // namespace mqueuefs::cli
