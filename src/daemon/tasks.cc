#include "daemon/tasks.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/nsfs.h>
#include <poll.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <utility>

#include "daemon/proc_files.h"
#include "daemon/proc_text.h"

namespace mqueuefs::daemon {
namespace {

constexpr int kDefaultRank = 120;

// struct sched_attr of sched_setattr(2), the first version, which every kernel fills.
struct SchedulerAttributes {
  uint32_t size;
  uint32_t policy;
  uint64_t flags;
  int32_t nice;
  uint32_t priority;
  uint64_t runtime, deadline, period;
};

bool has_ended(int pidfd) {
  pollfd poll_fd{pidfd, POLLIN, 0};
  return poll(&poll_fd, 1, 0) != 0;
}

/// How many pid namespaces below `ancestor` (an inode) the one of `task` is; -1: not below it.
int levels_below(pid_t task, uint64_t ancestor, int most) {
  auto fd = open_namespace_of(task, "pid");
  for (int level = 0; fd && level < most; ++level) {
    if (const auto inode = inode_of(fd->get()); inode && *inode == ancestor) return level;
    *fd = UniqueFd(ioctl(fd->get(), NS_GET_PARENT));
    if (!*fd) break;
  }
  return -1;
}

}  // namespace

/// One who waits for the end of a process.
class Tasks::Subscription final : public control::ProcessWatch {
 public:
  Subscription(std::shared_ptr<Process> process, std::function<void()> exited)
      : process_(std::move(process)), exited_(std::move(exited)) {
    place_ = process_->subscriptions.insert(process_->subscriptions.end(), this);
  }
  ~Subscription() override {
    if (process_ != nullptr) process_->subscriptions.erase(place_);
  }

  bool has_ended() const override { return process_ == nullptr || daemon::has_ended(process_->pidfd.get()); }

  /// Is in no list any more when it returns; may be destroyed by the call.
  void fire() {
    process_->subscriptions.erase(place_);
    process_.reset();
    const auto exited = std::move(exited_);
    exited();
  }

