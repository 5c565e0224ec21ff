// How long the loop polls before it sleeps.
#include "daemon/busy_poll.h"

#include <gtest/gtest.h>

namespace mqueuefs::daemon {
namespace {

// Sleeps until the poll is tried, of at most `most`. -1: it is not.
int sleeps_until_a_try(BusyPoll& poll, int most) {
  for (int sleeps = 0; sleeps <= most; ++sleeps) {
    if (poll.budget_ns() > 0) return sleeps;
  }
  return -1;
}

TEST(BusyPoll, APollThatPaysGoesOnAndGrowsToABound) {
  BusyPoll poll;
  ASSERT_GE(sleeps_until_a_try(poll, 100), 0);
  int64_t budget_ns = 0;
  for (int round = 0; round < 20; ++round) {
    poll.found_something();
    ASSERT_GE(poll.budget_ns(), budget_ns);
    budget_ns = poll.budget_ns();
  }
  EXPECT_LE(budget_ns, 100'000);
  poll.found_something();
  EXPECT_EQ(poll.budget_ns(), budget_ns);
}

TEST(BusyPoll, APollThatFindsNothingEndsAndIsTriedEverMoreSeldom) {
  BusyPoll poll;
  int sleeps = sleeps_until_a_try(poll, 100);
  ASSERT_GE(sleeps, 0);
  for (int round = 0; round < 10; ++round) {
    poll.found_nothing();
    const int next = sleeps_until_a_try(poll, 2000);
    ASSERT_GE(next, sleeps);
    sleeps = next;
  }
  EXPECT_EQ(sleeps, 1024);
}

// A loop that has become idle polls a few times, for a moment, and then sleeps.
TEST(BusyPoll, AfterTheLastRequestItEnds) {
  BusyPoll poll;
  ASSERT_GE(sleeps_until_a_try(poll, 100), 0);
  for (int round = 0; round < 20; ++round) poll.found_something();
  int polls = 0;
  while (poll.budget_ns() > 0 && polls < 100) {
    poll.found_nothing();
    ++polls;
  }
  EXPECT_LE(polls, 5);
}

}  // namespace
}  // namespace mqueuefs::daemon
