// The terminal that `mqueuefs watch` draws on: ncurses, and nothing of it outside of this file's source.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cli/queue_view.h"

namespace mqueuefs::cli {

/// What the head of the screen says.
struct ScreenHead {
  std::string title;
  std::string filter;
  bool typing_filter = false;
  SortKey sort = SortKey::kName;
  size_t queues = 0;  ///< all there are
};

/// One at a time. Restores the terminal at its end. Colours only if the terminal has them and NO_COLOR is not set
/// (no-color.org); nothing is said by colour alone.
class Screen {
 public:
  /// Null: standard output is not a terminal that can be drawn on (TERM=dumb, unknown, a pipe).
  static std::unique_ptr<Screen> open();
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;
  ~Screen();

  void draw(const ScreenHead& head, const std::vector<QueueRow>& rows, int64_t now_ns);

  enum class Key { kNone, kQuit, kResize, kSort, kReverseSort, kFilter, kEnter, kEscape, kBackspace, kUp, kDown, kOther };
  struct Press {
    Key key = Key::kNone;
    std::string text;  ///< what was typed, for kOther and any letter while a filter is typed
  };
  /// The next key, waiting for it for `wait_ms` at most; kNone: none came, or a signal did.
  Press read(int wait_ms);

 private:
  Screen();
  struct Terminal;
  std::unique_ptr<Terminal> terminal_;
};

}  // namespace mqueuefs::cli
