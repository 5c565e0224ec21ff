#include "differential/lockstep.h"

#include <sys/ipc.h>
#include <time.h>

#include "differential/sysv_operation.h"

namespace mqueuefs::differential {
namespace {

constexpr int64_t kPatienceMs = 3000;
constexpr int kLookUs = 150;         // for an actor that may have gone to sleep
constexpr int kPatienceUs = 20'000;  // for one who will finish

int64_t now_ms() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000 + now.tv_nsec / 1'000'000;
}

std::string actor_name(int actor) {
  return "process " + std::to_string(actor / kMaxThreads) + " thread " + std::to_string(actor % kMaxThreads);
}

// Ends in this step, without an outcome.
bool ends_with(int actor, const Operation& o) {
  if (o.kind == Kind::kExec) return actor == o.actor + 1;
  return (o.kind == Kind::kKill || o.kind == Kind::kExit) && actor / kMaxThreads == o.actor / kMaxThreads;
}

}  // namespace

bool World::allows(const Operation& operation) const {
  const Process& process = processes[operation.actor / kMaxThreads];
  switch (operation.kind) {
    case Kind::kSpawn:
      return !processes[operation.other].alive;
    case Kind::kFork:
      return is_ready(operation.actor) && !processes[operation.other].alive;
    case Kind::kThread:
      return is_ready(operation.actor) && operation.actor % kMaxThreads == 0 && !process.has_second_thread;
    case Kind::kExec:
      return is_ready(operation.actor) && operation.actor % kMaxThreads == 0;
    case Kind::kKill:
      return process.alive;
    case Kind::kSignal:
      return exists(operation.actor) && (operation.value[0] == 0 || may_restart(operation.actor));
    // Threads with effective uids of their own are another matter.
    case Kind::kSeteuid:
      return is_ready(operation.actor) && !process.has_second_thread;
    // Who waits in these two calls looks again by himself when he is woken, so who of several is first is the
    // scheduler's choice in the kernel.
    case Kind::kMsgsnd:
      return is_ready(operation.actor) &&
             ((operation.value[3] & IPC_NOWAIT) != 0 || count_blocked_in({Kind::kMsgsnd}) == 0);
    case Kind::kMsgctl:
      return is_ready(operation.actor) &&
             (!sets_queue(operation) || count_blocked_in({Kind::kMsgsnd, Kind::kMsgrcv}) <= 1);
    default:
      return is_ready(operation.actor);
  }
}

bool Lockstep::begin(bool sysv) {
  world_ = {};
  step_ = 0;
  for (Sandbox* sandbox : {oracle_, subject_})
    if (sandbox != nullptr && !(sandbox->reset(sysv) && sandbox->lead(Kind::kSpawn, 0, 0))) return false;
  world_.processes[0].alive = true;
  return true;
}

Lockstep::Begun Lockstep::start(Sandbox& sandbox, const Operation& o) {
  switch (o.kind) {
    case Kind::kSpawn:
      return {sandbox.lead(Kind::kSpawn, 0, o.other)};
    case Kind::kKill:
      // A daemon must have heard of it, too.
      return {sandbox.lead(Kind::kKill, 0, o.actor / kMaxThreads) &&
              (&sandbox != subject_ || sandbox.lead(Kind::kList, 0, 0))};
    case Kind::kSignal:
      return {sandbox.lead(Kind::kSignal, o.actor, 0, o.value[0])};
    case Kind::kExit:
      sandbox.post(o.actor, o, static_cast<uint32_t>(step_));
      return {sandbox.lead(Kind::kExit, 0, o.actor / kMaxThreads) &&
              (&sandbox != subject_ || sandbox.lead(Kind::kList, 0, 0))};
    case Kind::kTakeSignals:
      // They may be on their way where a daemon sends them: it has sent them once it answers this.
      if (&sandbox == subject_ && !sandbox.lead(Kind::kList, 0, 0)) return {false};
      [[fallthrough]];
    default:
      sandbox.post(o.actor, o, static_cast<uint32_t>(step_));
      return {true, o.actor};
  }
}

bool Lockstep::settle_oracle(const Operation& o, int posted, Outcomes& outcomes) {
  const int64_t deadline = now_ms() + kPatienceMs;
  const bool ends = !may_block(o.kind) || ends_soon(o);
  for (bool first = true;; first = false) {
    const uint32_t bell = oracle_->bell();
    // The one who was asked is waited for before anybody else is looked at: who is woken is woken by then.
    bool settled = true;
    if (posted >= 0 && outcomes.count(posted) == 0) {
      if (oracle_->is_done(posted)) {
        outcomes[posted] = oracle_->outcome(posted);
      } else if (ends || first || !oracle_->is_asleep(posted)) {
        settled = false;
      }
    }
    for (int actor = 0; settled && actor < kActors; ++actor) {
      if (!world_.blocked[actor] || !world_.exists(actor) || outcomes.count(actor) != 0 || actor == posted ||
          ends_with(actor, o))
        continue;
      if (oracle_->is_done(actor)) {
        outcomes[actor] = oracle_->outcome(actor);
      } else if (!oracle_->is_asleep(actor)) {
        settled = false;
      }
    }
    if (settled) return true;
    if (now_ms() > deadline) return false;
    oracle_->wait(bell, ends ? kPatienceUs : kLookUs);
  }
}

