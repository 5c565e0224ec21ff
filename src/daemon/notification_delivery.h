// Where mq_notify(3) sends what it has to say: a signal to a process, or a packet to a connection.
//
// A signal goes by pidfd, so that it never reaches another process that got the number; after an exec(2) it
// is suppressed (doc/behaviour.md F6): files under /proc/PID that were opened before it belong to the memory that exec
// replaced, and read as empty from then on.
#pragma once

#include <memory>

#include "base/result.h"
#include "base/unique_fd.h"
#include "control/server.h"
#include "daemon/child_task.h"
#include "daemon/tasks.h"
#include "ipc/notification.h"

namespace mqueuefs::daemon {

/// Tells whether a process has executed another program since this was made.
class ExecDetector {
 public:
  explicit ExecDetector(pid_t process);
  /// False also where it could not be told from the start.
  bool has_executed() const;

 private:
  UniqueFd file_;
};

/// SIGEV_SIGNAL: si_code SI_MESGQ, si_pid and si_uid of the sender as the receiver numbers them (doc/behaviour.md F5).
/// Null: the process is gone.
///
/// The kernel translates a signal's si_uid from the user namespace of who sends it, and makes si_pid 0 if the
/// receiver can't see him. So where the receiver sees the queue's sender but not us, a child of ours sends the
/// signal from within his pid namespace; that takes CAP_SYS_ADMIN over it, without which si_pid stays 0.
std::unique_ptr<ipc::NotificationTarget> make_signal_target(Tasks& tasks, ChildTasks& children, pid_t process,
                                                            int signo, uint64_t value);

/// SIGEV_THREAD: NotifyThread packets on the connection, as long as it is there.
std::unique_ptr<ipc::NotificationTarget> make_connection_target(control::Server& server, uint64_t channel,
                                                                uint64_t value);

}  // namespace mqueuefs::daemon
