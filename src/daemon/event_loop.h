// The daemon's one loop: epoll, timers, work for later.
//
// Descriptors are level-triggered. An event of a watch that was destroyed earlier in the same round is
// dropped: each place in the table has a generation, which epoll hands back. A callback that destroys its own
// watch goes on running on a reference of the loop's. Nothing is allocated for an event; a timer that is set
// again uses its old node.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "control/reactor.h"

namespace mqueuefs::daemon {

/// Thread rule: one thread. Outlives its watches and timers.
class EventLoop final : public control::Reactor {
 public:
  static Result<std::unique_ptr<EventLoop>> create();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;
  ~EventLoop() override;

  Result<std::unique_ptr<control::Watch>> watch(int fd, uint32_t events,
                                                std::function<void(uint32_t)> ready) override;
  std::unique_ptr<control::Timer> make_timer(std::function<void()> expired) override;
  void run_later(std::function<void()> work) override { later_.push_back(std::move(work)); }

  /// Runs until stop(). Returns early only if epoll itself fails.
  Status run();
  void stop() { stopped_ = true; }
  /// One round: waits at most `limit_ms` (-1: for ever) for something to happen and deals with it.
  Status run_once(int limit_ms);
  /// Does what was left for later, and what that leaves, without looking at anything else.
  void finish_work();

 private:
  class WatchHandle;
  class TimerHandle;
  using Timers = std::multimap<int64_t, TimerHandle*>;

  struct Place {
    std::shared_ptr<std::function<void(uint32_t)>> ready;  // null: free
    int fd = -1;
    uint32_t generation = 0;
  };

  EventLoop(UniqueFd epoll, UniqueFd clock) : epoll_(std::move(epoll)), clock_(std::move(clock)) {}
  void expire(Timers& timers, int64_t now);
  void arm_clock();
  void run_work();
  int wait_limit_ms(int limit_ms) const;

  const UniqueFd epoll_;
  const UniqueFd clock_;  // CLOCK_REALTIME
  std::unique_ptr<control::Watch> clock_watch_;
  std::vector<Place> places_;
  std::vector<uint32_t> free_places_;
  Timers realtime_;
  Timers delays_;  // CLOCK_MONOTONIC
  int64_t armed_ns_ = 0;
  std::vector<std::function<void()>> later_;
  bool stopped_ = false;
};

}  // namespace mqueuefs::daemon
