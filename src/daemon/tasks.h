// What the daemon knows of other tasks: the model's questions (ipc/task_info.h), and when a process ends.
//
// A process that is watched has one pidfd here, shared by all who watch it; a pidfd, unlike a number, can't
// come to mean another process.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <unordered_map>

#include "base/result.h"
#include "base/unique_fd.h"
#include "control/host.h"
#include "control/reactor.h"
#include "ipc/task_info.h"

namespace mqueuefs::daemon {

/// Thread rule: the loop's. Outlives its watches.
class Tasks final : public ipc::TaskInfo {
 public:
  explicit Tasks(control::Reactor& reactor);

  pid_t process_of(ipc::TaskId task) override;
  int rank_of(ipc::TaskId task) override;
  bool may_exceed_limits(ipc::TaskId task) override;
  uint64_t rlimit_msgqueue(ipc::TaskId task) override;
  bool ran_at(pid_t process, int64_t boottime_ns) override;
  bool is_stopped(ipc::TaskId task) override;
  pid_t pid_seen_by(pid_t process, ipc::TaskId reader) override;

  /// The thread of `process` that is called `tid` in that process's pid namespace. ESRCH.
  Result<ipc::TaskId> find_thread(pid_t process, pid_t tid);
  /// The process that `reader` would call `pid`. ESRCH.
  Result<pid_t> find_process_seen_as(pid_t pid, ipc::TaskId reader);
  /// Whether the task's effective uid is `uid`, as numbered here. Threads of a process may differ.
  bool runs_as(ipc::TaskId task, uid_t uid);

  /// Calls `exited` once, from the loop, when the process has ended. ESRCH: it has already.
  Result<std::unique_ptr<control::ProcessWatch>> watch(pid_t process, std::function<void()> exited);
  /// The same with a pidfd that the caller has, which proves who is meant.
  Result<std::unique_ptr<control::ProcessWatch>> watch(pid_t process, UniqueFd pidfd,
                                                       std::function<void()> exited);

 private:
  class Subscription;
  struct Process {
    UniqueFd pidfd;
    std::unique_ptr<control::Watch> watch;
    std::list<Subscription*> subscriptions;
  };

  std::shared_ptr<Process> find_process(pid_t process);
  void process_ended(const std::weak_ptr<Process>& weak);

  control::Reactor& reactor_;
  const uint64_t own_user_namespace_;
  const uint64_t own_pid_namespace_;
  std::unordered_map<pid_t, std::weak_ptr<Process>> processes_;
};

}  // namespace mqueuefs::daemon
