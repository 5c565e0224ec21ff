// What a front door needs of an event loop. The daemon has the loop (daemon/event_loop.h).
//
// Thread rule: all of it belongs to the loop's thread. Callbacks run from the loop only, never from inside a
// call made here. A callback may destroy any watch or timer, its own included: nothing stale is called after.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "base/result.h"

namespace mqueuefs::control {

/// A descriptor that is watched, until this object goes. Does not own the descriptor, which must outlive it.
class Watch {
 public:
  virtual ~Watch() = default;
  /// EPOLLIN, EPOLLOUT; level-triggered. EPOLLHUP and EPOLLERR are always reported. See epoll_ctl(2).
  virtual void set_events(uint32_t events) = 0;
};

/// Calls back once each time it was set.
class Timer {
 public:
  virtual ~Timer() = default;
  /// At an absolute CLOCK_REALTIME, also if the clock is set.
  virtual void set_realtime(int64_t deadline_ns) = 0;
  /// After a delay, for housekeeping.
  virtual void set_delay_ms(int64_t delay_ms) = 0;
  virtual void cancel() = 0;
};

class Reactor {
 public:
  virtual ~Reactor() = default;
  /// Errors: those of epoll_ctl(2).
  virtual Result<std::unique_ptr<Watch>> watch(int fd, uint32_t events,
                                               std::function<void(uint32_t)> ready) = 0;
  virtual std::unique_ptr<Timer> make_timer(std::function<void()> expired) = 0;
  /// Runs `work` when the callback that is running now has returned to the loop.
  virtual void run_later(std::function<void()> work) = 0;
};

}  // namespace mqueuefs::control
