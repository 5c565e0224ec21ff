#include "daemon/proc_text.h"

#include <linux/sched.h>
#include <sched.h>

#include <charconv>

namespace mqueuefs::daemon {
namespace {

std::string_view skip_blanks(std::string_view text) {
  const size_t start = text.find_first_not_of(" \t");
  return start == std::string_view::npos ? std::string_view() : text.substr(start);
}

/// Takes one number, and the blanks before it, from the front of `text`.
template <typename T>
std::optional<T> take_number(std::string_view& text, int base = 10) {
  text = skip_blanks(text);
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc()) return std::nullopt;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return value;
}

/// Takes a line, without its newline, from the front of `text`.
std::string_view take_line(std::string_view& text) {
  const size_t end = text.find('\n');
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return line;
}

}  // namespace

std::optional<std::string_view> status_field(std::string_view status, std::string_view key) {
  while (!status.empty()) {
    const std::string_view line = take_line(status);
    if (line.starts_with(key) && line.substr(key.size()).starts_with(':')) {
      return skip_blanks(line.substr(key.size() + 1));
    }
  }
  return std::nullopt;
}

std::vector<pid_t> namespace_pids(std::string_view status) {
  std::vector<pid_t> pids;
  auto field = status_field(status, "NSpid");
  if (!field) return pids;
  while (const auto pid = take_number<pid_t>(*field))
    pids.push_back(*pid);
  return pids;
}

uint64_t effective_capabilities(std::string_view status) {
  auto field = status_field(status, "CapEff");
  return field ? take_number<uint64_t>(*field, 16).value_or(0) : 0;
}

std::optional<uid_t> real_uid(std::string_view status) {
  auto field = status_field(status, "Uid");
  return field ? take_number<uid_t>(*field) : std::nullopt;
}

std::optional<uid_t> effective_uid(std::string_view status) {
  auto field = status_field(status, "Uid");
  if (!field || !take_number<uid_t>(*field)) return std::nullopt;
  return take_number<uid_t>(*field);
}

int kernel_priority(uint32_t policy, int nice, uint32_t realtime_priority) {
  switch (policy) {
    case SCHED_DEADLINE:
      return -1;
    case SCHED_FIFO:
    case SCHED_RR:
      return 99 - static_cast<int>(realtime_priority);
    default:
      return 120 + nice;
  }
}

bool is_stopped_state(std::string_view status) {
  const auto state = status_field(status, "State");
  return state && (state->starts_with('T') || state->starts_with('t'));
}

bool is_dead_state(std::string_view stat) {
  const size_t end = stat.rfind(')');
  if (end == std::string_view::npos) return true;
  stat = skip_blanks(stat.substr(end + 1));
  return stat.starts_with('Z') || stat.starts_with('X') || stat.starts_with('x');
}

std::optional<uint64_t> start_time_ticks(std::string_view stat) {
  // The name, in brackets, may hold anything.
  const size_t end = stat.rfind(')');
  if (end == std::string_view::npos) return std::nullopt;
  stat = skip_blanks(stat.substr(end + 1));
  constexpr int kFieldsBetween = 22 - 3;
  for (int field = 0; field < kFieldsBetween; ++field) {
    const size_t blank = stat.find(' ');
    if (blank == std::string_view::npos) return std::nullopt;
    stat.remove_prefix(blank + 1);
  }
  uint64_t ticks = 0;
  const auto [rest, error] = std::from_chars(stat.data(), stat.data() + stat.size(), ticks);
  if (error != std::errc()) return std::nullopt;
  return ticks;
}

std::optional<pid_t> parent_process(std::string_view status) {
  auto field = status_field(status, "PPid");
  return field ? take_number<pid_t>(*field) : std::nullopt;
}

namespace {

std::optional<uint64_t> soft_limit(std::string_view limits, std::string_view key) {
  while (!limits.empty()) {
    std::string_view line = take_line(limits);
    if (!line.starts_with(key)) continue;
    line = skip_blanks(line.substr(key.size()));
    if (line.starts_with("unlimited")) return UINT64_MAX;
    return take_number<uint64_t>(line);
  }
  return std::nullopt;
}

}  // namespace

std::optional<uint64_t> msgqueue_limit(std::string_view limits) { return soft_limit(limits, "Max msgqueue size"); }
std::optional<uint64_t> memlock_limit(std::string_view limits) { return soft_limit(limits, "Max locked memory"); }

std::optional<uint64_t> namespace_inode(std::string_view link) {
  const size_t start = link.find('[');
  if (start == std::string_view::npos || !link.ends_with(']')) return std::nullopt;
  std::string_view digits = link.substr(start + 1);
  return take_number<uint64_t>(digits);
}

std::optional<uid_t> outside_id(std::string_view map, uid_t inside) {
  while (!map.empty()) {
    std::string_view line = take_line(map);
    const auto first = take_number<uid_t>(line);
    const auto outside = take_number<uid_t>(line);
    const auto count = take_number<uint32_t>(line);
    if (first && outside && count && inside >= *first && inside - *first < *count) return *outside + (inside - *first);
  }
  return std::nullopt;
}

std::optional<uid_t> mapped_id(std::string_view map, uid_t outside) {
  while (!map.empty()) {
    std::string_view line = take_line(map);
    const auto inside = take_number<uid_t>(line);
    const auto first = take_number<uid_t>(line);
    const auto count = take_number<uint32_t>(line);
    if (!inside || !first || !count) continue;
    if (outside >= *first && outside - *first < *count) return *inside + (outside - *first);
  }
  return std::nullopt;
}

}  // namespace mqueuefs::daemon
