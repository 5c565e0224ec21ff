#include "daemon/notification_delivery.h"

#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <utility>

#include "control/connection.h"
#include "daemon/proc_files.h"
#include "daemon/proc_text.h"

namespace mqueuefs::daemon {
namespace {

constexpr size_t kMostChildren = 64;  // at work at a time; beyond that si_pid is 0
constexpr uint32_t kWokenUp = 1;  // NOTIFY_WOKENUP
constexpr uint32_t kRemoved = 2;  // NOTIFY_REMOVED

bool is_of_no_memory(int file) {
  char byte;
  return pread(file, &byte, 1, 0) == 0;
}

// ESRCH: it has ended; EPERM: a daemon of an ordinary user can't signal others. Nobody is left to tell.
bool send_signal(int pidfd, const siginfo_t& info) {
  siginfo_t copy = info;
  return syscall(SYS_pidfd_send_signal, pidfd, info.si_signo, &copy, 0) == 0;
}

// In a child: from within the receiver's pid namespace, which a grandchild is in.
bool send_signal_from_inside(int pidfd, const siginfo_t& info) {
  if (setns(pidfd, CLONE_NEWPID) < 0) return false;
  const pid_t inside = fork();
  if (inside == 0) _exit(send_signal(pidfd, info) ? 0 : 1);
  int status = 1;
  return inside > 0 && waitpid(inside, &status, 0) == inside && status == 0;
}

class SignalTarget final : public ipc::NotificationTarget {
 public:
  SignalTarget(Tasks& tasks, ChildTasks& children, pid_t process, UniqueFd pidfd, int signo, uint64_t value)
      : tasks_(tasks),
        children_(children),
        process_(process),
        pidfd_(std::make_shared<UniqueFd>(std::move(pidfd))),
        signo_(signo),
        value_(value),
        exec_(process) {}

  void woken(const ipc::Sender& sender) override {
    if (signo_ == 0 || exec_.has_executed()) return;
    siginfo_t info;
    memset(&info, 0, sizeof info);
    info.si_signo = signo_;
    info.si_code = SI_MESGQ;
    if (sender.seen_as) {
      info.si_pid = *sender.seen_as;
      info.si_uid = sender.uid;
    } else {
      info.si_pid = tasks_.pid_seen_by(tasks_.process_of(sender.task), process_);
      // ipc/mqueue.c:__do_notify tells the real one; the file system shows the file system uid.
      const auto status = read_proc(sender.task, "status");
      info.si_uid = status ? real_uid(*status).value_or(sender.uid) : sender.uid;
    }
    info.si_value.sival_ptr = reinterpret_cast<void*>(value_);
    const bool sees_us = tasks_.pid_seen_by(getpid(), process_) != 0;
    if (sees_us || info.si_pid == 0 || children_.running() >= kMostChildren) {
      send_signal(pidfd_->get(), info);
      return;
    }
    children_.run(
        [pidfd = pidfd_, info](ChildReport& report) {
          if (!send_signal_from_inside(pidfd->get(), info)) return report.fail(Error{EPERM});
          report.succeed({});
        },
        [pidfd = pidfd_, info](const Result<ChildFds>& done) {
          if (!done) send_signal(pidfd->get(), info);
        });
  }
  void removed() override {}

 private:
  Tasks& tasks_;
  ChildTasks& children_;
  const pid_t process_;
  const std::shared_ptr<UniqueFd> pidfd_;  // outlives this while a child is on its way
  const int signo_;
  const uint64_t value_;
  const ExecDetector exec_;
};

class ConnectionTarget final : public ipc::NotificationTarget {
 public:
  ConnectionTarget(control::Server& server, uint64_t channel, uint64_t value)
      : server_(server), channel_(channel), value_(value) {}
  void woken(const ipc::Sender&) override { tell(kWokenUp); }
  void removed() override { tell(kRemoved); }

 private:
  void tell(uint32_t reason) {
    if (control::Connection* connection = server_.find(channel_)) connection->notify_thread(value_, reason);
  }
  control::Server& server_;
  const uint64_t channel_;
  const uint64_t value_;
};

}  // namespace

// Of what /proc has of a memory this one tells whether it is gone without looking into it: that might wait for a page, or
// a lock, for as long as a hostile process likes. A read of one byte is refused, since it gives words of eight; but first
// it sees that there is nothing any more (fs/proc/task_mmu.c:pagemap_read). A kernel without it has `maps`, which does look.
ExecDetector::ExecDetector(pid_t process) {
  for (const char* name : {"pagemap", "maps"}) {
    auto file = open_proc(process, name);
    if (!file || is_of_no_memory(file->get())) continue;
    file_ = std::move(*file);
    return;
  }
}

bool ExecDetector::has_executed() const { return file_ && is_of_no_memory(file_.get()); }

std::unique_ptr<ipc::NotificationTarget> make_signal_target(Tasks& tasks, ChildTasks& children, pid_t process,
                                                            int signo, uint64_t value) {
  UniqueFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, process, 0)));
  if (!pidfd) return nullptr;
  return std::make_unique<SignalTarget>(tasks, children, process, std::move(pidfd), signo, value);
}

std::unique_ptr<ipc::NotificationTarget> make_connection_target(control::Server& server, uint64_t channel,
                                                                uint64_t value) {
  return std::make_unique<ConnectionTarget>(server, channel, value);
}

}  // namespace mqueuefs::daemon
