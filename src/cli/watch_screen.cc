#include "cli/watch_screen.h"

#include <langinfo.h>
#include <locale.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "cli/queue_entry.h"

// After the others: it defines names such as `timeout` and `filter`.
#define NCURSES_NOMACROS 1
#define NCURSES_WIDECHAR 1
#include <ncurses.h>

namespace mqueuefs::cli {
namespace {

constexpr size_t kBarWidth = 10;
constexpr size_t kRateWidth = 7;
constexpr size_t kHistoryWidth = 20;
constexpr short kFullPair = 1;
constexpr short kBlockedPair = 2;

std::string right(const std::string& text, size_t width) {
  return text.size() >= width ? text : std::string(width - text.size(), ' ') + text;
}

}  // namespace

struct Screen::Terminal {
  SCREEN* screen = nullptr;
  Glyphs glyphs = Glyphs::kAscii;
  bool colours = false;
  size_t first_row = 0;

  void line(int y, const std::string& text, attr_t attributes = A_NORMAL) const {
    const int width = getmaxx(stdscr);
    if (y >= getmaxy(stdscr) || width <= 0) return;
    attrset(attributes);
    // The last cell of the last line would scroll some terminals.
    mvaddstr(y, 0, fitted(text, static_cast<size_t>(width)).c_str());
    attrset(A_NORMAL);
  }
};

Screen::Screen() : terminal_(std::make_unique<Terminal>()) {}

std::unique_ptr<Screen> Screen::open() {
  const char* name = getenv("TERM");
  if (isatty(STDOUT_FILENO) == 0 || isatty(STDIN_FILENO) == 0 || name == nullptr || strcmp(name, "dumb") == 0) return nullptr;
  setlocale(LC_CTYPE, "");
  SCREEN* const screen = newterm(nullptr, stdout, stdin);
  if (screen == nullptr) return nullptr;
  std::unique_ptr<Screen> opened(new Screen);
  opened->terminal_->screen = screen;
  if (strcmp(nl_langinfo(CODESET), "UTF-8") == 0) opened->terminal_->glyphs = Glyphs::kBlocks;
  cbreak();
  noecho();
  curs_set(0);
  keypad(stdscr, TRUE);
  set_escdelay(25);
  const char* no_colour = getenv("NO_COLOR");
  if ((no_colour == nullptr || *no_colour == '\0') && has_colors() && start_color() == OK) {
    use_default_colors();
    init_pair(kFullPair, COLOR_RED, -1);
    init_pair(kBlockedPair, COLOR_YELLOW, -1);
    opened->terminal_->colours = true;
  }
  return opened;
}

Screen::~Screen() {
  if (terminal_->screen == nullptr) return;
  endwin();
  delscreen(terminal_->screen);
}

void Screen::draw(const ScreenHead& head, const std::vector<QueueRow>& rows, int64_t now_ns) {
  const int height = getmaxy(stdscr);
  const int width = getmaxx(stdscr);
  erase();
  std::string title = head.title + "  " + std::to_string(rows.size()) + " of " + std::to_string(head.queues) +
                      " queues  sorted by " + kSortNames[static_cast<size_t>(head.sort)];
  if (!head.filter.empty() || head.typing_filter) title += "  filter: " + head.filter + (head.typing_filter ? "_" : "");
  terminal_->line(0, title);

  const size_t others = kBarWidth + 2 + 14 + 2 * (kRateWidth + 2) + 10;
  const auto columns = static_cast<size_t>(std::max(width, 1));
  const bool with_history = columns >= others + kHistoryWidth + 2 + 40;
  const size_t name_width = std::clamp<size_t>(columns / 4, 8, 40);
  std::string headings = fitted("NAME", name_width) + "  " + fitted("DEPTH", kBarWidth) + "  " + right("MESSAGES", 12) + "  ";
  if (with_history) headings += fitted("HISTORY", kHistoryWidth) + "  ";
  headings += right("SENT/S", kRateWidth) + "  " + right("RECV/S", kRateWidth) + "  " + right("OLDEST", 8) + "  BLOCKED";
  terminal_->line(1, headings, A_REVERSE);

  const size_t shown = height > 3 ? static_cast<size_t>(height) - 3 : 0;
  terminal_->first_row = std::min(terminal_->first_row, rows.size() > shown ? rows.size() - shown : 0);
  int y = 2;
  for (size_t i = terminal_->first_row; i < rows.size() && i < terminal_->first_row + shown; ++i) {
    const QueueRow& row = rows[i];
    const control::QueueEntry& entry = row.entry;
    std::string line = fitted(shown_name(entry), name_width) + "  " +
                       depth_bar(entry.messages, entry.maxmsg, kBarWidth, terminal_->glyphs) + "  " +
                       right(std::to_string(entry.messages) + "/" + std::to_string(entry.maxmsg), 12) + "  ";
    if (with_history) line += history_line(row.depths, kHistoryWidth, terminal_->glyphs) + "  ";
    line += right(rate_text(row.sends_per_s), kRateWidth) + "  " + right(rate_text(row.receives_per_s), kRateWidth) +
            "  " + right(oldest_text(entry, now_ns / 1'000'000'000), 8) + "  " +
            (entry.dead != 0 ? "damaged" : blocked_text(entry, now_ns));
    attr_t attributes = A_NORMAL;
    const bool full = entry.messages >= entry.maxmsg || entry.dead != 0;
    const bool blocked = entry.waiting_senders + entry.waiting_receivers > 0;
    if (full) attributes = A_BOLD;
    if (terminal_->colours && full) attributes |= static_cast<attr_t>(COLOR_PAIR(kFullPair));
    if (terminal_->colours && !full && blocked) attributes |= static_cast<attr_t>(COLOR_PAIR(kBlockedPair));
    terminal_->line(y++, line, attributes);
  }
  terminal_->line(height - 1, head.typing_filter ? "enter: keep the filter  escape: drop it"
                                                 : "q quit  s sort  / filter  up, down: scroll");
  refresh();
}

Screen::Press Screen::read(int wait_ms) {
  wtimeout(stdscr, std::max(wait_ms, 0));
  const int key = wgetch(stdscr);
  switch (key) {
    case ERR:
      return {};
    case 'q':
    case 'Q':
      return {Key::kQuit, std::string(1, static_cast<char>(key))};
    case 's':
      return {Key::kSort, "s"};
    case 'S':
      return {Key::kReverseSort, "S"};
    case '/':
      return {Key::kFilter, "/"};
    case '\n':
    case '\r':
    case KEY_ENTER:
      return {Key::kEnter, ""};
    case 27:
      return {Key::kEscape, ""};
    case KEY_BACKSPACE:
    case 127:
    case '\b':
      return {Key::kBackspace, ""};
    case KEY_RESIZE:
      return {Key::kResize, ""};
    case KEY_UP:
      if (terminal_->first_row > 0) --terminal_->first_row;
      return {Key::kUp, ""};
    case KEY_DOWN:
      ++terminal_->first_row;
      return {Key::kDown, ""};
    default:
      if (key < 0x20 || key > 0xFF) return {Key::kOther, ""};
      return {Key::kOther, std::string(1, static_cast<char>(key))};
  }
}

}  // namespace mqueuefs::cli
