// The daemon's log: spdlog, one line an event, as text or JSON; to standard error or, in the background, to syslog(3).
//
// Where standard error is the journal's (JOURNAL_STREAM, systemd.exec(5)) a line begins with its priority
// (sd-daemon(3)) and has no time: the journal has its own. Whatever users call things, a line is one line: control
// characters are escaped. Never a payload. How many lines there are is bounded, since clients can cause them.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include <spdlog/common.h>

namespace mqueuefs::daemon {

enum class LogFormat { kText, kJson };
enum class LogPlace { kStderr, kJournal, kSyslog };

/// A line with its newline (kSyslog: without). `time_ns`: CLOCK_REALTIME.
std::string log_line(LogPlace place, LogFormat format, spdlog::level::level_enum level, int64_t time_ns,
                     std::string_view text);

/// Whether `stream`, the value of JOURNAL_STREAM, names the file of that device and inode.
bool is_journal(const char* stream, dev_t device, ino_t inode);

/// `burst` lines at once, then `per_second` of them.
class LineBudget {
 public:
  LineBudget(double burst, double per_second) : burst_(burst), per_second_(per_second), tokens_(burst) {}
  /// How many were refused since the last that was not; nothing: this one is refused.
  std::optional<uint64_t> take(int64_t now_ns);

 private:
  const double burst_;
  const double per_second_;
  double tokens_;
  int64_t at_ns_ = 0;
  uint64_t refused_ = 0;
};

/// A budget for each user, so that one can't hide what another does.
class UserBudgets {
 public:
  std::optional<uint64_t> take(uid_t uid, int64_t now_ns);

 private:
  std::unordered_map<uid_t, LineBudget> budgets_;
};

/// Begins to log. `level` as spdlog names them.
void start_log(const std::string& level, LogFormat format, bool to_stderr);

}  // namespace mqueuefs::daemon
