// Who and where, messages, semaphores, and who waits. What *ctl(2) do is in sysv_control.cc.
#include "seccomp/sysv_calls.h"

#include <sched.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "seccomp/interrupted.h"

namespace mqueuefs::seccomp {

using ipc::sysv::Outcome;
using ipc::sysv::Waiter;

namespace {

// How soon a call that was signalled, or whose thread has ended, is out of its line.
constexpr int64_t kLookEveryMs = 250;
constexpr size_t kMostInterrupted = 4096;
constexpr int64_t kSecond_ns = 1'000'000'000;

// linux/time.h: __kernel_timespec.
struct TimeSpec {
  int64_t seconds;
  int64_t nanoseconds;
};

int as_int(uint64_t argument) { return static_cast<int>(static_cast<uint32_t>(argument)); }

bool is_same_call(const Notification& one, const Notification& other) {
  return one.number == other.number && std::ranges::equal(one.arguments, other.arguments);
}

}  // namespace

SysvCalls::SysvCalls(control::Reactor& reactor, Host& host, const Listener& listener, Targets& targets,
                     const std::string& namespace_name)
    : reactor_(reactor),
      host_(host),
      listener_(listener),
      targets_(targets),
      namespace_name_(namespace_name),
      look_timer_(reactor.make_timer([this] { drop_vanished(); })) {}

void SysvCalls::serve(Call which, const Notification& call) {
  if (which == Call::kShmAttach) {
    host_.note_impossible(call.task, "shmat: shared memory can't be attached from outside (run --via preload can)");
    return finish(call, ENOSYS);
  }
  if (which == Call::kShmDetach) return finish(call, EINVAL);  // so nothing is attached
  if (!targets_.meet(call) || is_over(which, call)) return;
  const auto who = host_.caller_of(call.task);
  if (!who) return finish(call, who.code());
  const auto place = host_.sysv().find_sysv_place(*who, namespace_name_);
  if (!place) return finish(call, place.code());
  ipc::IpcNamespace* const where = host_.sysv().namespace_at(*place);
  if (where == nullptr) return finish(call, EIDRM);
  auto rights = host_.sysv().sysv_rights(*who, *place);
  const ipc::sysv::Caller caller{who->process, call.task, who->uid, who->gid, rights.get()};
  Asked asked{call, *who, *where, where->sysv(), std::move(rights), caller};
  dispatch(which, asked);
}

void SysvCalls::dispatch(Call which, Asked& asked) {
  const Notification& call = asked.call;
  const auto key = static_cast<key_t>(as_int(call.arguments[0]));
  switch (which) {
    case Call::kMsgGet:
      return finish(call, asked.ipc.messages().get(asked.caller, key, as_int(call.arguments[1]), confirm(call)).code());
    case Call::kMsgSend:
      return message_send(asked);
    case Call::kMsgReceive:
      return message_receive(asked);
    case Call::kMsgControl:
      return message_control(asked);
    case Call::kSemGet:
      return finish(call, asked.ipc.semaphores()
                              .get(asked.caller, key, as_int(call.arguments[1]), as_int(call.arguments[2]), confirm(call))
                              .code());
    case Call::kSemOperate:
      return semaphores_operate(asked, 0);
    case Call::kSemTimedOperate:
      return semaphores_operate(asked, call.arguments[3]);
    case Call::kSemControl:
      return semaphores_control(asked);
    case Call::kShmGet:
      return finish(
          call,
          asked.ipc.memory().get(asked.caller, key, call.arguments[1], as_int(call.arguments[2]), confirm(call)).code());
    case Call::kShmControl:
      return memory_control(asked);
    default:
      return finish(call, ENOSYS);
  }
}

// do_msgsnd() of ipc/msg.c.
void SysvCalls::message_send(Asked& asked) {
  const Notification& call = asked.call;
  const int id = as_int(call.arguments[0]);
  const uint64_t address = call.arguments[1], size = call.arguments[2];
  const int flags = as_int(call.arguments[3]);
  const auto type = targets_.read_value<int64_t>(call, address);
  if (!type) return finish(call, EFAULT);
  if (size > asked.where.limits().msgmax || id < 0 || *type < 1) return finish(call, EINVAL);
  {
    // Before we take the memory: the limit of a namespace is its owner's.
    const auto charge = ipc::sysv::Charge::reserve(host_.budget(), asked.caller.euid, size);
    if (!charge) return finish(call, charge.code());
    payload_.resize(size);
  }
  if (!targets_.read(call, address + sizeof *type, payload_)) return finish(call, EFAULT);
  const auto send = [&](Waiter* waiter) {
    return asked.ipc.messages().send(asked.caller, id, *type, payload_, flags, waiter, confirm(call));
  };
  const auto sent = send(nullptr);
  if (sent.code() != EAGAIN || (flags & IPC_NOWAIT) != 0) return finish(call, sent.code());
  block(asked, std::nullopt, [&](Waiter& waiter) { return send(&waiter); });
}

void SysvCalls::message_receive(Asked& asked) {
  const Notification& call = asked.call;
  const int flags = as_int(call.arguments[4]);
  const auto receive = [&](Waiter* waiter) {
    return asked.ipc.messages().receive(
        asked.caller, as_int(call.arguments[0]), call.arguments[2], static_cast<int64_t>(call.arguments[3]), flags, waiter,
        [&](const ipc::sysv::Received& received) { return answer_message(targets_, call, received); });
  };
  const auto received = receive(nullptr);
  if (received.code() != EAGAIN) return finish(call, received.code());
  block(asked, std::nullopt, [&](Waiter& waiter) { return receive(&waiter); });
}

// do_semtimedop() of ipc/sem.c: timeout, how many, what; only then which array, and what the timeout says.
void SysvCalls::semaphores_operate(Asked& asked, uint64_t timeout_address) {
  const Notification& call = asked.call;
  const int id = as_int(call.arguments[0]);
  const uint64_t count = static_cast<uint32_t>(call.arguments[2]);
  std::optional<TimeSpec> timeout;
  if (timeout_address != 0) {
    const auto read = targets_.read_value<TimeSpec>(call, timeout_address);
    if (!read) return finish(call, EFAULT);
    timeout = *read;
  }
  if (count > asked.where.limits().semopm) return finish(call, E2BIG);
  if (count == 0) return finish(call, EINVAL);
  std::vector<sembuf> operations(count);
  if (!targets_.read(call, call.arguments[1], std::as_writable_bytes(std::span(operations)))) return finish(call, EFAULT);
  if (id < 0) return finish(call, EINVAL);
  std::optional<int64_t> timeout_ns;
  if (timeout) {
    if (timeout->seconds < 0 || timeout->nanoseconds < 0 || timeout->nanoseconds >= kSecond_ns)
      return finish(call, EINVAL);
    timeout_ns = timeout->seconds >= INT64_MAX / kSecond_ns ? INT64_MAX
                                                            : timeout->seconds * kSecond_ns + timeout->nanoseconds;
  }
  const auto has_flag = [&](int flag) {
    return std::ranges::any_of(operations, [flag](const sembuf& one) { return (one.sem_flg & flag) != 0; });
  };
  // Before it happens: afterwards the process may be gone, and nobody be told of it.
  if (has_flag(SEM_UNDO)) {
    const Status held = host_.sysv().hold(asked.caller.process, asked.where);
    if (!held) return finish(call, held.code());
  }
  const auto operate = [&](Waiter* waiter) {
    return asked.ipc.semaphores().operate(asked.caller, id, operations, waiter, confirm(call));
  };
  const auto done = operate(nullptr);
  const bool never_waits = timeout_ns == 0 || std::ranges::all_of(operations, [](const sembuf& one) {
                             return (one.sem_flg & IPC_NOWAIT) != 0;
                           });
  if (done.code() != EAGAIN || never_waits) return finish(call, done.code());
  block(asked, timeout_ns, [&](Waiter& waiter) { return operate(&waiter); });
}

// --- answers ---

ipc::sysv::Confirm SysvCalls::confirm(const Notification& call) {
  return [this, &call](int64_t result) { return targets_.answer(call, result).ok(); };
}

void SysvCalls::finish(const Notification& call, int code) {
  if (code != 0 && code != ESRCH) targets_.fail(call, code);
}

// --- who waits ---

void SysvCalls::block(Asked& asked, const std::optional<int64_t>& timeout_ns,
                      const std::function<Result<Outcome>(Waiter&)>& make) {
  const pid_t task = asked.call.task;
  std::optional<Targets::Position> position;
  if (const auto found = targets_.position(asked.call)) position = *found;
  auto fresh = std::make_unique<SysvBlockedCall>(
      SysvBlockedCall::Surroundings{listener_, targets_, reactor_}, asked.call, position, std::move(asked.rights),
      [this, task] { destroy_later(take(task)); });
  SysvBlockedCall& waiter = *fresh;
  if (blocked_.empty()) look_timer_->set_delay_ms(kLookEveryMs);
  blocked_.insert_or_assign(task, std::move(fresh));
  const auto outcome = make(waiter);
  if (outcome && *outcome == Outcome::kWaiting) {
    if (timeout_ns) waiter.set_timeout(*timeout_ns);
    return;
  }
  destroy_later(take(task));
  finish(asked.call, outcome.code());
}

std::unique_ptr<SysvBlockedCall> SysvCalls::take(pid_t task) {
  auto node = blocked_.extract(task);
  return node.empty() ? nullptr : std::move(node.mapped());
}

// It may be the model that has just ended its wait.
void SysvCalls::destroy_later(std::unique_ptr<SysvBlockedCall> call) {
  if (call == nullptr) return;
  if (over_.empty()) {
    reactor_.run_later([weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->over_.clear();
    });
  }
  over_.push_back(std::move(call));
}

void SysvCalls::remember(const SysvBlockedCall& call) {
  if (interrupted_.size() >= kMostInterrupted) interrupted_.clear();
  interrupted_.insert_or_assign(call.call().task, Left{call.call(), call.position()});
}

void SysvCalls::make_way(pid_t task) {
  const auto earlier = take(task);
  if (earlier == nullptr) return;
  targets_.note_interrupted(task);
  remember(*earlier);
}

void SysvCalls::drop_vanished() {
  std::vector<pid_t> gone;
  for (const auto& [task, call] : blocked_) {
    if (call->is_gone()) gone.push_back(task);
  }
  for (const pid_t task : gone) make_way(task);
  if (!blocked_.empty()) look_timer_->set_delay_ms(kLookEveryMs);
}

bool SysvCalls::is_over(Call which, const Notification& call) {
  const auto earlier = interrupted_.find(call.task);
  if (earlier == interrupted_.end()) return false;
  auto position = targets_.position(call);
  // He may be on his way to sleep still.
  for (int attempt = 0; !position && attempt < 100; ++attempt) {
    sched_yield();
    position = targets_.position(call);
  }
  if (!position) return false;
  const auto before = earlier->second.position.value_or(*position);
  if (!is_same_call(earlier->second.call, call) || *position != before) {
    // A handler's calls are made further down.
    if (position->stack >= before.stack) interrupted_.erase(earlier);
    return false;
  }
  const bool is_message_call = which == Call::kMsgSend || which == Call::kMsgReceive;
  const Interrupted how = interrupted(targets_, call, *position);
  if (targets_.is_late(call)) {
    finish(call, EFAULT);
    return true;
  }
  interrupted_.erase(earlier);
  switch (how) {
    case Interrupted::kRestarted:
      break;
    case Interrupted::kMadeAnew:
      return false;
    case Interrupted::kNotHandled:
      if (is_message_call) return false;
      break;
  }
  finish(call, EINTR);
  return true;
}

}  // namespace mqueuefs::seccomp
