// What the system-call front door asks of the daemon: which queue a file is, who a task is, and helper processes
// for what must not happen on the loop.
//
// A helper answers the notification itself, with the listener that it inherits, so that what it did and the answer
// are one step, which it undoes if nobody takes the answer. None of these blocks.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/result.h"
#include "control/sysv_host.h"
#include "ipc/limits.h"
#include "ipc/queue_inode.h"
#include "ipc/task_info.h"
#include "seccomp/listener.h"

namespace mqueuefs::seccomp {

/// A call that a helper makes in place of the target, and answers.
struct HelperCall {
  std::shared_ptr<const Listener> listener;
  uint64_t id = 0;
  ipc::TaskId task = 0;
  std::string namespace_name;  ///< empty: that of the task's own kernel IPC namespace
};

struct OpenCall {
  std::string name;  ///< checked: a file name
  int flags = 0;     ///< as mq_open(2) got them
  mode_t mode = 0;
  std::optional<ipc::RequestedAttributes> attributes;

  bool operator==(const OpenCall& other) const {
    const auto values = [](const OpenCall& call) {
      return call.attributes ? std::pair(call.attributes->maxmsg, call.attributes->msgsize) : std::pair<int64_t, int64_t>();
    };
    return name == other.name && flags == other.flags && mode == other.mode &&
           attributes.has_value() == other.attributes.has_value() && values(*this) == values(other);
  }
};

struct MountCall {
  std::string source;
  std::string target;
  uint64_t flags = 0;  ///< as mount(2) got them
};

class Host {
 public:
  virtual ~Host() = default;

  virtual ipc::TaskInfo& tasks() = 0;
  virtual ipc::MemoryBudget& budget() = 0;
  /// The real uid of the task's process, as numbered here; 65534 if it is gone.
  virtual uid_t uid_of(ipc::TaskId task) = 0;

  /// Whether the task could do with this daemon, and with those that it serves, what it likes. Some looks at /proc.
  virtual bool is_administrator(ipc::TaskId task) = 0;

  /// Process, effective user and group of the task, as they are now. ESRCH and the like: it is gone.
  virtual Result<control::Caller> caller_of(ipc::TaskId task) = 0;
  virtual control::SysvHost& sysv() = 0;

  /// The queue that the file is, or null: it is none of ours.
  virtual std::shared_ptr<ipc::QueueInode> find_queue(uint32_t device_major, uint32_t device_minor,
                                                      uint64_t inode) = 0;

  /// mq_open(2), mq_unlink(2), mount(2) of type mqueue, with the target's credentials, umask and root directory.
  virtual void open_queue(const HelperCall& call, const OpenCall& what) = 0;
  virtual void unlink_queue(const HelperCall& call, const std::string& name) = 0;
  virtual void mount(const HelperCall& call, const MountCall& what) = 0;
  /// Sets or clears O_NONBLOCK of the open file description behind the task's `descriptor`, which must still be
  /// that of `inode`. `done` gets the error, 0 if it is set; EBADF: it is another by now.
  virtual void set_nonblocking(ipc::TaskId task, int descriptor, uint64_t inode, bool nonblocking,
                               std::function<void(int)> done) = 0;

  /// Where a notification goes. Null: the process is gone.
  virtual std::unique_ptr<ipc::NotificationTarget> make_signal_target(pid_t process, int signo, uint64_t value) = 0;
  /// SIGEV_THREAD: the 32 bytes of `cookie` go to the netlink socket that the task calls `descriptor` (doc/behaviour.md F8).
  /// EBADF, EINVAL: it is none; EPERM: this daemon may not send there.
  virtual void make_netlink_target(
      ipc::TaskId task, int descriptor, const std::string& cookie,
      std::function<void(Result<std::unique_ptr<ipc::NotificationTarget>>)> done) = 0;

  /// A target, or who gave us its listener, did what it must not: for the log.
  virtual void note_misbehaviour(pid_t task, const char* what) = 0;
  /// A program wants what can't be done by system calls alone: for the log, once a process.
  virtual void note_impossible(pid_t task, const char* what) = 0;
};

}  // namespace mqueuefs::seccomp
