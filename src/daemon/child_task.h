// Work in a short-lived child process: for what needs another user namespace, or would block the loop.
//
// The child reports once, a status and up to three descriptors, over a socket pair; it may go on after that
// (to clean up) and is reaped when it ends, by its pidfd alone. One that does not end is killed.
#pragma once

#include <sys/types.h>

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <span>

#include "base/result.h"
#include "base/unique_fd.h"
#include "control/reactor.h"

namespace mqueuefs::daemon {

inline constexpr size_t kMostChildFds = 3;
using ChildFds = std::array<UniqueFd, kMostChildFds>;

/// The child's end.
class ChildReport {
 public:
  explicit ChildReport(int socket) : socket_(socket) {}
  void succeed(std::span<const int> fds);
  void fail(Error error);
  /// To be kept by a child that closes what it has inherited.
  int socket() const { return socket_; }

 private:
  const int socket_;
};

/// Thread rule: the loop's; the process has one thread, so that a child may do what it likes.
class ChildTasks {
 public:
  explicit ChildTasks(control::Reactor& reactor);
  ChildTasks(const ChildTasks&) = delete;
  ChildTasks& operator=(const ChildTasks&) = delete;
  /// Kills what is left.
  ~ChildTasks();

  /// Forks; the child runs `body` and exits. `done` is called later, once; EIO: the child died without a
  /// word. Returns the child's pid, or 0: no process could be made.
  pid_t run(std::function<void(ChildReport&)> body, std::function<void(Result<ChildFds>)> done);

  /// Blocks for at most so long until the child has reported; `done` is then called from here.
  void await_report(pid_t child, int timeout_ms);

  /// Forks; the child runs `body` and exits with what it returns, however long that takes. `ended` is called then:
  /// with that code, or -1 if it was killed. Returns the child's pid, or 0: no process could be made (`ended` is not
  /// called).
  pid_t run_to_end(std::function<int()> body, std::function<void(int)> ended);

  size_t running() const { return children_.size(); }

 private:
  struct Child;
  void reported(pid_t pid);
  void ended(pid_t pid);

  control::Reactor& reactor_;
  std::map<pid_t, std::unique_ptr<Child>> children_;
};

}  // namespace mqueuefs::daemon
