// mqueuefs watch: the queues of a namespace, again and again; like top on a terminal, one line a queue elsewhere.
#include <poll.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/clock.h"
#include "cli/command.h"
#include "cli/connect.h"
#include "cli/explain.h"
#include "cli/interrupt.h"
#include "cli/output.h"
#include "cli/queue_entry.h"
#include "cli/queue_session.h"
#include "cli/queue_view.h"
#include "cli/watch_screen.h"

namespace mqueuefs::cli {
namespace {

constexpr size_t kHistoryKept = 60;

struct WatchOptions {
  std::string namespace_name;
  std::string interval = "1";
  std::string sort = "name";
  std::string filter;
  uint64_t count = 0;  ///< 0: for ever
  bool once = false;
  bool json = false;

  SortKey sort_key() const {
    const auto found = std::find(std::begin(kSortNames), std::end(kSortNames), sort);
    return static_cast<SortKey>(found - std::begin(kSortNames));
  }
  int64_t interval_ns() const { return std::max<int64_t>(parse_seconds(interval).value(), 100'000'000); }
  uint64_t looks() const { return once ? 1 : count; }
};

/// Asks the daemon and keeps what it said before.
class Watcher {
 public:
  Watcher(const WatchOptions& options, client::Connection connection)
      : options_(options), connection_(std::move(connection)), history_(kHistoryKept) {}

  Status look() {
    auto entries = fetch_queues(connection_, options_.namespace_name, "", control::kQueueActivity);
    if (!entries) return entries.error();
    queues_ = entries->size();
    rows_ = history_.update(*entries, monotonic_now_ns());
    now_ns_ = realtime_now_ns();
    return {};
  }

  std::vector<QueueRow> rows(const std::string& filter, SortKey key) const {
    std::vector<QueueRow> chosen;
    for (const QueueRow& row : rows_) {
      const std::string_view name(row.entry.name, strnlen(row.entry.name, sizeof row.entry.name));
      if (matches(name, filter)) chosen.push_back(row);
    }
    sort_rows(chosen, key, now_ns_);
    return chosen;
  }

  size_t queues() const { return queues_; }
  int64_t now_ns() const { return now_ns_; }

 private:
  const WatchOptions& options_;
  client::Connection connection_;
  QueueHistory history_;
  std::vector<QueueRow> rows_;
  size_t queues_ = 0;
  int64_t now_ns_ = 0;
};

Json row_json(const QueueRow& row, int64_t now_ns) {
  Json object = queue_json(row.entry);
  object["time"] = static_cast<double>(now_ns) / 1e9;
  object["sends_per_second"] = std::round(row.sends_per_s * 10) / 10;
  object["receives_per_second"] = std::round(row.receives_per_s * 10) / 10;
  return object;
}

int print_rows(const WatchOptions& options, const Watcher& watcher) {
  std::string text;
  for (const QueueRow& row : watcher.rows(options.filter, options.sort_key())) {
    text += options.json ? row_json(row, watcher.now_ns()).dump() : plain_line(row, watcher.now_ns());
    text += "\n";
  }
  return text.empty() ? kSuccess : print(text);
}

int watch_plainly(const WatchOptions& options, const Attempt& attempt, Watcher& watcher) {
  InterruptGuard guard;
  int64_t next_ns = monotonic_now_ns();
  for (uint64_t look = 1;; ++look) {
    if (const Status looked = watcher.look(); !looked) return fail(explain(attempt, looked.error()));
    if (const int printed = print_rows(options, watcher); printed != kSuccess) return printed;
    if (look == options.looks()) return kSuccess;
    next_ns += options.interval_ns();
    const int64_t rest_ns = std::max<int64_t>(next_ns - monotonic_now_ns(), 0);
    const timespec rest{rest_ns / 1'000'000'000, rest_ns % 1'000'000'000};
    ppoll(nullptr, 0, &rest, &guard.open_mask());
    if (guard.interrupted()) {
      guard.die_if_interrupted();
      return kSuccess;
    }
  }
}

// What the keys have changed.
struct View {
  std::string filter;
  SortKey sort;
  bool typing = false;
  bool quit = false;

