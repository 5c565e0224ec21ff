#include "cli/output.h"

#include <grp.h>
#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "cli/explain.h"

namespace mqueuefs::cli {
namespace {

// Columns on a terminal, near enough: characters, not bytes.
size_t width_of(std::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

}  // namespace

int fail(std::string_view text) {
  std::string line = "mqueuefs: ";
  line += text;
  line += '\n';
  // One write, so that lines of several processes do not mix. If nobody reads them there is nobody to tell.
  [[maybe_unused]] const ssize_t n = write(STDERR_FILENO, line.data(), line.size());
  return kFailure;
}

Status write_out(std::string_view bytes, size_t* written) {
  size_t done = 0;
  Status status;
  while (done < bytes.size()) {
    const ssize_t n = write(STDOUT_FILENO, bytes.data() + done, bytes.size() - done);
    if (n < 0) {
      status = last_error("write");
      break;
    }
    done += static_cast<size_t>(n);
  }
  if (written != nullptr) *written = done;
  return status;
}

int print(std::string_view text) {
  const Status status = write_out(text);
  if (status) return kSuccess;
  return fail("standard output: " + describe_errno(status.code()));
}

int print_json(const Json& document) { return print(document.dump(2) + "\n"); }

std::string Table::text() const {
  std::vector<size_t> widths;
  for (const Column& column : columns_) widths.push_back(width_of(column.heading));
  for (const auto& row : rows_) {
    for (size_t i = 0; i < widths.size(); ++i) widths[i] = std::max(widths[i], width_of(row[i]));
  }
  std::string text;
  const auto add_line = [&](const auto& cell_at) {
    std::string line;
    for (size_t i = 0; i < widths.size(); ++i) {
      const std::string cell = cell_at(i);
      const std::string blanks(widths[i] - width_of(cell), ' ');
      line += columns_[i].align == Align::kLeft ? cell + blanks : blanks + cell;
      line += "  ";
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  };
  add_line([&](size_t i) { return std::string(columns_[i].heading); });
  for (const auto& row : rows_) add_line([&](size_t i) { return row[i]; });
  return text;
}

std::string user_name(unsigned uid) {
  const passwd* entry = getpwuid(uid);
  return entry != nullptr ? entry->pw_name : std::to_string(uid);
}

std::string group_name(unsigned gid) {
  const group* entry = getgrgid(gid);
  return entry != nullptr ? entry->gr_name : std::to_string(gid);
}

std::string mode_text(unsigned mode) {
  char text[8];
  snprintf(text, sizeof text, "%04o", mode & 07777);
  return text;
}

}  // namespace mqueuefs::cli
