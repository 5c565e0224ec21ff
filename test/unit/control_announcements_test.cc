// What threads announce of the queue that they create next, and what drops it.
#include "control/announcements.h"

#include <gtest/gtest.h>

namespace mqueuefs::control {
namespace {

constexpr ipc::TaskId kThread = 100;
constexpr uint64_t kConnection = 7;

TEST(Announcements, MatchingCreateTakesIt) {
  Announcements announcements;
  announcements.put(kThread, kConnection, "queue", {.attributes = {{5, 64}}});
  const auto taken = announcements.take(kThread, "queue");
  ASSERT_TRUE(taken.has_value());
  EXPECT_EQ(taken->attributes->maxmsg, 5);
  EXPECT_EQ(taken->attributes->msgsize, 64);
  EXPECT_FALSE(announcements.take(kThread, "queue").has_value()) << "once";
}

TEST(Announcements, AnotherNameDropsIt) {
  Announcements announcements;
  announcements.put(kThread, kConnection, "queue", {.attributes = {{5, 64}}});
  EXPECT_FALSE(announcements.take(kThread, "other").has_value());
  EXPECT_FALSE(announcements.take(kThread, "queue").has_value());
}

TEST(Announcements, AnotherThreadDoesNotGetIt) {
  Announcements announcements;
  announcements.put(kThread, kConnection, "queue", {.attributes = {{5, 64}}});
  EXPECT_FALSE(announcements.take(kThread + 1, "queue").has_value());
  EXPECT_TRUE(announcements.take(kThread, "queue").has_value());
}

TEST(Announcements, NextOneReplacesIt) {
  Announcements announcements;
  announcements.put(kThread, kConnection, "queue", {.attributes = {{5, 64}}});
  announcements.put(kThread, kConnection, "queue", {.attributes = {{6, 65}}});
  EXPECT_EQ(announcements.size(), 1u);
  EXPECT_EQ(announcements.take(kThread, "queue")->attributes->maxmsg, 6);
}

TEST(Announcements, WithdrawalAndTheConnectionsEndDropThem) {
  Announcements announcements;
  announcements.put(kThread, kConnection, "a", {.attributes = {{5, 64}}});
  announcements.drop(kThread);
  EXPECT_EQ(announcements.size(), 0u);
  announcements.put(kThread, kConnection, "a", {.attributes = {{5, 64}}});
  announcements.put(kThread + 1, kConnection + 1, "b", {.attributes = {{5, 64}}});
  announcements.drop_connection(kConnection);
  EXPECT_FALSE(announcements.take(kThread, "a").has_value());
  EXPECT_TRUE(announcements.take(kThread + 1, "b").has_value());
}

TEST(Announcements, WhoActsInAnothersPlaceCanUndoWhatItUnlinks) {
  Announcements announcements;
  announcements.put(kThread, 0, "queue", {.in_place_of = 42});
  announcements.put(kThread + 1, kConnection, "queue", {.attributes = {{5, 64}}});
  EXPECT_TRUE(announcements.is_in_place(kThread, "queue"));
  EXPECT_FALSE(announcements.is_in_place(kThread, "other"));
  EXPECT_FALSE(announcements.is_in_place(kThread + 1, "queue"));
  EXPECT_EQ(42, announcements.take(kThread, "queue")->in_place_of);
}

}  // namespace
}  // namespace mqueuefs::control
