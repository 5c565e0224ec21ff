#include "daemon/event_loop.h"

#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/check.h"
#include "base/clock.h"

namespace mqueuefs::daemon {
namespace {

constexpr int64_t kSecond_ns = 1'000'000'000;

int64_t now_ns(int clock_id) {
  timespec now{};
  clock_gettime(clock_id, &now);
  return now.tv_sec * kSecond_ns + now.tv_nsec;
}

}  // namespace

class EventLoop::WatchHandle final : public control::Watch {
 public:
  WatchHandle(EventLoop& loop, uint32_t index, uint32_t events)
      : loop_(loop), index_(index), events_(events) {}
  ~WatchHandle() override {
    Place& place = loop_.places_[index_];
    epoll_ctl(loop_.epoll_.get(), EPOLL_CTL_DEL, place.fd, nullptr);
    place.ready.reset();
    place.fd = -1;
    place.generation++;
    loop_.free_places_.push_back(index_);
  }

  void set_events(uint32_t events) override {
    if (events == events_) return;
    events_ = events;
    const Place& place = loop_.places_[index_];
    epoll_event event{.events = events, .data = {.u64 = uint64_t{place.generation} << 32 | index_}};
    MQUEUEFS_CHECK(epoll_ctl(loop_.epoll_.get(), EPOLL_CTL_MOD, place.fd, &event) == 0);
  }

 private:
  EventLoop& loop_;
  const uint32_t index_;
  uint32_t events_;
};

class EventLoop::TimerHandle final : public control::Timer {
 public:
  TimerHandle(EventLoop& loop, std::function<void()> expired)
      : loop_(loop), expired_(std::make_shared<std::function<void()>>(std::move(expired))) {}
  ~TimerHandle() override { cancel(); }

  void set_realtime(int64_t deadline_ns) override {
    set(loop_.realtime_, deadline_ns);
  }
  void set_delay_ms(int64_t delay_ms) override {
    set(loop_.monotonic_, now_ns(CLOCK_MONOTONIC) + delay_ms * 1'000'000);
  }
  void cancel() override {
    // The clock stays armed for it: one idle wake-up costs less than arming it anew for each served wait.
    if (timers_ != nullptr) node_ = std::exchange(timers_, nullptr)->extract(place_);
  }

  std::shared_ptr<std::function<void()>> expired() const { return expired_; }

 private:
  void set(Clock& clock, int64_t when) {
    Timers& timers = clock.timers;
    cancel();
    if (node_.empty()) {
      place_ = timers.emplace(when, this);
    } else {
      node_.key() = when;
      place_ = timers.insert(std::move(node_));
    }
    timers_ = &timers;
    loop_.arm(clock);
  }

  EventLoop& loop_;
  const std::shared_ptr<std::function<void()>> expired_;
  Timers* timers_ = nullptr;  // null: not set
  Timers::iterator place_;
  Timers::node_type node_;  // kept for the next time
};

Result<std::unique_ptr<EventLoop>> EventLoop::create() {
  UniqueFd epoll(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll) return last_error("epoll_create1");
  std::unique_ptr<EventLoop> loop(new EventLoop(std::move(epoll)));
  if (const Status started = loop->start(loop->realtime_, CLOCK_REALTIME); !started) return started.error();
  if (const Status started = loop->start(loop->monotonic_, CLOCK_MONOTONIC); !started) return started.error();
  return loop;
}

Status EventLoop::start(Clock& clock, int clock_id) {
  // An absolute timer follows the clock when that is set, so TFD_TIMER_CANCEL_ON_SET is not needed.
  clock.fd = UniqueFd(timerfd_create(clock_id, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!clock.fd) return last_error("timerfd_create");
  auto watched = watch(clock.fd.get(), EPOLLIN, [this, &clock, clock_id](uint32_t) {
    uint64_t count;
    if (read(clock.fd.get(), &count, sizeof count) < 0) return;
    clock.armed_ns = 0;
    expire(clock.timers, now_ns(clock_id));
    arm(clock);
  });
  if (!watched) return watched.error();
  clock.watch = std::move(*watched);
  return {};
}

EventLoop::~EventLoop() {
  finish_work();
  realtime_.watch.reset();
  monotonic_.watch.reset();
}

void EventLoop::finish_work() {
  while (!later_.empty())
    run_work();
}

Result<std::unique_ptr<control::Watch>> EventLoop::watch(int fd, uint32_t events,
                                                         std::function<void(uint32_t)> ready) {
  uint32_t index = static_cast<uint32_t>(places_.size());
  if (free_places_.empty()) {
    places_.emplace_back();
  } else {
    index = free_places_.back();
    free_places_.pop_back();
  }
  Place& place = places_[index];
  epoll_event event{.events = events, .data = {.u64 = uint64_t{place.generation} << 32 | index}};
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) < 0) {
    const Error error = last_error("epoll_ctl");
    free_places_.push_back(index);
    return error;
  }
  place.fd = fd;
  place.ready = std::make_shared<std::function<void(uint32_t)>>(std::move(ready));
  return std::unique_ptr<control::Watch>(new WatchHandle(*this, index, events));
}

