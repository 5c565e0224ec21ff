// A System V call that waits: the waiter (ipc/sysv/waiter.h) of a thread whose notification is unanswered.
//
// What blocked_call.h says of signals holds here, too: he is answered first, and has it only if he took the answer.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "control/reactor.h"
#include "ipc/sysv/waiter.h"
#include "seccomp/listener.h"
#include "seccomp/target.h"

namespace mqueuefs::seccomp {

/// Writes type and text where msgrcv(2) wants them, and answers it. True: he has it. A bad buffer is EFAULT, and the
/// message is lost, as do_msgrcv() of ipc/msg.c has it.
bool answer_message(Targets& targets, const Notification& call,
                    const ipc::sysv::Received& received);

/// Thread rule: the loop's. Owned by SysvCalls.
class SysvBlockedCall final : public ipc::sysv::Waiter {
 public:
  struct Surroundings {
    const Listener& listener;
    Targets& targets;
    control::Reactor& reactor;
  };
  /// `rights` are those of who waits. `over` is called once, maybe from deep inside the model: the owner may destroy this
  /// later, not in it.
  SysvBlockedCall(const Surroundings& surroundings, const Notification& call, std::optional<Targets::Position> position,
                  std::unique_ptr<ipc::sysv::CallerRights> rights, std::function<void()> over);
  ~SysvBlockedCall() override { cancel(); }

  /// EAGAIN comes so much later.
  void set_timeout(int64_t timeout_ns);

  const Notification& call() const { return call_; }
  /// Where its caller sleeps, if that is known.
  const std::optional<Targets::Position>& position() const { return position_; }
  bool is_gone() const { return !surroundings_.listener.is_valid(call_.id); }

 protected:
  bool offer(int code, const ipc::sysv::Received* received) override;

 private:
  const Surroundings surroundings_;
  const Notification call_;
  const std::optional<Targets::Position> position_;
  const std::unique_ptr<ipc::sysv::CallerRights> rights_;
  const std::function<void()> over_;
  std::unique_ptr<control::Timer> deadline_;
};

}  // namespace mqueuefs::seccomp
