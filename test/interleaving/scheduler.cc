#include "scheduler.h"

namespace mqueuefs::testing {
namespace {

constexpr size_t kStackSize = 128 * 1024;
constexpr uint32_t kEndless = 2'000'000;  // steps

}  // namespace

Scheduler* Scheduler::active_ = nullptr;

std::string Schedule::text() const {
  std::string text = "order";
  for (const uint32_t fiber : order) text += " " + std::to_string(fiber);
  for (const Preemption& one : preemptions) {
    text += ", at " + std::to_string(one.step) + " to " + std::to_string(one.fiber);
  }
  if (death.step != 0) text += ", death of " + std::to_string(death.fiber) + " at " + std::to_string(death.step);
  if (signal.step != 0) text += ", signal to " + std::to_string(signal.fiber) + " at " + std::to_string(signal.step);
  return text;
}

Scheduler::Scheduler(uint32_t fibers) : fibers_(fibers) {
  for (Fiber& fiber : fibers_) {
    fiber.stack = std::make_unique<std::byte[]>(kStackSize);
  }
}

Scheduler::~Scheduler() = default;

void Scheduler::enter() {
  Scheduler* self = active_;
  Fiber& fiber = self->fibers_[self->current_];
  (*fiber.body)();
  fiber.done = true;
  self->leave();
}

bool Scheduler::can_go_on(uint32_t index) {
  Fiber& fiber = fibers_[index];
  if (fiber.done || fiber.dead) return false;
  return fiber.ready == nullptr || fiber.gave_up || (*fiber.ready)();
}

// Who works next. False: nobody.
bool Scheduler::pick() {
  if (preempted_) {
    preempted_ = false;
    current_ = schedule_->preemptions[next_preemption_++].fiber;
    if (can_go_on(current_)) return true;
  }
  for (size_t tried = 0; tried < fibers_.size(); ++tried) {
    const uint32_t fiber = schedule_->order[turn_++ % fibers_.size()];
    if (!can_go_on(fiber)) continue;
    current_ = fiber;
    return true;
  }
  // All that are left wait.
  for (const uint32_t fiber : schedule_->order) {
    if (fibers_[fiber].done || fibers_[fiber].dead) continue;
    fibers_[fiber].gave_up = true;
    current_ = fiber;
    return true;
  }
  return false;
}

bool Scheduler::run(const Schedule& schedule, const std::vector<Body>& bodies, const Body& handler) {
  active_ = this;
  schedule_ = &schedule;
  handler_ = &handler;
  next_preemption_ = steps_ = turn_ = 0;
  clock_ = 0;
  workers_.clear();
  handled_ = preempted_ = endless_ = false;
  for (uint32_t index = 0; index < fibers_.size(); ++index) {
    Fiber& fiber = fibers_[index];
    fiber.body = &bodies[index];
    fiber.ready = nullptr;
    fiber.gave_up = fiber.done = fiber.dead = fiber.in_handler = false;
    fiber.steps = 0;
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.get();
    fiber.context.uc_stack.ss_size = kStackSize;
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, &Scheduler::enter, 0);
  }
  while (!endless_ && pick()) {
    in_fiber_ = true;
    swapcontext(&scheduler_, &fibers_[current_].context);
    in_fiber_ = false;
  }
  active_ = nullptr;
  return !endless_;
}

bool Scheduler::wait_until(const std::function<bool()>& ready) {
  Fiber& me = fibers_[current_];
  if (me.in_handler) return ready();
  me.gave_up = false;
  me.ready = &ready;
  leave();
  me.ready = nullptr;
  return !me.gave_up;
}

void Scheduler::step() {
  if (active_ != nullptr && active_->in_fiber_) active_->on_step();
}

void Scheduler::on_step() {
  Fiber& me = fibers_[current_];
  const uint32_t who = current_;
  ++steps_;
  workers_.push_back(static_cast<uint8_t>(who));
  if (!me.in_handler) ++me.steps;
  if (steps_ > kEndless) {
    endless_ = true;
    leave();
  }
  if (schedule_->death.step != 0 && schedule_->death.fiber == who && schedule_->death.step == me.steps) {
    me.dead = true;
    leave();
  }
  const Fate& signal = schedule_->signal;
  if (!handled_ && signal.step != 0 && signal.fiber == who && signal.step == me.steps) {
    handled_ = true;
    me.in_handler = true;
    (*handler_)();
    me.in_handler = false;
  }
  if (next_preemption_ < schedule_->preemptions.size() &&
      schedule_->preemptions[next_preemption_].step == steps_) {
    preempted_ = true;
    leave();
  }
}

}  // namespace mqueuefs::testing

extern "C" void mqueuefs_model_step() { mqueuefs::testing::Scheduler::step(); }
