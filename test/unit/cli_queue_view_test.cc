// Rates, bars, ages, sorting: what `watch` and `list --activity` draw.
#include <gtest/gtest.h>

#include <cstring>

#include "cli/queue_view.h"

namespace mqueuefs::cli {
namespace {

constexpr int64_t kSecondNs = 1'000'000'000;

control::QueueEntry entry(const std::string& name, uint64_t inode, uint32_t messages = 0, uint32_t maxmsg = 10) {
  control::QueueEntry entry{};
  memcpy(entry.name, name.data(), name.size());
  entry.inode = inode;
  entry.messages = messages;
  entry.maxmsg = maxmsg;
  return entry;
}

TEST(QueueView, BarIsAsLongAsTheQueueIsFull) {
  EXPECT_EQ(depth_bar(0, 10, 10, Glyphs::kAscii), "..........");
  EXPECT_EQ(depth_bar(5, 10, 10, Glyphs::kAscii), "#####.....");
  EXPECT_EQ(depth_bar(10, 10, 10, Glyphs::kAscii), "##########");
  EXPECT_EQ(depth_bar(1, 65536, 4, Glyphs::kAscii), "#...") << "one message is seen";
  EXPECT_EQ(depth_bar(65535, 65536, 4, Glyphs::kAscii), "###.") << "not full yet";
  EXPECT_EQ(depth_bar(600, 10, 4, Glyphs::kAscii), "####") << "messages that were given back";
  EXPECT_EQ(depth_bar(1, 2, 2, Glyphs::kBlocks), "\u2588\u00B7");
  EXPECT_EQ(depth_bar(1, 0, 3, Glyphs::kAscii), "   ");
}

TEST(QueueView, HistoryEndsWithTheLatestLook) {
  EXPECT_EQ(history_line({}, 3, Glyphs::kAscii), "   ");
  EXPECT_EQ(history_line({0.0, 0.5, 1.0}, 5, Glyphs::kAscii), "   =@");
  EXPECT_EQ(history_line({1.0, 0.01, 0.5}, 2, Glyphs::kAscii), ".=");
  EXPECT_EQ(history_line({1.0}, 1, Glyphs::kBlocks), "\u2588");
}

TEST(QueueView, NumbersAreShort) {
  EXPECT_EQ(rate_text(0), "0");
  EXPECT_EQ(rate_text(0.5), "0.5");
  EXPECT_EQ(rate_text(12.3), "12");
  EXPECT_EQ(rate_text(999.6), "1.0k");
  EXPECT_EQ(rate_text(34'500'000), "34M");
  EXPECT_EQ(duration_text(-1), "-");
  EXPECT_EQ(duration_text(59), "59s");
  EXPECT_EQ(duration_text(125), "2m05s");
  EXPECT_EQ(duration_text(3720), "1h02m");
  EXPECT_EQ(duration_text(3 * 86400 + 4 * 3600), "3d04h");
  EXPECT_EQ(fitted("name", 6), "name  ");
  EXPECT_EQ(fitted("a long name", 6), "a lon~");
  EXPECT_EQ(fitted("\u00e4\u00f6\u00fc", 3), "\u00e4\u00f6\u00fc");
  EXPECT_EQ(fitted("\u00e4\u00f6\u00fc\u00df", 3), "\u00e4\u00f6~");
}

TEST(QueueView, SaysWhoIsBlockedAndForHowLong) {
  auto queue = entry("q", 2);
  EXPECT_EQ(blocked_text(queue, 100 * kSecondNs), "-");
  queue.waiting_receivers = 2;
  queue.blocked[0] = {123, 1, 88 * kSecondNs};
  EXPECT_EQ(blocked_text(queue, 100 * kSecondNs), "2 receivers 12s (pid 123)");
  queue.blocked[0] = {0, 1, 200 * kSecondNs};
  EXPECT_EQ(blocked_text(queue, 100 * kSecondNs), "2 receivers 0s") << "the clock was set back; not visible";
  queue.oldest_s = 97;
  EXPECT_EQ(oldest_text(queue, 100), "3s");
}

TEST(QueueHistory, RatesAreThoseSinceTheLastLook) {
  QueueHistory history(3);
  auto queue = entry("q", 2, 1);
  queue.sent = 100;
  queue.received = 99;
  EXPECT_EQ(history.update({queue}, kSecondNs).at(0).sends_per_s, 0) << "one look says nothing of a rate";
  queue.sent = 120;
  const auto rows = history.update({queue}, 3 * kSecondNs);
  EXPECT_EQ(rows.at(0).sends_per_s, 10);
  EXPECT_EQ(rows.at(0).receives_per_s, 0);
  EXPECT_EQ(rows.at(0).depths.size(), 2U);
  queue.sent = 5;
  EXPECT_EQ(history.update({queue}, 4 * kSecondNs).at(0).sends_per_s, 0) << "a falsified count goes backwards";
  for (int i = 5; i < 10; ++i) history.update({queue}, i * kSecondNs);
  EXPECT_EQ(history.update({queue}, 10 * kSecondNs).at(0).depths.size(), 3U);
}

TEST(QueueHistory, AQueueMadeAnewIsAnotherOne) {
  QueueHistory history(3);
  auto queue = entry("q", 2, 1);
  queue.sent = 100;
  history.update({queue}, kSecondNs);
  history.update({}, 2 * kSecondNs);
  queue.sent = 200;
  const auto rows = history.update({queue}, 3 * kSecondNs);
  EXPECT_EQ(rows.at(0).sends_per_s, 0);
  EXPECT_EQ(rows.at(0).depths.size(), 1U);
}

std::string order(std::vector<QueueRow> rows, SortKey key) {
  sort_rows(rows, key, 100 * kSecondNs);
  std::string names;
  for (const QueueRow& row : rows) names += row.entry.name;
  return names;
}

TEST(QueueView, SortsTheMostFirst) {
  std::vector<QueueRow> rows(3);
  rows[0].entry = entry("c", 2, 9, 1000);
  rows[1].entry = entry("a", 3, 5, 10);
  rows[2].entry = entry("b", 4, 0, 10);
  rows[0].sends_per_s = 1;
  rows[2].receives_per_s = 5;
  rows[0].entry.oldest_s = 90;
  rows[1].entry.oldest_s = 50;
  rows[2].entry.blocked[0] = {1, 1, 20 * kSecondNs};
  EXPECT_EQ(order(rows, SortKey::kName), "abc");
  EXPECT_EQ(order(rows, SortKey::kDepth), "acb");
  EXPECT_EQ(order(rows, SortKey::kMessages), "cab");
  EXPECT_EQ(order(rows, SortKey::kRate), "bca");
  EXPECT_EQ(order(rows, SortKey::kOldest), "acb");
  EXPECT_EQ(order(rows, SortKey::kBlocked), "bac");
}

TEST(QueueView, FilterIsAPartOrAPattern) {
  EXPECT_TRUE(matches("jobs", ""));
  EXPECT_TRUE(matches("jobs", "ob"));
  EXPECT_FALSE(matches("jobs", "jobz"));
  EXPECT_TRUE(matches("jobs", "j*s"));
  EXPECT_TRUE(matches("jobs", "/j*"));
  EXPECT_FALSE(matches("jobs", "*x"));
}

}  // namespace
}  // namespace mqueuefs::cli