  void press(const Screen::Press& press) {
    using Key = Screen::Key;
    if (typing) {
      if (press.key == Key::kEnter) {
        typing = false;
      } else if (press.key == Key::kEscape) {
        typing = false;
        filter.clear();
      } else if (press.key == Key::kBackspace) {
        if (!filter.empty()) filter.pop_back();
      } else {
        filter += press.text;
      }
      return;
    }
    constexpr auto kKeys = static_cast<int>(std::size(kSortNames));
    if (press.key == Key::kQuit) quit = true;
    if (press.key == Key::kSort) sort = static_cast<SortKey>((static_cast<int>(sort) + 1) % kKeys);
    if (press.key == Key::kReverseSort) sort = static_cast<SortKey>((static_cast<int>(sort) + kKeys - 1) % kKeys);
    if (press.key == Key::kFilter) typing = true;
    if (press.key == Key::kEscape) filter.clear();
  }
};

int watch_on(std::unique_ptr<Screen> screen, const WatchOptions& options, const Attempt& attempt, Watcher& watcher) {
  InterruptGuard guard;
  // ncurses sleeps without a mask of ours: a handler runs there, and ends its wait.
  sigset_t inside;
  sigprocmask(SIG_SETMASK, &guard.open_mask(), &inside);
  View view{.filter = options.filter, .sort = options.sort_key()};
  const std::string title = "mqueuefs" + (options.namespace_name.empty() ? "" : " namespace " + options.namespace_name);
  Status looked;
  uint64_t looks = 0;
  int64_t next_ns = monotonic_now_ns();
  while (!view.quit && !guard.interrupted()) {
    if (monotonic_now_ns() >= next_ns) {
      looked = watcher.look();
      if (!looked) break;
      next_ns = std::max(next_ns + options.interval_ns(), monotonic_now_ns());
      if (++looks > options.looks() && options.looks() != 0) break;
    }
    const auto rows = watcher.rows(view.filter, view.sort);
    screen->draw({title, view.filter, view.typing, view.sort, watcher.queues()}, rows, watcher.now_ns());
    const int64_t rest_ms = (next_ns - monotonic_now_ns()) / 1'000'000 + 1;
    view.press(screen->read(static_cast<int>(std::clamp<int64_t>(rest_ms, 0, 60'000))));
  }
  screen.reset();
  if (!looked) return fail(explain(attempt, looked.error()));
  sigprocmask(SIG_SETMASK, &inside, nullptr);
  guard.die_if_interrupted();
  return kSuccess;
}

int run(const WatchOptions& options) {
  const Attempt attempt{"watch", "", options.namespace_name};
  auto connection = connect_to_daemon(attempt);
  if (!connection) return kFailure;
  Watcher watcher(options, std::move(*connection));
  // A single look is for programs: what it prints stays.
  auto screen = options.json || options.once ? nullptr : Screen::open();
  return screen != nullptr ? watch_on(std::move(screen), options, attempt, watcher)
                           : watch_plainly(options, attempt, watcher);
}

}  // namespace

void add_watch(Program& program) {
  auto options = std::make_shared<WatchOptions>();
  CLI::App* command = program.app.add_subcommand("watch", "Watch the queues of a namespace");
  add_ns_option(*command, options->namespace_name);
  add_json_option(*command, options->json);
  const auto check = [](const std::string& text) {
    return parse_seconds(text) ? std::string() : "\"" + text + "\" is not a number of seconds";
  };
  command->add_option("--interval", options->interval, "Look so often [1]")
      ->option_text("SECONDS")
      ->check(CLI::Validator(check, "SECONDS"));
  command->add_option("--sort", options->sort, "By name, depth, messages, rate, oldest or blocked")
      ->option_text("KEY")
      ->check(CLI::IsMember(std::vector<std::string>(std::begin(kSortNames), std::end(kSortNames))));
  command->add_option("--filter", options->filter, "Only queues whose name has this in it, or matches it")
      ->option_text("PATTERN");
  auto* count = command->add_option("--count", options->count, "End after so many looks")
                    ->option_text("N")
                    ->check(CLI::PositiveNumber);
  command->add_flag("--once", options->once, "Look once, print it, end")->excludes(count);
  command->callback([&program, options] { program.action = [options] { return run(*options); }; });
}

}  // namespace mqueuefs::cli
