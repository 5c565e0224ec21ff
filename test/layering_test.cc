// Holds the architecture: which room of src/ may include what. The rule is the table below and nothing else.
//
// base <- segment <- ipc <- front doors (control, fuse, seccomp) <- daemon <- cli. What is loaded into other
// people's programs (client, preload) sees base, segment and the control socket's message headers, which
// need libc alone. A third-party header stays in the one room that wraps it.

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace {

const std::set<std::string> kMessageHeaders = {"control/messages.h", "control/mount_flags.h", "control/queue_ioctl.h",
                                               "control/sysv_messages.h", "control/wire.h"};

struct Room {
  std::set<std::string> rooms;    // whose headers it may include, beside its own
  std::set<std::string> headers;  // single headers of other rooms
};

const std::map<std::string, Room> kRooms = {
    {"base", {{}, {}}},
    {"segment", {{"base"}, {}}},
    {"ipc", {{"base", "segment"}, {}}},
    {"control", {{"base", "segment", "ipc"}, {}}},
    {"fuse", {{"base", "segment", "ipc"}, {"control/queue_ioctl.h"}}},
    {"seccomp", {{"base", "segment", "ipc"}, {"control/reactor.h", "control/sysv_host.h"}}},
    {"daemon", {{"base", "segment", "ipc", "control", "fuse", "seccomp"}, {}}},
    {"client", {{"base", "segment"}, kMessageHeaders}},
    {"preload", {{"base", "segment", "client"}, kMessageHeaders}},
    {"cli", {{"base", "segment", "ipc", "control", "fuse", "seccomp", "daemon", "client"}, {}}},
};

// First path component, or whole name, of a third-party header -> the rooms that may include it.
const std::map<std::string, std::set<std::string>> kThirdParty = {
    {"fuse.h", {"fuse"}},       {"fuse_lowlevel.h", {"fuse"}},  {"fuse_opt.h", {"fuse"}},
    {"fuse3", {"fuse"}},        {"CLI", {"cli"}},               {"nlohmann", {"cli", "seccomp"}},
    {"spdlog", {"daemon", "cli"}}, {"fmt", {"daemon", "cli"}},  {"seccomp.h", {"seccomp"}},
    {"ncurses.h", {"cli"}},      {"microhttpd.h", {"daemon"}},
    {"gtest", {}},              {"gmock", {}},                  {"benchmark", {}},
};

// Why the file `path` (relative to src/) may not contain this text; one line for each reason.
std::vector<std::string> violations(const std::string& path, const std::string& text) {
  std::vector<std::string> found;
  const std::string room = path.substr(0, path.find('/'));
  const auto rule = kRooms.find(room);
  if (rule == kRooms.end()) return {path + ": no room of the architecture is called " + room};

  static const std::regex include(R"(^\s*#\s*include\s*([<"])([^>"]+)[>"])");
  std::istringstream lines(text);
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number) {
    std::smatch match;
    if (!std::regex_search(line, match, include)) continue;
    const std::string header = match[2];
    const std::string first = header.substr(0, header.find('/'));
    const std::string where = path + ":" + std::to_string(number) + ": " + room + " includes " + header;
    if (const auto third = kThirdParty.find(first); match[1] == "<" || third != kThirdParty.end()) {
      if (third != kThirdParty.end() && !third->second.contains(room)) {
        found.push_back(where + ", which is not its to wrap");
      }
      continue;
    }
    const bool is_public = first == "mqueuefs";  // include/mqueuefs/, what users see
    const bool own = first == room;
    if (!is_public && !own && !rule->second.rooms.contains(first) && !rule->second.headers.contains(header)) {
      found.push_back(where + ", which points up or sideways");
    }
  }
  return found;
}

std::string contents(const std::filesystem::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::filesystem::path source_root() {
  const char* root = std::getenv("MQUEUEFS_SOURCE_DIR");
  return std::filesystem::path(root != nullptr ? root : MQUEUEFS_SOURCE_DIR) / "src";
}

TEST(Layering, IncludesPointDown) {
  int files = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(source_root())) {
    const auto extension = entry.path().extension();
    if (!entry.is_regular_file() || (extension != ".h" && extension != ".cc")) continue;
    ++files;
    const auto path = std::filesystem::relative(entry.path(), source_root()).string();
    for (const auto& violation : violations(path, contents(entry.path()))) ADD_FAILURE() << violation;
  }
  EXPECT_GT(files, 10) << "not the source tree: " << source_root();
}

// What clients include must not pull in anything but libc and itself.
TEST(Layering, MessageHeadersNeedLibcAlone) {
  for (const auto& header : kMessageHeaders) {
    const auto path = source_root() / header;
    if (!std::filesystem::exists(path)) continue;
    std::istringstream lines(contents(path));
    std::string line;
    while (std::getline(lines, line)) {
      if (line.find("#include \"") == std::string::npos) continue;
      const std::string included = line.substr(line.find('"') + 1, line.rfind('"') - line.find('"') - 1);
      EXPECT_TRUE(included.starts_with("base/") || kMessageHeaders.contains(included)) << header << ": " << line;
    }
  }
}

TEST(Layering, RuleCatchesViolations) {
  const std::vector<std::pair<std::string, std::string>> bad = {
      {"segment/slot.cc", "#include \"ipc/queue_inode.h\""},      // up
      {"ipc/limits.cc", "#include \"control/messages.h\""},       // up
      {"fuse/session.cc", "#include \"control/server.h\""},       // sideways
      {"control/server.cc", "#include \"fuse/session.h\""},       // sideways
      {"client/open.cc", "#include \"ipc/queue_inode.h\""},       // more than messages
      {"client/open.cc", "#include \"control/client.h\""},        // more than messages
      {"ipc/limits.cc", "  #  include <fuse_lowlevel.h>"},        // third party
      {"daemon/loop.cc", "#include <fuse3/fuse_lowlevel.h>"},     // third party
      {"daemon/loop.cc", "#include \"CLI/CLI.hpp\""},             // third party, quoted
      {"client/open.cc", "#include <spdlog/spdlog.h>"},           // third party
      {"util/strings.h", "int x;"},                               // no such room
  };
  for (const auto& [path, text] : bad) EXPECT_EQ(violations(path, text).size(), 1u) << path << ": " << text;
}

TEST(Layering, RuleAllowsWhatPointsDown) {
  const std::vector<std::pair<std::string, std::string>> good = {
      {"fuse/session.cc", "#include <fuse_lowlevel.h>\n#include \"ipc/queue_inode.h\"\n#include \"fuse/session.h\""},
      {"fuse/ioctl.cc", "#include \"control/queue_ioctl.h\""},
      {"client/open.cc", "#include \"control/messages.h\"\n#include \"mqueuefs/mqueuefs.h\"\n#include <sys/socket.h>"},
      {"daemon/mount.cc", "#include <linux/fuse.h>\n// #include \"cli/main.h\" in a comment does not count"},
  };
  for (const auto& [path, text] : good) EXPECT_TRUE(violations(path, text).empty()) << path << ": " << text;
}

}  // namespace
