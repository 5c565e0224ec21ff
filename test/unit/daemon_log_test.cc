// What a line of the log looks like, where, and how many there may be.
#include <gtest/gtest.h>

#include "daemon/log.h"
#include "daemon/proc_text.h"

namespace mqueuefs::daemon {
namespace {

constexpr int64_t kTimeNs = 1'700'000'000'123'000'000;

TEST(Log, LinesSuitTheirReader) {
  const auto warn = spdlog::level::warn;
  EXPECT_EQ(log_line(LogPlace::kStderr, LogFormat::kText, warn, kTimeNs, "limit reached"),
            "2023-11-14T22:13:20.123Z mqueuefs: warning: limit reached\n");
  EXPECT_EQ(log_line(LogPlace::kJournal, LogFormat::kText, warn, kTimeNs, "limit reached"), "<4>limit reached\n");
  EXPECT_EQ(log_line(LogPlace::kSyslog, LogFormat::kText, warn, kTimeNs, "limit reached"), "limit reached");
  EXPECT_EQ(log_line(LogPlace::kStderr, LogFormat::kJson, warn, kTimeNs, "a \"b\\"),
            R"({"time":"2023-11-14T22:13:20.123Z","level":"warning","message":"a \"b\\"})" "\n");
  EXPECT_EQ(log_line(LogPlace::kJournal, LogFormat::kJson, spdlog::level::err, kTimeNs, "x"),
            "<3>{\"level\":\"error\",\"message\":\"x\"}\n");
}

TEST(Log, ALineIsOneLineWhateverThingsAreCalled) {
  EXPECT_EQ(log_line(LogPlace::kJournal, LogFormat::kText, spdlog::level::info, 0, "a\n<0>b\x1b[2J"),
            "<6>a\\x0a<0>b\\x1b[2J\n");
  EXPECT_EQ(log_line(LogPlace::kSyslog, LogFormat::kJson, spdlog::level::info, 0, "a\n\xFF"),
            R"({"level":"info","message":"a\u000a\u00ff"})");
}

TEST(Log, JournalIsRecognisedByItsFile) {
  EXPECT_TRUE(is_journal("8:1234", 8, 1234));
  EXPECT_FALSE(is_journal("8:1234", 8, 1235));
  EXPECT_FALSE(is_journal("8", 8, 0));
  EXPECT_FALSE(is_journal(nullptr, 8, 1234));
}

TEST(Log, WhoMisbehavesOftenIsCounted) {
  LineBudget budget(2, 1);
  int64_t now_ns = 1'000'000'000;
  EXPECT_EQ(budget.take(now_ns), 0U);
  EXPECT_EQ(budget.take(now_ns), 0U);
  for (int i = 0; i < 5; ++i) EXPECT_FALSE(budget.take(now_ns));
  now_ns += 1'000'000'000;
  EXPECT_EQ(budget.take(now_ns), 5U);
  EXPECT_FALSE(budget.take(now_ns));
  UserBudgets users;
  for (int i = 0; i < 100; ++i) users.take(1000, now_ns);
  EXPECT_FALSE(users.take(1000, now_ns));
  EXPECT_EQ(users.take(1001, now_ns), 0U) << "one user hides nothing of another";
}

TEST(ProcText, StartTimeIsBehindAnyName) {
  const std::string stat =
      "12 (a) 1 (b) S 1 12 12 0 -1 4194560 100 0 0 0 1 2 3 4 20 0 1 0 777 1000 2000 18446744073709551615";
  EXPECT_EQ(start_time_ticks(stat), 777U);
  EXPECT_FALSE(is_dead_state(stat));
  EXPECT_TRUE(is_dead_state("12 (x) Z 1 2"));
  EXPECT_FALSE(start_time_ticks("12 (x) S 1 2"));
}

}  // namespace
}  // namespace mqueuefs::daemon
