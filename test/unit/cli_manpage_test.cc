// mqueuefs(1) and --help list the same options.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <regex>
#include <set>
#include <string>

#include "cli/program.h"

namespace mqueuefs::cli {
namespace {

std::set<std::string> options_in(const std::string& text) {
  static const std::regex option("(^|[^a-z-])(--[a-z]+(-[a-z]+)*)");
  std::set<std::string> found;
  for (auto match = std::sregex_iterator(text.begin(), text.end(), option); match != std::sregex_iterator(); ++match) {
    found.insert((*match)[2]);
  }
  return found;
}

std::string help_of(std::vector<std::string> command) {
  command.push_back("--help");
  testing::internal::CaptureStdout();
  EXPECT_EQ(check_usage(command), 0);
  return testing::internal::GetCapturedStdout();
}

std::string manual() {
  const char* root = std::getenv("MQUEUEFS_SOURCE_DIR");
  std::ifstream file(std::string(root != nullptr ? root : MQUEUEFS_SOURCE_DIR) + "/man/mqueuefs.1");
  const std::string source((std::istreambuf_iterator<char>(file)), {});
  return std::regex_replace(source, std::regex(R"(\\-)"), "-");
}

TEST(Manual, ListsTheOptionsOfEveryCommand) {
  std::string help;
  for (const std::vector<std::string>& command : std::vector<std::vector<std::string>>{
           {"list"}, {"stat"}, {"create"}, {"remove"}, {"send"}, {"receive"}, {"peek"}, {"limits"}, {"ipc"}, {"ipc", "list"}, {"ns", "list"},
           {"ns", "create"}, {"ns", "remove"}, {"ns", "bind"}, {"unshare"}, {"enter"}, {"run"}, {"mount"}, {"oci-config"},
           {"oci-hook"}, {"daemon"}}) {
    help += help_of(command);
  }
  auto from_help = options_in(help);
  from_help.erase("--help");
  from_help.erase("--count");     // the long forms of -n,
  from_help.erase("--priority");  // -p
  from_help.erase("--options");   // and -o
  EXPECT_EQ(options_in(manual()), from_help);
}

TEST(Manual, ListsEveryCommand) {
  const std::string text = manual();
  const std::string help = help_of({});
  const std::string commands = help.substr(help.find("Subcommands:"));
  static const std::regex line("\n  ([a-z]+) ");
  int count = 0;
  for (auto match = std::sregex_iterator(commands.begin(), commands.end(), line); match != std::sregex_iterator();
       ++match, ++count) {
    EXPECT_NE(text.find(".B mqueuefs " + (*match)[1].str()), std::string::npos) << (*match)[1];
  }
  EXPECT_GE(count, 13);
}

}  // namespace
}  // namespace mqueuefs::cli
