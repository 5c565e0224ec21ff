// What goes to standard output and standard error, and in which form.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "cli/encoding.h"

namespace mqueuefs::cli {

/// Exit codes of every command (the mount form has mount(8)'s).
inline constexpr int kSuccess = 0;
inline constexpr int kFailure = 1;
inline constexpr int kUsage = 2;

/// One line on standard error, "mqueuefs: ...". Returns kFailure.
int fail(std::string_view text);

/// Writes all of it to standard output. EINTR is handed up: `written` says how far it got.
Status write_out(std::string_view bytes, size_t* written = nullptr);

/// Writes text for people or one JSON document; a failure to write is reported. Returns the exit code.
int print(std::string_view text);
int print_json(const Json& document);

/// Aligned columns, two blanks between them.
class Table {
 public:
  enum class Align { kLeft, kRight };
  struct Column {
    const char* heading;
    Align align;
  };

  Table(std::initializer_list<Column> columns) : columns_(columns) {}
  /// As many cells as columns.
  void add(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  /// With the line of headings; no blanks at the ends of lines.
  std::string text() const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

/// The name of a user or, if there is none, the number.
std::string user_name(unsigned uid);
std::string group_name(unsigned gid);
/// Four octal digits.
std::string mode_text(unsigned mode);

}  // namespace mqueuefs::cli