std::unique_ptr<control::Timer> EventLoop::make_timer(std::function<void()> expired) {
  return std::make_unique<TimerHandle>(*this, std::move(expired));
}

void EventLoop::arm(Clock& clock) {
  if (clock.timers.empty()) return;
  // A deadline in the past still has to fire; all zeros would disarm.
  const int64_t first_ns = std::max<int64_t>(clock.timers.begin()->first, 1);
  if (clock.armed_ns != 0 && clock.armed_ns <= first_ns) return;
  const itimerspec when{.it_interval = {}, .it_value = {first_ns / kSecond_ns, first_ns % kSecond_ns}};
  MQUEUEFS_CHECK(timerfd_settime(clock.fd.get(), TFD_TIMER_ABSTIME, &when, nullptr) == 0);
  clock.armed_ns = first_ns;
}

void EventLoop::expire(Timers& timers, int64_t now) {
  while (!timers.empty() && timers.begin()->first <= now) {
    TimerHandle* timer = timers.begin()->second;
    const auto expired = timer->expired();
    timer->cancel();
    (*expired)();
  }
}

void EventLoop::run_work() {
  std::vector<std::function<void()>> work;
  work.swap(later_);
  for (auto& item : work)
    item();
}

// As epoll_wait(2), which is polled first.
int EventLoop::wait(std::span<epoll_event> events, int limit_ms) {
  const auto look = [&](int limit) {
    return epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), limit);
  };
  const int64_t budget_ns = limit_ms != 0 ? busy_poll_.budget_ns() : 0;
  if (budget_ns == 0) return look(limit_ms);
  const int64_t end_ns = monotonic_now_ns() + budget_ns;
  do {
    if (const int count = look(0); count != 0) {
      busy_poll_.found_something();
      return count;
    }
  } while (monotonic_now_ns() < end_ns);
  busy_poll_.found_nothing();
  return look(limit_ms);
}

Status EventLoop::run_once(int limit_ms) {
  std::array<epoll_event, 64> events;
  const int count = wait(events, later_.empty() ? limit_ms : 0);
  if (count < 0 && errno != EINTR) return last_error("epoll_wait");
  const int64_t woken_ns = measured_ ? monotonic_now_ns() : 0;
  for (int i = 0; i < count; ++i) {
    const auto& event = events[static_cast<size_t>(i)];
    const Place& place = places_[static_cast<uint32_t>(event.data.u64)];
    if (place.ready == nullptr || place.generation != event.data.u64 >> 32) continue;
    const auto ready = place.ready;
    (*ready)(event.events);
  }
  if (!later_.empty()) run_work();
  if (measured_ && woken_ns != 0) times_.add(monotonic_now_ns() - woken_ns);
  return {};
}

Status EventLoop::run() {
  stopped_ = false;
  while (!stopped_) {
    if (const Status round = run_once(-1); !round) return round;
  }
  return {};
}

}  // namespace mqueuefs::daemon
