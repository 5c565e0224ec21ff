#include "daemon/notification_delivery.h"

#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <utility>

#include "control/connection.h"
#include "daemon/proc_files.h"
#include "daemon/proc_text.h"

namespace mqueuefs::daemon {
namespace {

constexpr uid_t kOverflowId = 65534;
constexpr uint32_t kWokenUp = 1;  // NOTIFY_WOKENUP
constexpr uint32_t kRemoved = 2;  // NOTIFY_REMOVED

bool reads_empty(int file) {
  char byte;
  return pread(file, &byte, 1, 0) <= 0;
}

class SignalTarget final : public ipc::NotificationTarget {
 public:
  SignalTarget(Tasks& tasks, pid_t process, UniqueFd pidfd, int signo, uint64_t value)
      : tasks_(tasks),
        process_(process),
        pidfd_(std::move(pidfd)),
        signo_(signo),
        value_(value),
        exec_(process) {}

  void woken(const ipc::Sender& sender) override {
    if (signo_ == 0 || exec_.has_executed()) return;
    siginfo_t info;
    memset(&info, 0, sizeof info);
    info.si_signo = signo_;
    info.si_code = SI_MESGQ;
    info.si_pid = tasks_.pid_seen_by(tasks_.process_of(sender.task), process_);
    const auto map = read_proc(process_, "uid_map");
    info.si_uid = map ? mapped_id(*map, sender.uid).value_or(kOverflowId) : kOverflowId;
    info.si_value.sival_ptr = reinterpret_cast<void*>(value_);
    // ESRCH: it has ended; EPERM: a daemon of an ordinary user can't signal others. Nobody is left to tell.
    syscall(SYS_pidfd_send_signal, pidfd_.get(), signo_, &info, 0);
  }
  void removed() override {}

 private:
  Tasks& tasks_;
  const pid_t process_;
  const UniqueFd pidfd_;
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

ExecDetector::ExecDetector(pid_t process) {
  // The environment is cheap to read but may be empty; there is always a mapping.
  for (const char* name : {"environ", "maps"}) {
    auto file = open_proc(process, name);
    if (!file || reads_empty(file->get())) continue;
    file_ = std::move(*file);
    return;
  }
}

bool ExecDetector::has_executed() const {
  return file_ && reads_empty(file_.get());
}

std::unique_ptr<ipc::NotificationTarget> make_signal_target(Tasks& tasks, pid_t process, int signo,
                                                            uint64_t value) {
  UniqueFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, process, 0)));
  if (!pidfd) return nullptr;
  return std::make_unique<SignalTarget>(tasks, process, std::move(pidfd), signo, value);
}

std::unique_ptr<ipc::NotificationTarget> make_connection_target(control::Server& server, uint64_t channel,
                                                                uint64_t value) {
  return std::make_unique<ConnectionTarget>(server, channel, value);
}

}  // namespace mqueuefs::daemon
