// The System V calls of one listener, answered through ipc/sysv. See sysvipc(7).
//
// Who calls is looked up anew each time: a system call that changes a thread's user or namespace is not notified. Each
// change is answered before it is made (ipc::sysv::Confirm), so that no signal makes it happen twice or get lost.
//
// A segment of shared memory can be made, looked at and removed, but not attached: nobody but the task itself can map
// something into its memory.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "control/reactor.h"
#include "ipc/ipc_namespace.h"
#include "seccomp/host.h"
#include "seccomp/listener.h"
#include "seccomp/sysv_blocked_call.h"
#include "seccomp/system_calls.h"
#include "seccomp/target.h"

namespace mqueuefs::seccomp {

/// Thread rule: the loop's. Everything passed to it must outlive it.
class SysvCalls : public std::enable_shared_from_this<SysvCalls> {
 public:
  /// `namespace_name`: as Session's.
  SysvCalls(control::Reactor& reactor, Host& host, const Listener& listener, Targets& targets,
            const std::string& namespace_name);
  SysvCalls(const SysvCalls&) = delete;
  SysvCalls& operator=(const SysvCalls&) = delete;

  /// Answers, or leaves a waiter. `which` is one of the System V calls.
  void serve(Call which, const Notification& call);
  /// The thread makes another call: that in which it waited was interrupted.
  void make_way(pid_t task);

  size_t blocked_count() const { return blocked_.size(); }

 private:
  // A call whose maker and place are looked up.
  struct Asked {
    const Notification& call;
    const control::Caller who;
    ipc::IpcNamespace& where;
    ipc::sysv::SysvIpc& ipc;
    std::unique_ptr<ipc::sysv::CallerRights> rights;
    ipc::sysv::Caller caller;
  };
  struct Left {
    Notification call;
    std::optional<Targets::Position> position;
  };

  void dispatch(Call which, Asked& asked);
  void message_send(Asked& asked);
  void message_receive(Asked& asked);
  void message_control(Asked& asked);
  void semaphores_operate(Asked& asked, uint64_t timeout_address);
  void semaphores_control(Asked& asked);
  void memory_control(Asked& asked);

  /// True: the call was interrupted before, and has been answered with that.
  bool is_over(Call which, const Notification& call);
  ipc::sysv::Confirm confirm(const Notification& call);
  /// Nothing for 0 and ESRCH: he has been answered, or is gone.
  void finish(const Notification& call, int code);
  template <typename T>
  void answer_with(const Asked& asked, const Result<T>& value);
  /// Fills a structure of the caller's, and returns `value`.
  template <typename T>
  void deliver(const Asked& asked, const T& structure, uint64_t address, int64_t value);
  /// `make` makes the call with a waiter. It comes when it was answered or has begun to wait.
  void block(Asked& asked, const std::optional<int64_t>& timeout_ns,
             const std::function<Result<ipc::sysv::Outcome>(ipc::sysv::Waiter&)>& make);
  std::unique_ptr<SysvBlockedCall> take(pid_t task);
  void destroy_later(std::unique_ptr<SysvBlockedCall> call);
  void remember(const SysvBlockedCall& call);
  void drop_vanished();

  control::Reactor& reactor_;
  Host& host_;
  const Listener& listener_;
  Targets& targets_;
  const std::string& namespace_name_;
  const std::unique_ptr<control::Timer> look_timer_;
  std::unordered_map<pid_t, std::unique_ptr<SysvBlockedCall>> blocked_;  // a thread makes one call at a time
  std::unordered_map<pid_t, Left> interrupted_;                          // whom a signal took from its line
  std::vector<std::unique_ptr<SysvBlockedCall>> over_;                   // to be destroyed
  std::vector<std::byte> payload_;                                       // of the call being served
};

}  // namespace mqueuefs::seccomp
