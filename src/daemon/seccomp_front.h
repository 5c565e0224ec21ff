// The daemon's side of the system-call front door: its sessions, and what they ask (seccomp/host.h).
//
// A call that needs the target's rights is made by a helper process, a fork of the daemon, which takes the
// target's place (target_identity.h), does it, and answers. Helpers for one IPC namespace come one after another,
// so that a descriptor that the previous one still held is closed when the next one looks; one whose target is
// frozen may take for ever, and then the next ones do not wait for it.
#pragma once

#include <deque>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "control/host.h"
#include "control/reactor.h"
#include "daemon/authority.h"
#include "daemon/child_task.h"
#include "daemon/helper_work.h"
#include "daemon/mounts.h"
#include "daemon/target_identity.h"
#include "daemon/tasks.h"
#include "seccomp/host.h"
#include "seccomp/session.h"

namespace mqueuefs::control {
class Announcements;
}

namespace mqueuefs::daemon {

/// Thread rule: the loop's. What it is made of must outlive it.
class SeccompFront final : public seccomp::Host {
 public:
  /// `changed` is called, from the loop, after a session has ended.
  SeccompFront(control::Reactor& reactor, control::Host& host, Tasks& tasks, ipc::MemoryBudget& budget,
               ChildTasks& children, Mounts& mounts, const Authority& authority, control::Announcements& announcements,
               std::function<void()> changed);
  ~SeccompFront() override;

  /// Serves `listener` until nobody carries its filter. `namespace_name`: see seccomp::Session. EINVAL: it is no
  /// listener; those of epoll_ctl(2).
  Status serve(UniqueFd listener, std::string namespace_name);
  size_t session_count() const { return sessions_.size(); }

  ipc::TaskInfo& tasks() override { return tasks_; }
  ipc::MemoryBudget& budget() override { return budget_; }
  uid_t uid_of(ipc::TaskId task) override;
  bool is_administrator(ipc::TaskId task) override;
  Result<control::Caller> caller_of(ipc::TaskId task) override;
  control::SysvHost& sysv() override { return host_.sysv(); }
  std::shared_ptr<ipc::QueueInode> find_queue(uint32_t device_major, uint32_t device_minor, uint64_t inode) override {
    return mounts_.find_queue(device_major, device_minor, inode);
  }
  void open_queue(const seccomp::HelperCall& call, const seccomp::OpenCall& what) override;
  void unlink_queue(const seccomp::HelperCall& call, const std::string& name) override;
  void mount(const seccomp::HelperCall& call, const seccomp::MountCall& what) override;
  void set_nonblocking(ipc::TaskId task, int descriptor, uint64_t inode, bool nonblocking,
                       std::function<void(int)> done) override;
  std::unique_ptr<ipc::NotificationTarget> make_signal_target(pid_t process, int signo, uint64_t value) override;
  void make_netlink_target(
      ipc::TaskId task, int descriptor, const std::string& cookie,
      std::function<void(Result<std::unique_ptr<ipc::NotificationTarget>>)> done) override;
  void note_misbehaviour(pid_t task, const char* what) override;
  void note_impossible(pid_t task, const char* what) override;

 private:
  /// What a helper does, in the target's place; it answers itself.
  using Work = std::function<void(const Reply&, int directory)>;
  enum class Kind { kOpen, kUnlink, kMount };
  /// One call that a helper makes.
  struct Job {
    seccomp::HelperCall call;  ///< its latest notification
    Kind kind = Kind::kOpen;
    seccomp::OpenCall what;    ///< kUnlink: the name only; kMount: nothing
    bool announces = false;    ///< the name is created or removed
    Take take = Take::kCredentials;
    Work work;
    std::string line;
    pid_t helper = 0;    ///< 0: not started
    UniqueFd retries;    ///< where it hears of later notifications of the same call
  };
  struct Line {  // of helpers for one namespace
    std::deque<std::function<void()>> waiting;
    size_t running = 0;
    std::unique_ptr<control::Timer> patience;
  };

  std::string line_of(const seccomp::HelperCall& call);
  /// True: it is a call that has been interrupted and comes again; it has been passed on to its helper.
  bool is_retry(const Job& fresh);
  void add(std::shared_ptr<Job> job);
  /// It is the job's turn: gets the root of the call's namespace, and goes on with it.
  void begin(const std::shared_ptr<Job>& job);
  void start_helper(const std::shared_ptr<Job>& job, UniqueFd directory);
  void helper_ended(const std::shared_ptr<Job>& job, int code);
  void forget(const std::shared_ptr<Job>& job);
  void in_line(const std::string& line, std::function<void()> work);
  void next_in_line(const std::string& line);

  control::Reactor& reactor_;
  control::Host& host_;
  Tasks& tasks_;
  ipc::MemoryBudget& budget_;
  ChildTasks& children_;
  Mounts& mounts_;
  const Authority& authority_;
  control::Announcements& announcements_;
  const std::function<void()> changed_;
  std::list<std::shared_ptr<seccomp::Session>> sessions_;
  std::map<std::string, Line> lines_;
  std::set<pid_t> noted_;  // processes that the log knows
  std::map<ipc::TaskId, std::shared_ptr<Job>> jobs_;  // a thread makes one call at a time
};

}  // namespace mqueuefs::daemon
