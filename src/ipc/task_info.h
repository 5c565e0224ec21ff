// What the model has to know about the task behind a request. The daemon implements it; ipc/ does no I/O.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>

namespace mqueuefs::ipc {

/// A thread as numbered in the daemon's pid namespace. 0: it is not visible there.
using TaskId = pid_t;

/// Who creates a queue: owner of the new inode, and the task whose limits and capabilities count.
struct Creator {
  uid_t uid = 0;
  gid_t gid = 0;
  TaskId task = 0;
};

/// Who sends: for the siginfo of a notification. See mq_notify(3).
struct Sender {
  TaskId task = 0;
  uid_t uid = 0;
  /// What the one to be notified calls the sender's process, if that was looked up already (0: he can't see it); then
  /// `uid` is the real one.
  std::optional<pid_t> seen_as = std::nullopt;
};

/// Answers from /proc and the like, asked only when a rule needs them. Never blocks. For a task that is not
/// visible or gone the answers are the ones that allow least.
class TaskInfo {
 public:
  virtual ~TaskInfo() = default;

  /// The thread's process (tgid), or 0.
  virtual pid_t process_of(TaskId task) = 0;

  /// The kernel's `prio`: -1 deadline, 0 to 99 real-time, 100 to 139 by nice; the smaller is served first (doc/behaviour.md E7).
  /// Without what a priority-inheriting lock lends the task at the moment.
  virtual int rank_of(TaskId task) = 0;

  /// capable(CAP_SYS_RESOURCE): the effective capability in the initial user namespace.
  virtual bool may_exceed_limits(TaskId task) = 0;

  /// Soft RLIMIT_MSGQUEUE, bytes. See getrlimit(2).
  virtual uint64_t rlimit_msgqueue(TaskId task) = 0;

  /// Whether `process` runs and began before `boottime_ns` (CLOCK_BOOTTIME): then it is the one that had that number.
  virtual bool ran_at(pid_t process, int64_t boottime_ns) = 0;

  /// The thread is stopped, by a signal or a debugger.
  virtual bool is_stopped(TaskId task) = 0;

  /// `process` as numbered in the pid namespace of `reader`; 0 if not visible there (doc/behaviour.md B3).
  virtual pid_t pid_seen_by(pid_t process, TaskId reader) = 0;
};

}  // namespace mqueuefs::ipc
