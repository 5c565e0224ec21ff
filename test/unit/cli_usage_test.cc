// The grammar: what is a usage error (2), and what gets as far as being tried.
#include <gtest/gtest.h>

#include "cli/program.h"
#include "cli/queue_session.h"

namespace mqueuefs::cli {
namespace {

TEST(Usage, EveryCommandOfTheGrammarIsWellFormed) {
  const std::vector<std::vector<std::string>> good = {
      {"create", "--ns", "X", "--maxmsg", "5", "--msgsize", "100", "--mode", "0640", "/q"},
      {"create", "--maxmsg", "-5", "q"},
      {"create", "--mode", "600", "q"},
      {"send", "-p", "3", "--nonblock", "/q", "hello"},
      {"send", "--timeout", "0.5", "--lines", "/q"},
      {"send", "/q", "--", "-dash"},
      {"send", "/q", ""},
      {"send", "/q", "[a,b]"},
      {"send", "-p", "-1", "/q"},
      {"receive", "-n", "3", "--raw", "--show-priority", "/q"},
      {"receive", "--all", "--json", "/q"},
      {"receive", "--follow", "--ns=X", "/q"},
      {"receive", "--all", "--follow", "/q"},
      {"peek", "--json", "/q"},
      {"list"},
      {"list", "--ns", "X", "--json"},
      {"stat", "/q"},
      {"remove", "/a", "/b"},
      {"limits"},
      {"limits", "--ns", "X", "msg_max=20", "queues_max=3"},
      {"ipc", "list"},
      {"ipc", "list", "sem", "--json"},
      {"ipc", "--ns", "X", "show", "shm", "5"},
      {"ipc", "remove", "msg", "1", "2", "3"},
      {"ipc", "chid", "--ns", "X", "sem", "1", "32769"},
      {"ipc", "permute", "msg", "1=2", "2=1"},
      {"ipc", "next-id", "shm"},
      {"ipc", "next-id", "shm", "-1"},
      {"ns", "list", "--json"},
      {"ns", "create", "X"},
      {"ns", "remove", "X"},
      {"ns", "bind", "X", "--pid", "12"},
      {"unshare", "--name", "X", "--mount", "--", "ls", "[x]", "--help"},
      {"unshare", "--mount=/mnt"},
      {"enter", "X", "--mount", "--", "true"},
      {"mount", "-o", "ro,ns=X", "none", "/dev/mqueue"},
  };
  for (const auto& arguments : good) {
    EXPECT_EQ(check_usage(arguments), 0) << testing::PrintToString(arguments);
  }
}

TEST(Usage, NonsenseIsRefused) {
  const std::vector<std::vector<std::string>> bad = {
      {},
      {"frobnicate"},
      {"create"},
      {"create", "--maxmsg", "many", "/q"},
      {"create", "--mode", "999", "/q"},
      {"create", "/q", "/r"},
      {"ipc"},
      {"ipc", "list", "pipe"},
      {"ipc", "show", "msg"},
      {"ipc", "chid", "msg", "1"},
      {"ipc", "chid", "msg", "1", "2", "3"},
      {"ipc", "chid", "msg", "1", "4294967296"},
      {"ipc", "permute", "msg", "1"},
      {"ipc", "permute", "msg", "1=-2"},
      {"ipc", "next-id", "msg", "-2"},
      {"send"},
      {"send", "--lines", "/q", "message"},
      {"send", "--timeout", "soon", "/q"},
      {"send", "--timeout", "-1", "/q"},
      {"send", "--nonblock", "--timeout", "1", "/q"},
      {"receive", "-n", "3", "--all", "/q"},
      {"receive", "-n", "-3", "/q"},
      {"receive", "--bogus", "/q"},
      {"limits", "msg_max"},
      {"limits", "msg_max=ten"},
      {"ns"},
      {"ns", "bind", "X", "--pid", "0"},
      {"enter"},
      {"enter", "X", "command-without-dashes"},
      {"unshare", "--"},
  };
  testing::internal::CaptureStderr();
  for (const auto& arguments : bad) {
    EXPECT_EQ(check_usage(arguments), 2) << testing::PrintToString(arguments);
  }
  testing::internal::GetCapturedStderr();
}

TEST(ParseSeconds, TakesFractions) {
  EXPECT_EQ(parse_seconds("0"), 0);
  EXPECT_EQ(parse_seconds("1.5"), 1'500'000'000);
  EXPECT_EQ(parse_seconds(".25"), 250'000'000);
  EXPECT_GT(parse_seconds("99999999999999999999"), 0);
  for (const char* bad : {"", "x", "-1", "1s", "1.2.3", "nan", "inf", "."}) EXPECT_FALSE(parse_seconds(bad)) << bad;
}

}  // namespace
}  // namespace mqueuefs::cli
