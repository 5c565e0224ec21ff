// Which signals end a wait that is about to begin.
#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>

#include <atomic>

#include "client/held_signals.h"

namespace mqueuefs::client {
namespace {

std::atomic<int> handled;

class HeldSignalsTest : public testing::Test {
 protected:
  void SetUp() override { handled = 0; }
  void TearDown() override { signal(SIGUSR1, SIG_DFL); }

  static void handle(int flags) {
    struct sigaction action {};
    action.sa_handler = [](int) { ++handled; };
    action.sa_flags = flags;
    sigaction(SIGUSR1, &action, nullptr);
  }
};

TEST_F(HeldSignalsTest, NothingCameNothingInterrupts) {
  sigset_t before, after;
  pthread_sigmask(SIG_SETMASK, nullptr, &before);
  HeldSignals held;
  EXPECT_FALSE(held.release());
  pthread_sigmask(SIG_SETMASK, nullptr, &after);
  for (int signo = 1; signo < 65; ++signo) EXPECT_EQ(sigismember(&before, signo), sigismember(&after, signo));
}

TEST_F(HeldSignalsTest, HandlerRunsAtTheEndAndInterrupts) {
  handle(0);
  HeldSignals held;
  pthread_kill(pthread_self(), SIGUSR1);
  EXPECT_EQ(handled, 0);
  EXPECT_TRUE(held.release());
  EXPECT_EQ(handled, 1);
  EXPECT_FALSE(held.release()) << "once";
}

TEST_F(HeldSignalsTest, HandlerThatRestartsDoesNotInterrupt) {
  handle(SA_RESTART);
  HeldSignals held;
  pthread_kill(pthread_self(), SIGUSR1);
  EXPECT_FALSE(held.release());
  EXPECT_EQ(handled, 1);
}

TEST_F(HeldSignalsTest, IgnoredOneDoesNotInterrupt) {
  signal(SIGUSR1, SIG_IGN);
  HeldSignals held;
  pthread_kill(pthread_self(), SIGUSR1);
  EXPECT_FALSE(held.release());
}

TEST_F(HeldSignalsTest, OneThatTheProgramHasBlockedStaysPending) {
  handle(0);
  sigset_t own;
  sigemptyset(&own);
  sigaddset(&own, SIGUSR1);
  pthread_sigmask(SIG_BLOCK, &own, nullptr);
  {
    HeldSignals held;
    pthread_kill(pthread_self(), SIGUSR1);
    EXPECT_FALSE(held.release());
    EXPECT_EQ(handled, 0);
  }
  pthread_sigmask(SIG_UNBLOCK, &own, nullptr);
  EXPECT_EQ(handled, 1);
}

}  // namespace
}  // namespace mqueuefs::client
