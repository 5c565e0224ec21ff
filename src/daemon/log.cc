#include "daemon/log.h"

#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "base/clock.h"

namespace mqueuefs::daemon {
namespace {

constexpr size_t kMostUsers = 4096;

int priority_of(spdlog::level::level_enum level) {
  switch (level) {
    case spdlog::level::trace:
    case spdlog::level::debug:
      return LOG_DEBUG;
    case spdlog::level::warn:
      return LOG_WARNING;
    case spdlog::level::err:
      return LOG_ERR;
    case spdlog::level::critical:
      return LOG_CRIT;
    default:
      return LOG_INFO;
  }
}

std::string level_name(spdlog::level::level_enum level) {
  const auto name = spdlog::level::to_string_view(level);
  return {name.data(), name.size()};
}

std::string time_text(int64_t time_ns) {
  const time_t seconds = time_ns / 1'000'000'000;
  tm universal{};
  gmtime_r(&seconds, &universal);
  char text[64];
  const size_t length = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &universal);
  snprintf(text + length, sizeof text - length, ".%03dZ", static_cast<int>(time_ns / 1'000'000 % 1000));
  return text;
}

// One line of ASCII control characters' escapes; in JSON, quotes and backslashes too. Bytes over 0x7F go as they are to
// text, and as U+FFFD's neighbours would be wrong, as \u00XX to JSON, where only UTF-8 may stand.
std::string escaped(std::string_view text, LogFormat format) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<uint8_t>(c);
    const bool json = format == LogFormat::kJson;
    char escape[8];
    if (json && (c == '"' || c == '\\')) {
      out += '\\';
      out += c;
    } else if (byte < 0x20 || byte == 0x7F || (json && byte >= 0x80)) {
      snprintf(escape, sizeof escape, json ? "\\u%04x" : "\\x%02x", byte);
      out += escape;
    } else {
      out += c;
    }
  }
  return out;
}

class LineSink final : public spdlog::sinks::base_sink<spdlog::details::null_mutex> {
 public:
  LineSink(LogPlace place, LogFormat format) : place_(place), format_(format) {}

 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    const int64_t time_ns = std::chrono::duration_cast<std::chrono::nanoseconds>(message.time.time_since_epoch()).count();
    const auto left_out = budget_.take(monotonic_now_ns());
    if (!left_out && message.level < spdlog::level::err) return;
    if (left_out.value_or(0) > 0) {
      put(spdlog::level::warn, time_ns, std::to_string(*left_out) + " lines were left out");
    }
    put(message.level, time_ns, {message.payload.data(), message.payload.size()});
  }
  void flush_() override {}

 private:
  void put(spdlog::level::level_enum level, int64_t time_ns, std::string_view text) const {
    const std::string line = log_line(place_, format_, level, time_ns, text);
    if (place_ == LogPlace::kSyslog) {
      syslog(priority_of(level), "%s", line.c_str());
      return;
    }
    // One write, so that a line is whole. If nobody reads them there is nobody to tell.
    [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, line.data(), line.size());
  }

  const LogPlace place_;
  const LogFormat format_;
  LineBudget budget_{200, 20};
};

}  // namespace

std::string log_line(LogPlace place, LogFormat format, spdlog::level::level_enum level, int64_t time_ns,
                     std::string_view text) {
  std::string line;
  if (place == LogPlace::kJournal) line = "<" + std::to_string(priority_of(level)) + ">";
  if (format == LogFormat::kJson) {
    line += "{";
    if (place == LogPlace::kStderr) line += "\"time\":\"" + time_text(time_ns) + "\",";
    line += "\"level\":\"" + level_name(level) + "\",\"message\":\"" + escaped(text, format) + "\"}";
  } else {
    if (place == LogPlace::kStderr) line += time_text(time_ns) + " mqueuefs: " + level_name(level) + ": ";
    line += escaped(text, format);
  }
  if (place != LogPlace::kSyslog) line += "\n";
  return line;
}

bool is_journal(const char* stream, dev_t device, ino_t inode) {
  unsigned long long its_device = 0;
  unsigned long long its_inode = 0;
  return stream != nullptr && sscanf(stream, "%llu:%llu", &its_device, &its_inode) == 2 && its_device == device &&
         its_inode == inode;
}

std::optional<uint64_t> LineBudget::take(int64_t now_ns) {
  if (at_ns_ != 0 && now_ns > at_ns_) {
    tokens_ = std::min(burst_, tokens_ + static_cast<double>(now_ns - at_ns_) / 1e9 * per_second_);
  }
  at_ns_ = now_ns;
  if (tokens_ < 1) {
    ++refused_;
    return std::nullopt;
  }
  tokens_ -= 1;
  return std::exchange(refused_, 0);
}

std::optional<uint64_t> UserBudgets::take(uid_t uid, int64_t now_ns) {
  if (budgets_.size() >= kMostUsers && !budgets_.contains(uid)) budgets_.clear();
  return budgets_.try_emplace(uid, 10, 1).first->second.take(now_ns);
}

void start_log(const std::string& level, LogFormat format, bool to_stderr) {
  LogPlace place = LogPlace::kSyslog;
  struct stat opened {};
  if (to_stderr) {
    const bool journal = fstat(STDERR_FILENO, &opened) == 0 && is_journal(getenv("JOURNAL_STREAM"), opened.st_dev, opened.st_ino);
    place = journal ? LogPlace::kJournal : LogPlace::kStderr;
  } else {
    openlog("mqueuefs", LOG_PID, LOG_DAEMON);
  }
  auto logger = std::make_shared<spdlog::logger>("mqueuefs", std::make_shared<LineSink>(place, format));
  logger->set_level(spdlog::level::from_str(level));
  spdlog::set_default_logger(std::move(logger));
}

}  // namespace mqueuefs::daemon