 private:
  std::shared_ptr<Process> process_;
  std::function<void()> exited_;
  std::list<Subscription*>::iterator place_;
};

Tasks::Tasks(control::Reactor& reactor)
    : reactor_(reactor),
      own_user_namespace_(namespace_inode_of(getpid(), "user").ok() ? *namespace_inode_of(getpid(), "user")
                                                                    : kInitialUserNamespaceInode),
      own_pid_namespace_(namespace_inode_of(getpid(), "pid").ok() ? *namespace_inode_of(getpid(), "pid")
                                                                  : 0) {}

pid_t Tasks::process_of(ipc::TaskId task) {
  if (task <= 0) return 0;
  // Mostly a process's first thread, which bears its number: a fiftieth of what reading the file costs.
  if (syscall(SYS_tgkill, task, task, 0) == 0 || errno == EPERM) return task;
  const auto status = read_proc(task, "status");
  if (!status) return 0;
  const auto field = status_field(*status, "Tgid");
  return field ? atoi(field->data()) : 0;
}

int Tasks::rank_of(ipc::TaskId task) {
  if (task <= 0) return kDefaultRank;
  // Much less work than /proc/TASK/stat, which would also show what a priority-inheriting lock lends.
  SchedulerAttributes attributes{};
  if (syscall(SYS_sched_getattr, task, &attributes, sizeof attributes, 0) != 0) return kDefaultRank;
  return kernel_priority(attributes.policy, attributes.nice, attributes.priority);
}

bool Tasks::may_exceed_limits(ipc::TaskId task) {
  if (task <= 0) return false;
  const auto status = read_proc(task, "status");
  if (!status || (effective_capabilities(*status) >> CAP_SYS_RESOURCE & 1) == 0) return false;
  const auto user_namespace = namespace_inode_of(task, "user");
  return user_namespace &&
         (*user_namespace == kInitialUserNamespaceInode || *user_namespace == own_user_namespace_);
}

uint64_t Tasks::rlimit_msgqueue(ipc::TaskId task) {
  if (task <= 0) return 0;
  // Without CAP_SYS_RESOURCE prlimit(2) is for our own ids only; the text is for who may look at the process.
  rlimit limit{};
  if (prlimit(task, RLIMIT_MSGQUEUE, nullptr, &limit) == 0) return limit.rlim_cur;
  const auto limits = read_proc(task, "limits");
  return limits ? msgqueue_limit(*limits).value_or(0) : 0;
}

bool Tasks::ran_at(pid_t process, int64_t boottime_ns) {
  if (process <= 0) return false;
  const auto stat = read_proc(process, "stat");
  const auto started = stat && !is_dead_state(*stat) ? start_time_ticks(*stat) : std::nullopt;
  if (!started) return false;
  // Started in the same tick as the queue was made: it can't be a later one, numbers do not come round so fast.
  const int64_t tick_ns = 1'000'000'000 / sysconf(_SC_CLK_TCK);
  return static_cast<int64_t>(*started) <= boottime_ns / tick_ns;
}

bool Tasks::is_stopped(ipc::TaskId task) {
  if (task <= 0) return false;
  const auto status = read_proc(task, "status");
  return status && is_stopped_state(*status);
}

pid_t Tasks::pid_seen_by(pid_t process, ipc::TaskId reader) {
  if (process <= 0 || reader <= 0) return 0;
  const auto reader_namespace = namespace_inode_of(reader, "pid");
  if (!reader_namespace) return 0;
  if (*reader_namespace == own_pid_namespace_) return process;
  const auto status = read_proc(process, "status");
  if (!status) return 0;
  const auto pids = namespace_pids(*status);
  const int level = levels_below(process, *reader_namespace, static_cast<int>(pids.size()));
  return level < 0 ? 0 : pids[pids.size() - 1 - static_cast<size_t>(level)];
}

Result<ipc::TaskId> Tasks::find_thread(pid_t process, pid_t tid) {
  const Error none{ESRCH, "no such thread"};
  if (tid <= 0) return none;
  char path[64];
  const auto process_namespace = namespace_inode_of(process, "pid");
  if (process_namespace && *process_namespace == own_pid_namespace_) {
    snprintf(path, sizeof path, "/proc/%d/task/%d", process, tid);
    if (tid == process || access(path, F_OK) == 0) return tid;
    return none;
  }
  snprintf(path, sizeof path, "/proc/%d/task", process);
  DIR* directory = opendir(path);
  if (directory == nullptr) return none;
  ipc::TaskId found = 0;
  while (const dirent* entry = readdir(directory)) {
    const pid_t task = atoi(entry->d_name);
    if (task <= 0) continue;
    const auto status = read_proc(task, "status");
    const auto pids = status ? namespace_pids(*status) : std::vector<pid_t>();
    if (pids.empty() || pids.back() != tid) continue;
    found = task;
    break;
  }
  closedir(directory);
  if (found == 0) return none;
  return found;
}

Result<pid_t> Tasks::find_process_seen_as(pid_t pid, ipc::TaskId reader) {
  const Error none{ESRCH, "no such process"};
  const auto reader_namespace = namespace_inode_of(reader, "pid");
  if (pid <= 0 || !reader_namespace) return none;
  if (*reader_namespace == own_pid_namespace_) return pid;
  DIR* directory = opendir("/proc");
  if (directory == nullptr) return none;
  pid_t found = 0;
  while (const dirent* entry = readdir(directory)) {
    const pid_t process = atoi(entry->d_name);
    if (process <= 0 || pid_seen_by(process, reader) != pid) continue;
    found = process;
    break;
  }
  closedir(directory);
  if (found == 0) return none;
  return found;
}

bool Tasks::runs_as(ipc::TaskId task, uid_t uid) {
  // The directory is its effective user's unless its process is not dumpable, then it is root's.
  char path[32];
  snprintf(path, sizeof path, "/proc/%d", task);
  struct stat directory {};
  if (stat(path, &directory) < 0) return false;
  if (directory.st_uid == uid && uid != 0) return true;
  const auto status = read_proc(task, "status");
  return status && effective_uid(*status) == uid;
}

std::shared_ptr<Tasks::Process> Tasks::find_process(pid_t process) {
  const auto found = processes_.find(process);
  if (found == processes_.end()) return nullptr;
  auto known = found->second.lock();
  // It may have ended, its number may be another's now, and the loop has not heard of it yet.
  return known != nullptr && !has_ended(known->pidfd.get()) ? known : nullptr;
}

Result<std::unique_ptr<control::ProcessWatch>> Tasks::watch(pid_t process, std::function<void()> exited) {
  UniqueFd pidfd;
  if (find_process(process) == nullptr) {
    pidfd = UniqueFd(static_cast<int>(syscall(SYS_pidfd_open, process, 0)));
    if (!pidfd) return last_error("pidfd_open");
  }
  return watch(process, std::move(pidfd), std::move(exited));
}

Result<std::unique_ptr<control::ProcessWatch>> Tasks::watch(pid_t process, UniqueFd pidfd,
                                                            std::function<void()> exited) {
  if (pidfd && has_ended(pidfd.get())) return Error{ESRCH, "the process has ended"};
  auto known = find_process(process);
  if (known == nullptr) {
    known = std::shared_ptr<Process>(new Process, [this, process](Process* gone) {
      const auto found = processes_.find(process);
      if (found != processes_.end() && found->second.expired()) processes_.erase(found);
      delete gone;
    });
    known->pidfd = std::move(pidfd);
    auto watch = reactor_.watch(known->pidfd.get(), EPOLLIN,
                                [this, weak = std::weak_ptr(known)](uint32_t) { process_ended(weak); });
    if (!watch) return watch.error();
    known->watch = std::move(*watch);
    processes_.insert_or_assign(process, known);
  }
  return std::unique_ptr<control::ProcessWatch>(new Subscription(std::move(known), std::move(exited)));
}

void Tasks::process_ended(const std::weak_ptr<Process>& weak) {
  const auto process = weak.lock();
  if (process == nullptr) return;
  process->watch.reset();
  while (!process->subscriptions.empty())
    process->subscriptions.front()->fire();
}

}  // namespace mqueuefs::daemon