std::optional<Difference> Lockstep::hold_subject(const Operation& o, int posted, const Outcomes& expected) {
  const int64_t deadline = now_ms() + kPatienceMs;
  for (const auto& [actor, outcome] : expected) {
    bool waited = false;
    for (uint32_t bell = subject_->bell(); !subject_->is_done(actor); bell = subject_->bell()) {
      if (waited && subject_->is_dead(actor))
        return difference(actor_name(actor) + " died; expected: " + outcome);
      if (now_ms() > deadline)
        return difference(actor_name(actor) + " does not finish; expected: " + outcome);
      // Looked at only after a while: it costs as much as a step.
      subject_->wait(bell, kPatienceUs);
      waited = true;
    }
    const std::string got = subject_->outcome(actor);
    if (got != outcome)
      return difference(actor_name(actor) + "\n  expected: " + outcome + "\n  got:      " + got);
  }
  for (int actor = 0; actor < kActors; ++actor) {
    const bool is_blocked = world_.exists(actor) && (world_.blocked[actor] || actor == posted);
    if (!is_blocked || expected.count(actor) != 0 || ends_with(actor, o)) continue;
    // Who has just gone to sleep must have got there, before the next step is asked for.
    const bool moved = actor == posted || (o.kind == Kind::kSignal && o.actor == actor);
    while (moved && !subject_->is_done(actor) && !subject_->is_settled(actor)) {
      if (subject_->is_dead(actor)) return difference(actor_name(actor) + " died; expected: it is blocked");
      if (now_ms() > deadline) return difference(actor_name(actor) + " neither finishes nor sleeps");
    }
    if (subject_->is_done(actor))
      return difference(actor_name(actor) +
                        "\n  expected: it is blocked\n  got:      " + subject_->outcome(actor));
  }
  return {};
}

void Lockstep::update_world(const Operation& o, const Outcomes& outcomes) {
  World::Process& process = world_.processes[o.actor / kMaxThreads];
  const auto end_process = [&](int number) {
    world_.processes[number] = {};
    for (int thread = 0; thread < kMaxThreads; ++thread)
      world_.blocked[number * kMaxThreads + thread] = false;
  };
  const auto found = outcomes.find(o.actor);
  const bool opened = found != outcomes.end() && found->second.rfind("descriptor", 0) == 0;
  switch (o.kind) {
    case Kind::kSpawn:
      world_.processes[o.other] = {};
      world_.processes[o.other].alive = true;
      break;
    case Kind::kFork:
      world_.processes[o.other] = process;
      world_.processes[o.other].has_second_thread = false;
      break;
    case Kind::kThread:
      process.has_second_thread = true;
      break;
    case Kind::kExec:
      process.has_second_thread = false;
      world_.blocked[o.actor + 1] = false;
      break;
    case Kind::kExit:
    case Kind::kKill:
      end_process(o.actor / kMaxThreads);
      break;
    case Kind::kOpen:
    case Kind::kOpenFile:
      process.open[o.slot] = opened;
      break;
    case Kind::kDup:
      process.open[o.other] = opened;
      break;
    case Kind::kClose:
    case Kind::kMqClose:
      if (o.slot < kSlots) process.open[o.slot] = false;
      break;
    default:
      if (may_block(o.kind) && outcomes.count(o.actor) == 0) {
        world_.blocked[o.actor] = true;
        world_.blocked_in[o.actor] = o.kind;
      }
      break;
  }
  for (const auto& [actor, outcome] : outcomes)
    world_.blocked[actor] = false;
  const bool done = found != outcomes.end() && found->second.rfind("-1", 0) != 0;
  if (is_sysv(o.kind) && o.slot < kObjects && done) {
    if (makes_object(o.kind)) world_.objects[sort_of(o.kind)][o.slot] = true;
    if (removes_object(o)) world_.objects[sort_of(o.kind)][o.slot] = false;
  }
  if (o.kind == Kind::kShmat && done) process.attached[o.other] = true;
  if (o.kind == Kind::kShmdt) process.attached[o.other] = false;
  if (o.kind == Kind::kExec) std::fill(std::begin(process.attached), std::end(process.attached), false);
  switch (o.kind) {
    case Kind::kOpen:
    case Kind::kOpenFile:
    case Kind::kMqClose:
    case Kind::kClose:
    case Kind::kDup:
    case Kind::kDup2:
    case Kind::kSetattr:
    case Kind::kSetNonblock:
      world_.disturbed = true;
      break;
    default:
      break;
  }
  if (std::none_of(std::begin(world_.blocked), std::end(world_.blocked), [](bool is) { return is; }))
    world_.disturbed = false;
}

std::optional<Difference> Lockstep::step(const Operation& o, Outcomes& outcomes) {
  ++step_;
  const Begun here = start(*oracle_, o);
  const Begun there = subject_ != nullptr ? start(*subject_, o) : Begun{};
  if (!here.ok || !settle_oracle(o, here.posted, outcomes)) return difference("the oracle hangs");
  if (!there.ok) return difference("hangs");
  std::optional<Difference> found;
  if (subject_ != nullptr) found = hold_subject(o, here.posted, outcomes);
  update_world(o, outcomes);
  return found;
}

std::optional<Difference> Lockstep::follow(const Operation& o, const Outcomes& expected) {
  ++step_;
  const Begun there = start(*subject_, o);
  if (!there.ok) return difference("hangs");
  auto found = hold_subject(o, there.posted, expected);
  update_world(o, expected);
  return found;
}

}  // namespace mqueuefs::differential
