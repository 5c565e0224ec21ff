// Queues as they change: rates, a short history, and how both are drawn. Pure: from what the daemon said to text.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "control/messages.h"

namespace mqueuefs::cli {

/// What the terminal can show.
enum class Glyphs { kAscii, kBlocks };

/// "[###.......]" without the brackets: how full the queue is. One mark at least if there is a message.
std::string depth_bar(uint32_t messages, uint32_t maxmsg, size_t width, Glyphs glyphs);

/// The last `width` of `depths`, each a part of 1, one character each; blanks before the first.
std::string history_line(const std::deque<double>& depths, size_t width, Glyphs glyphs);

/// "0", "0.5", "12", "1.2k", "34M": a second.
std::string rate_text(double per_second);

/// "3s", "2m05s", "1h02m", "3d04h"; "-" for less than 0.
std::string duration_text(int64_t seconds);

/// How old the oldest message is, "-" if there is none. `now_s`: CLOCK_REALTIME.
std::string oldest_text(const control::QueueEntry& entry, int64_t now_s);

/// "2 receivers, 12s (pid 123 sleep)" or "-": how many, the longest wait and, if visible, whose it is.
std::string blocked_text(const control::QueueEntry& entry, int64_t now_ns);

/// One queue at one look.
struct QueueRow {
  control::QueueEntry entry{};
  double sends_per_s = 0;  ///< since the look before; 0 at the first one
  double receives_per_s = 0;
  std::deque<double> depths;  ///< at the last looks, the latest last

  uint64_t longest_wait_ns(int64_t now_ns) const;
};

/// Remembers looks. A queue that was removed and made anew is another one.
class QueueHistory {
 public:
  explicit QueueHistory(size_t kept) : kept_(kept) {}
  /// `now_ns` never goes back: CLOCK_MONOTONIC.
  std::vector<QueueRow> update(const std::vector<control::QueueEntry>& entries, int64_t now_ns);

 private:
  struct Known {
    control::QueueEntry entry{};
    int64_t at_ns = 0;
    std::deque<double> depths;
    bool seen = false;
  };
  const size_t kept_;
  std::map<uint64_t, Known> known_;  // by inode
};

enum class SortKey { kName, kDepth, kMessages, kRate, kOldest, kBlocked };
/// The words for --sort, in the order of SortKey.
inline constexpr const char* kSortNames[] = {"name", "depth", "messages", "rate", "oldest", "blocked"};

/// By `key`, the most first (names in their order), then by name.
void sort_rows(std::vector<QueueRow>& rows, SortKey key, int64_t now_ns);

/// A pattern of glob(7) if it has one of *?[, else any part of the name. The empty filter lets all through.
bool matches(std::string_view name, const std::string& filter);

/// "12:00:01 /jobs 3/10 sent 12/s received 11/s oldest 4s blocked -"
std::string plain_line(const QueueRow& row, int64_t now_ns);

/// `text` cut or filled with blanks to `width` characters; what is cut ends in "~".
std::string fitted(std::string_view text, size_t width);

}  // namespace mqueuefs::cli
