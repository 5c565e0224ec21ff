// The daemon's one loop: epoll, timers, work for later.
//
// Descriptors are level-triggered. An event of a watch that was destroyed earlier in the same round is
// dropped: each place in the table has a generation, which epoll hands back. A callback that destroys its own
// watch goes on running on a reference of the loop's. Nothing is allocated for an event; a timer that is set
// again uses its old node.
#pragma once

#include <sys/epoll.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "control/reactor.h"
#include "daemon/busy_poll.h"
#include "daemon/metrics.h"

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
  /// Measures from now on how long rounds take.
  void measure() { measured_ = true; }
  const LoopTimes& times() const { return times_; }
  /// One round: waits at most `limit_ms` (-1: for ever) for something to happen and deals with it.
  Status run_once(int limit_ms);
  /// Does what was left for later, and what that leaves, without looking at anything else.
  void finish_work();

 private:
  class WatchHandle;
  class TimerHandle;
  using Timers = std::multimap<int64_t, TimerHandle*>;

  /// The timers of one clock, and a descriptor that becomes readable when the first is due. A limit of epoll_wait
  /// would be set up and taken down in each round.
  struct Clock {
    UniqueFd fd;
    Timers timers;
    int64_t armed_ns = 0;  // 0: not armed
    std::unique_ptr<control::Watch> watch;
  };

  struct Place {
    std::shared_ptr<std::function<void(uint32_t)>> ready;  // null: free
    int fd = -1;
    uint32_t generation = 0;
  };

  explicit EventLoop(UniqueFd epoll) : epoll_(std::move(epoll)) {}
  Status start(Clock& clock, int clock_id);
  void arm(Clock& clock);
  void expire(Timers& timers, int64_t now);
  void run_work();
  int wait(std::span<epoll_event> events, int limit_ms);

  const UniqueFd epoll_;
  BusyPoll busy_poll_;
  std::vector<Place> places_;
  std::vector<uint32_t> free_places_;
  Clock realtime_;
  Clock monotonic_;
  std::vector<std::function<void()>> later_;
  bool stopped_ = false;
  bool measured_ = false;
  LoopTimes times_;
};

}  // namespace mqueuefs::daemon
