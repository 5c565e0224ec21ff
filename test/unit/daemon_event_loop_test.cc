// The loop: what is removed is not called, timers in order.
#include "daemon/event_loop.h"

#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "base/clock.h"

namespace mqueuefs::daemon {
namespace {

class Loop : public testing::Test {
 protected:
  void SetUp() override {
    auto loop = EventLoop::create();
    ASSERT_TRUE(loop.ok());
    loop_ = std::move(*loop);
  }

  /// A descriptor that is readable until it is read.
  static UniqueFd readable() { return UniqueFd(eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK)); }

  /// Rounds until `done`; the test's own time limit is the watchdog.
  template <typename Done>
  void run_until(const Done& done) {
    while (!done())
      ASSERT_TRUE(loop_->run_once(100).ok());
  }

  std::unique_ptr<EventLoop> loop_;
};

TEST_F(Loop, ReadableDescriptorIsReported) {
  const UniqueFd fd = readable();
  int calls = 0;
  const auto watch = loop_->watch(fd.get(), EPOLLIN, [&](uint32_t events) {
    EXPECT_EQ(events, EPOLLIN);
    calls++;
  });
  ASSERT_TRUE(watch.ok());
  ASSERT_TRUE(loop_->run_once(0).ok());
  ASSERT_TRUE(loop_->run_once(0).ok());
  EXPECT_EQ(calls, 2) << "level-triggered";
  (*watch)->set_events(0);
  ASSERT_TRUE(loop_->run_once(0).ok());
  EXPECT_EQ(calls, 2);
  (*watch)->set_events(EPOLLIN);
  ASSERT_TRUE(loop_->run_once(0).ok());
  EXPECT_EQ(calls, 3);
}

TEST_F(Loop, CallbackMayEndItsOwnWatch) {
  const UniqueFd fd = readable();
  std::unique_ptr<control::Watch> watch;
  std::string text = "still here";
  int calls = 0;
  watch = std::move(*loop_->watch(fd.get(), EPOLLIN, [&, copy = text](uint32_t) {
    watch.reset();
    EXPECT_EQ(copy, text) << "what it captured lives until it returns";
    calls++;
  }));
  ASSERT_TRUE(loop_->run_once(0).ok());
  ASSERT_TRUE(loop_->run_once(0).ok());
  EXPECT_EQ(calls, 1);
}

TEST_F(Loop, WatchEndedInTheSameRoundIsNotCalled) {
  const UniqueFd first = readable();
  const UniqueFd second = readable();
  std::unique_ptr<control::Watch> watches[2];
  int calls = 0;
  // Whichever is called first ends the other.
  watches[0] = std::move(*loop_->watch(first.get(), EPOLLIN, [&](uint32_t) { calls++, watches[1].reset(); }));
  watches[1] =
      std::move(*loop_->watch(second.get(), EPOLLIN, [&](uint32_t) { calls++, watches[0].reset(); }));
  ASSERT_TRUE(loop_->run_once(0).ok());
  EXPECT_EQ(calls, 1);
}

TEST_F(Loop, PlaceTakenAnewInTheSameRoundIsNotMistaken) {
  const UniqueFd first = readable();
  const UniqueFd second = readable();
  const UniqueFd quiet(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  std::unique_ptr<control::Watch> watches[2];
  std::unique_ptr<control::Watch> fresh;
  int quiet_calls = 0;
  const auto replace_other = [&](size_t other) {
    watches[other].reset();
    fresh = std::move(*loop_->watch(quiet.get(), EPOLLIN, [&](uint32_t) { quiet_calls++; }));
  };
  watches[0] = std::move(*loop_->watch(first.get(), EPOLLIN, [&](uint32_t) { replace_other(1); }));
  watches[1] = std::move(*loop_->watch(second.get(), EPOLLIN, [&](uint32_t) { replace_other(0); }));
  ASSERT_TRUE(loop_->run_once(0).ok());
  EXPECT_EQ(quiet_calls, 0);
}

TEST_F(Loop, WorkForLaterRunsAfterTheCallback) {
  const UniqueFd fd = readable();
  std::vector<std::string> order;
  const auto watch = loop_->watch(fd.get(), EPOLLIN, [&](uint32_t) {
    loop_->run_later([&] { order.push_back("later"); });
    order.push_back("callback");
  });
  ASSERT_TRUE(loop_->run_once(0).ok());
  EXPECT_EQ(order, (std::vector<std::string>{"callback", "later"}));
}

TEST_F(Loop, WorkMayLeaveWork) {
  int runs = 0;
  loop_->run_later([&] {
    runs++;
    loop_->run_later([&] { runs++; });
  });
  run_until([&] { return runs == 2; });
}

TEST_F(Loop, RealtimeTimersExpireInOrderAndNotEarly) {
  std::vector<int> order;
  const int64_t start_ns = realtime_now_ns();
  const int64_t first_ns = start_ns + 5'000'000;
  const int64_t second_ns = start_ns + 20'000'000;
  const auto late = loop_->make_timer([&] {
    EXPECT_GE(realtime_now_ns(), second_ns);
    order.push_back(2);
  });
  const auto early = loop_->make_timer([&] {
    EXPECT_GE(realtime_now_ns(), first_ns);
    order.push_back(1);
  });
  late->set_realtime(second_ns);
  early->set_realtime(first_ns);
  run_until([&] { return order.size() == 2; });
  EXPECT_EQ(order, (std::vector<int>{1, 2}));
}

TEST_F(Loop, PastDeadlineExpires) {
  int calls = 0;
  const auto timer = loop_->make_timer([&] { calls++; });
  timer->set_realtime(0);
  run_until([&] { return calls == 1; });
  timer->set_realtime(-5);
  run_until([&] { return calls == 2; });
}

TEST_F(Loop, TimerSetAgainExpiresOnce) {
  int calls = 0;
  bool end = false;
  const auto timer = loop_->make_timer([&] { calls++; });
  const auto last = loop_->make_timer([&] { end = true; });
  for (int i = 0; i < 10; ++i)
    timer->set_delay_ms(1);
  timer->set_realtime(realtime_now_ns() + 1'000'000);
  last->set_delay_ms(30);
  run_until([&] { return end && calls > 0; });
  EXPECT_EQ(calls, 1);
}

TEST_F(Loop, CancelledTimerDoesNotExpire) {
  int calls = 0;
  bool end = false;
  const auto cancelled = loop_->make_timer([&] { calls++; });
  auto destroyed = loop_->make_timer([&] { calls++; });
  const auto last = loop_->make_timer([&] { end = true; });
  cancelled->set_realtime(realtime_now_ns() + 1'000'000);
  destroyed->set_delay_ms(1);
  last->set_delay_ms(20);
  cancelled->cancel();
  destroyed.reset();
  run_until([&] { return end; });
  EXPECT_EQ(calls, 0);
}

TEST_F(Loop, TimerMayDestroyItself) {
  std::unique_ptr<control::Timer> timer;
  int calls = 0;
  timer = loop_->make_timer([&] {
    timer.reset();
    calls++;
  });
  timer->set_delay_ms(0);
  run_until([&] { return calls == 1; });
}

TEST_F(Loop, StopEndsTheRun) {
  const auto timer = loop_->make_timer([&] { loop_->stop(); });
  timer->set_delay_ms(1);
  EXPECT_TRUE(loop_->run().ok());
}

}  // namespace
}  // namespace mqueuefs::daemon
