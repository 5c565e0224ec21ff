#include "cli/queue_view.h"

#include <fnmatch.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstring>

#include "cli/queue_entry.h"

namespace mqueuefs::cli {
namespace {

constexpr int64_t kSecondNs = 1'000'000'000;

double depth_of(const control::QueueEntry& entry) {
  if (entry.maxmsg == 0) return 0;
  return std::min(1.0, static_cast<double>(entry.messages) / entry.maxmsg);
}

std::string number(double value, const char* unit) {
  char text[32];
  snprintf(text, sizeof text, value < 9.95 ? "%.1f%s" : "%.0f%s", value, unit);
  return text;
}

std::string_view name_view(const control::QueueEntry& entry) {
  return {entry.name, strnlen(entry.name, sizeof entry.name)};
}

// Counts of a mapped queue may be falsified, and so go backwards.
double rate(uint64_t now, uint64_t before, double seconds) {
  return now > before && seconds > 0 ? static_cast<double>(now - before) / seconds : 0;
}

bool is_continuation(char c) { return (c & 0xC0) == 0x80; }

}  // namespace

std::string depth_bar(uint32_t messages, uint32_t maxmsg, size_t width, Glyphs glyphs) {
  if (width == 0 || maxmsg == 0) return std::string(width, ' ');
  const double part = std::min(1.0, static_cast<double>(messages) / maxmsg);
  auto marks = static_cast<size_t>(std::floor(part * static_cast<double>(width)));
  if (messages > 0) marks = std::max<size_t>(marks, 1);
  std::string bar;
  for (size_t i = 0; i < width; ++i) {
    if (i < marks) {
      bar += glyphs == Glyphs::kBlocks ? "\u2588" : "#";
    } else {
      bar += glyphs == Glyphs::kBlocks ? "\u00B7" : ".";
    }
  }
  return bar;
}

std::string history_line(const std::deque<double>& depths, size_t width, Glyphs glyphs) {
  static constexpr std::array<const char*, 9> kBlocks = {" ",      "\u2581", "\u2582", "\u2583", "\u2584",
                                                         "\u2585", "\u2586", "\u2587", "\u2588"};
  static constexpr std::array<const char*, 9> kAscii = {" ", ".", ":", "-", "=", "+", "*", "#", "@"};
  const size_t shown = std::min(width, depths.size());
  std::string line(width - shown, ' ');
  for (size_t i = depths.size() - shown; i < depths.size(); ++i) {
    const double depth = std::clamp(depths[i], 0.0, 1.0);
    const auto level = static_cast<size_t>(std::ceil(depth * 8));
    line += glyphs == Glyphs::kBlocks ? kBlocks[level] : kAscii[level];
  }
  return line;
}

std::string rate_text(double per_second) {
  if (per_second < 0.05) return "0";
  if (per_second < 999.5) return number(per_second, "");
  if (per_second < 999.5e3) return number(per_second / 1e3, "k");
  if (per_second < 999.5e6) return number(per_second / 1e6, "M");
  return number(per_second / 1e9, "G");
}

std::string duration_text(int64_t seconds) {
  if (seconds < 0) return "-";
  const auto two = [](int64_t a, char unit_a, int64_t b, char unit_b) {
    char text[48];
    snprintf(text, sizeof text, "%lld%c%02lld%c", static_cast<long long>(a), unit_a, static_cast<long long>(b), unit_b);
    return std::string(text);
  };
  if (seconds < 60) return std::to_string(seconds) + "s";
  if (seconds < 3600) return two(seconds / 60, 'm', seconds % 60, 's');
  if (seconds < 86400) return two(seconds / 3600, 'h', seconds / 60 % 60, 'm');
  return two(seconds / 86400, 'd', seconds / 3600 % 24, 'h');
}

std::string oldest_text(const control::QueueEntry& entry, int64_t now_s) {
  // The clock may have been set back since.
  return entry.oldest_s <= 0 ? "-" : duration_text(std::max<int64_t>(0, now_s - entry.oldest_s));
}

std::string blocked_text(const control::QueueEntry& entry, int64_t now_ns) {
  const uint32_t count = std::max(entry.waiting_receivers, entry.waiting_senders);
  if (count == 0) return "-";
  std::string text = std::to_string(count) + (entry.waiting_receivers > 0 ? " receiver" : " sender");
  if (count > 1) text += "s";
  const control::BlockedEntry& longest = entry.blocked[0];
  if (longest.since_ns <= 0) return text;
  text += " " + duration_text(std::max<int64_t>(0, now_ns - longest.since_ns) / kSecondNs);
  if (longest.pid > 0) text += " (pid " + std::to_string(longest.pid) + ")";
  return text;
}

uint64_t QueueRow::longest_wait_ns(int64_t now_ns) const {
  const int64_t since_ns = entry.blocked[0].since_ns;
  return since_ns <= 0 || since_ns > now_ns ? 0 : static_cast<uint64_t>(now_ns - since_ns);
}

std::vector<QueueRow> QueueHistory::update(const std::vector<control::QueueEntry>& entries, int64_t now_ns) {
  std::vector<QueueRow> rows;
  for (auto& [inode, known] : known_) known.seen = false;
  for (const control::QueueEntry& entry : entries) {
    Known& known = known_[entry.inode];
    if (known.at_ns != 0 && name_view(known.entry) != name_view(entry)) known = {};
    QueueRow row{.entry = entry};
    if (known.at_ns != 0) {
      const double seconds = static_cast<double>(now_ns - known.at_ns) / kSecondNs;
      row.sends_per_s = rate(entry.sent, known.entry.sent, seconds);
      row.receives_per_s = rate(entry.received, known.entry.received, seconds);
    }
    known.depths.push_back(depth_of(entry));
    if (known.depths.size() > kept_) known.depths.pop_front();
    known.entry = entry;
    known.at_ns = now_ns;
    known.seen = true;
    row.depths = known.depths;
    rows.push_back(std::move(row));
  }
  std::erase_if(known_, [](const auto& item) { return !item.second.seen; });
  return rows;
}

void sort_rows(std::vector<QueueRow>& rows, SortKey key, int64_t now_ns) {
  const auto value = [&](const QueueRow& row) -> double {
    switch (key) {
      case SortKey::kName:
        return 0;
      case SortKey::kDepth:
        return depth_of(row.entry);
      case SortKey::kMessages:
        return row.entry.messages;
      case SortKey::kRate:
        return row.sends_per_s + row.receives_per_s;
      case SortKey::kOldest:
        return row.entry.oldest_s > 0 ? -static_cast<double>(row.entry.oldest_s) : -1e18;
      case SortKey::kBlocked:
        return static_cast<double>(row.longest_wait_ns(now_ns));
    }
    return 0;
  };
  std::sort(rows.begin(), rows.end(), [&](const QueueRow& a, const QueueRow& b) {
    const double of_a = value(a);
    const double of_b = value(b);
    return of_a != of_b ? of_a > of_b : name_view(a.entry) < name_view(b.entry);
  });
}

bool matches(std::string_view name, const std::string& filter) {
  if (filter.empty()) return true;
  const std::string text(name);
  if (filter.find_first_of("*?[") == std::string::npos) return text.find(filter) != std::string::npos;
  // People write it with the slash that lists show, or without.
  return fnmatch(filter.c_str(), text.c_str(), 0) == 0 || fnmatch(filter.c_str(), ("/" + text).c_str(), 0) == 0;
}

std::string plain_line(const QueueRow& row, int64_t now_ns) {
  const time_t now_s = now_ns / kSecondNs;
  tm local{};
  char at[16];
  localtime_r(&now_s, &local);
  strftime(at, sizeof at, "%H:%M:%S", &local);
  return std::string(at) + " " + shown_name(row.entry) + " " + std::to_string(row.entry.messages) + "/" +
         std::to_string(row.entry.maxmsg) + " sent " + rate_text(row.sends_per_s) + "/s received " +
         rate_text(row.receives_per_s) + "/s oldest " + oldest_text(row.entry, now_s) + " blocked " +
         blocked_text(row.entry, now_ns);
}

std::string fitted(std::string_view text, size_t width) {
  std::string cell;
  size_t characters = 0;
  for (size_t at = 0; at < text.size();) {
    size_t next = at + 1;
    while (next < text.size() && is_continuation(text[next])) ++next;
    if (characters + 1 == width && next < text.size()) {
      cell += "~";
      return cell;
    }
    if (characters == width) return cell;
    cell += text.substr(at, next - at);
    ++characters;
    at = next;
  }
  return cell + std::string(width - characters, ' ');
}

}  // namespace mqueuefs::cli
