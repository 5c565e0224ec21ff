// The exposition's text: escaping, sums, the bound on series.
#include <gtest/gtest.h>

#include <set>
#include <sstream>

#include "daemon/metrics.h"

namespace mqueuefs::daemon {
namespace {

bool has_line(const std::string& text, const std::string& wanted) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line == wanted) return true;
  }
  return false;
}

TEST(Metrics, LabelsAreEscaped) {
  EXPECT_EQ(label_value("jobs"), "jobs");
  EXPECT_EQ(label_value("a\"b\\c\nd"), R"(a\"b\\c\nd)");
  EXPECT_EQ(label_value("\u00e4\u2588\U0001F600"), "\u00e4\u2588\U0001F600");
  EXPECT_EQ(label_value("\xFFx\x80"), R"(\\xffx\\x80)");
  EXPECT_EQ(label_value("\x1b[31m\x7f"), R"(\\x1b[31m\\x7f)");
  EXPECT_EQ(label_value("\xC0\xAF\xED\xA0\x80"), R"(\\xc0\\xaf\\xed\\xa0\\x80)") << "overlong, surrogate";
  EXPECT_EQ(label_value("\xE2\x96"), R"(\\xe2\\x96)") << "cut off";
}

DaemonMetrics two_namespaces() {
  DaemonMetrics metrics;
  metrics.namespace_count = 5;
  metrics.connections = 3;
  NamespaceMetrics first{.id = 1, .queues = 12, .charged_bytes = 4096};
  first.shown.push_back({.name = "jo\"bs", .messages = 2, .bytes = 7, .maxmsg = 10, .sent = 5, .received = 3});
  first.rest = {.messages = 40, .sent = 100, .received = 60};
  first.waits[0] = 3;
  first.waits[5] = 1;
  first.waits[7] = 1;
  first.waited_seconds = 2.5;
  metrics.namespaces.push_back(first);
  metrics.namespaces.push_back({.id = 7, .name = "web"});
  metrics.namespaces.front().sysv = {.message_queues = 3, .semaphore_arrays = 2, .memory_segments = 1, .messages = 8,
                                     .message_bytes = 70, .memory_bytes = 4096};
  metrics.other_namespaces.queues = 9;
  metrics.other_namespaces.sysv.message_queues = 6;
  return metrics;
}

TEST(Metrics, TextHasEachSeriesOnce) {
  const std::string text = exposition(two_namespaces());
  EXPECT_TRUE(has_line(text, "# TYPE mqueuefs_queue_sent_total counter"));
  EXPECT_TRUE(has_line(text, R"(mqueuefs_queue_messages{namespace="1",queue="/jo\"bs"} 2)"));
  EXPECT_TRUE(has_line(text, R"(mqueuefs_queue_messages{namespace="1"} 40)"));
  EXPECT_TRUE(has_line(text, R"(mqueuefs_queues{namespace="7",name="web"} 0)"));
  EXPECT_TRUE(has_line(text, "mqueuefs_queues 9")) << "the other namespaces";
  EXPECT_TRUE(has_line(text, R"(mqueuefs_limit{namespace="1",limit="queues_max"} 256)"));
  EXPECT_TRUE(has_line(text, R"(mqueuefs_limit_used{namespace="1",limit="queues_max"} 12)"));
  EXPECT_TRUE(has_line(text, "mqueuefs_connections 3"));
  std::istringstream lines(text);
  std::set<std::string> series;
  for (std::string line; std::getline(lines, line);) {
    const std::string name = line.starts_with("#") ? line.substr(0, 60) : line.substr(0, line.rfind(' '));
    EXPECT_TRUE(series.insert(name).second) << line;
  }
  EXPECT_TRUE(text.ends_with("\n"));
}

TEST(Metrics, SystemVObjectsAreToldByKindNotEachOne) {
  const std::string text = exposition(two_namespaces());
  EXPECT_TRUE(has_line(text, "# TYPE mqueuefs_sysv_objects gauge"));
  EXPECT_TRUE(has_line(text, R"(mqueuefs_sysv_objects{namespace="1",kind="msg"} 3)"));
  EXPECT_TRUE(has_line(text, R"(mqueuefs_sysv_objects{namespace="1",kind="sem"} 2)"));
  EXPECT_TRUE(has_line(text, R"(mqueuefs_sysv_objects{namespace="7",name="web",kind="shm"} 0)"));
  EXPECT_TRUE(has_line(text, R"(mqueuefs_sysv_objects{kind="msg"} 6)")) << "the other namespaces";
  EXPECT_TRUE(has_line(text, R"(mqueuefs_sysv_messages{namespace="1"} 8)"));
  EXPECT_TRUE(has_line(text, R"(mqueuefs_sysv_message_bytes{namespace="1"} 70)"));
  EXPECT_TRUE(has_line(text, R"(mqueuefs_sysv_memory_bytes{namespace="1"} 4096)"));
}

TEST(Metrics, HistogramsAddUp) {
  const std::string text = exposition(two_namespaces());
  EXPECT_TRUE(has_line(text, R"(mqueuefs_wait_seconds_bucket{namespace="1",le="0.0001"} 3)"));
  EXPECT_TRUE(has_line(text, R"(mqueuefs_wait_seconds_bucket{namespace="1",le="1"} 3)"));
  EXPECT_TRUE(has_line(text, R"(mqueuefs_wait_seconds_bucket{namespace="1",le="10"} 4)"));
  EXPECT_TRUE(has_line(text, R"(mqueuefs_wait_seconds_bucket{namespace="1",le="+Inf"} 5)"));
  EXPECT_TRUE(has_line(text, R"(mqueuefs_wait_seconds_count{namespace="1"} 5)"));
  EXPECT_TRUE(has_line(text, R"(mqueuefs_wait_seconds_sum{namespace="1"} 2.5)"));
}

TEST(Metrics, RoundsAreCountedByTheirLength) {
  LoopTimes times;
  for (const int64_t round_ns : {5'000, 50'000, 20'000'000, 3'000'000}) times.add(round_ns);
  times.add(5'000'000'000);
  EXPECT_EQ(times.rounds[0], 1U);
  EXPECT_EQ(times.rounds[1], 1U);
  EXPECT_EQ(times.rounds[3], 1U);
  EXPECT_EQ(times.rounds[4], 1U);
  EXPECT_EQ(times.rounds[6], 1U);
}

}  // namespace
}  // namespace mqueuefs::daemon
