// Runs a few fibers of one thread, of which at each moment one works; decides before each access to shared memory
// whether another goes on. A run is told by its Schedule alone, so it can be repeated.
//
// A fiber goes on until it ends, waits, dies, or its schedule preempts it. Then the next in the schedule's
// order goes on, around and around.
#pragma once

#include <ucontext.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace mqueuefs::testing {

/// At which step of the whole run the one that works is interrupted, and who goes on.
struct Preemption {
  uint32_t step = 0;
  uint32_t fiber = 0;
};

/// At which of its own steps something happens to a fiber. Step 0: it does not.
struct Fate {
  uint32_t fiber = 0;
  uint32_t step = 0;
};

struct Schedule {
  std::vector<uint32_t> order;  ///< of the fibers, where nothing else decides
  std::vector<Preemption> preemptions;
  Fate death;   ///< it does not go on from there
  Fate signal;  ///< its handler runs there

  std::string text() const;
};

class Scheduler {
 public:
  using Body = std::function<void()>;

  explicit Scheduler(uint32_t fibers);
  ~Scheduler();
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  /// Runs all until none can go on. False: it never ended. `handler` is what Schedule::signal runs.
  bool run(const Schedule& schedule, const std::vector<Body>& bodies, const Body& handler);

  /// Of the last run.
  uint32_t steps() const { return steps_; }
  uint32_t steps_of(uint32_t fiber) const { return fibers_[fiber].steps; }
  bool died(uint32_t fiber) const { return fibers_[fiber].dead; }
  bool handled() const { return handled_; }
  /// Who worked at a step, from 1.
  uint32_t worker(uint32_t step) const { return workers_[step - 1]; }

  // --- called by fibers ---

  /// Goes on when `ready` says so; or, false, when nobody else can go on.
  bool wait_until(const std::function<bool()>& ready);
  uint32_t current() const { return current_; }
  /// How many handlers are on top of each other in the current fiber.
  uint32_t level() const { return fibers_[current_].in_handler ? 1 : 0; }
  /// Grows; for who wants to know what was before what.
  uint64_t now() { return ++clock_; }

  static void step();

 private:
  struct Fiber {
    ucontext_t context;
    std::unique_ptr<std::byte[]> stack;
    const Body* body = nullptr;
    const std::function<bool()>* ready = nullptr;
    bool gave_up = false;
    bool done = false;
    bool dead = false;
    bool in_handler = false;
    uint32_t steps = 0;
  };

  static void enter();
  void on_step();
  void leave() { swapcontext(&fibers_[current_].context, &scheduler_); }
  bool can_go_on(uint32_t fiber);
  bool pick();

  static Scheduler* active_;
  std::vector<Fiber> fibers_;
  std::vector<uint8_t> workers_;
  ucontext_t scheduler_;
  const Schedule* schedule_ = nullptr;
  const Body* handler_ = nullptr;
  uint32_t current_ = 0;
  uint32_t next_preemption_ = 0;
  uint32_t turn_ = 0;  ///< in the schedule's order
  uint32_t steps_ = 0;
  uint64_t clock_ = 0;
  bool in_fiber_ = false;
  bool handled_ = false;
  bool preempted_ = false;
  bool endless_ = false;
};

}  // namespace mqueuefs::testing
