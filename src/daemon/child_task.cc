#include "daemon/child_task.h"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <utility>

namespace mqueuefs::daemon {
namespace {

constexpr int64_t kChildPatienceMs = 20'000;

void send_report(int socket, int code, std::span<const int> fds) {
  iovec part{&code, sizeof code};
  alignas(cmsghdr) char control[CMSG_SPACE(kMostChildFds * sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (!fds.empty()) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(fds.size_bytes());
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(fds.size_bytes());
    memcpy(CMSG_DATA(header), fds.data(), fds.size_bytes());
  }
  // If that fails the parent sees the end of the socket.
  if (sendmsg(socket, &message, MSG_NOSIGNAL) < 0) _exit(1);
}

Result<ChildFds> receive_report(int socket) {
  int code = 0;
  iovec part{&code, sizeof code};
  alignas(cmsghdr) char control[CMSG_SPACE(kMostChildFds * sizeof(int))];
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  const ssize_t received = recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  ChildFds fds;
  const cmsghdr* header = received > 0 ? CMSG_FIRSTHDR(&message) : nullptr;
  if (header != nullptr && header->cmsg_type == SCM_RIGHTS) {
    const size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count && i < fds.size(); ++i) {
      int fd;
      memcpy(&fd, CMSG_DATA(header) + i * sizeof fd, sizeof fd);
      fds[i] = UniqueFd(fd);
    }
  }
  if (received != sizeof code) return Error{EIO, "child process"};
  if ((message.msg_flags & MSG_CTRUNC) != 0) return Error{EMFILE, "child process"};
  if (code != 0) return Error{code, "child process"};
  return fds;
}

void prepare_child() {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
}

[[noreturn]] void be_child(int socket, const std::function<void(ChildReport&)>& body) {
  prepare_child();
  ChildReport report(socket);
  body(report);
  _exit(0);
}

}  // namespace

struct ChildTasks::Child {
  UniqueFd pidfd;
  UniqueFd socket;
  std::unique_ptr<control::Watch> pidfd_watch;
  std::unique_ptr<control::Watch> socket_watch;
  std::unique_ptr<control::Timer> patience;
  std::function<void(Result<ChildFds>)> done;
  std::function<void(int)> ended;
};

ChildTasks::ChildTasks(control::Reactor& reactor) : reactor_(reactor) {}

void ChildReport::succeed(std::span<const int> fds) {
  send_report(socket_, 0, fds);
}
void ChildReport::fail(Error error) {
  send_report(socket_, error.code, {});
}

pid_t ChildTasks::run(std::function<void(ChildReport&)> body, std::function<void(Result<ChildFds>)> done) {
  const auto fail = [&](Error error) {
    reactor_.run_later([error, done] { done(error); });
    return 0;
  };
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) return fail(last_error("socketpair"));
  auto child = std::make_unique<Child>();
  child->socket = UniqueFd(pair[0]);
  UniqueFd theirs(pair[1]);
  const pid_t pid = fork();
  if (pid < 0) return fail(last_error("fork"));
  if (pid == 0) be_child(theirs.get(), body);
  theirs.reset();
  // Nobody else reaps, so the number is still the child's.
  child->pidfd = UniqueFd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  auto socket_watch = reactor_.watch(child->socket.get(), EPOLLIN, [this, pid](uint32_t) { reported(pid); });
  auto pidfd_watch = reactor_.watch(child->pidfd.get(), EPOLLIN, [this, pid](uint32_t) { ended(pid); });
  if (!socket_watch || !pidfd_watch) {
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
    return fail(Error{EMFILE, "watching a child process"});
  }
  child->socket_watch = std::move(*socket_watch);
  child->pidfd_watch = std::move(*pidfd_watch);
  child->done = std::move(done);
  child->patience = reactor_.make_timer([pid] { kill(pid, SIGKILL); });
  child->patience->set_delay_ms(kChildPatienceMs);
  children_.emplace(pid, std::move(child));
  return pid;
}

void ChildTasks::await_report(pid_t child, int timeout_ms) {
  const auto found = children_.find(child);
  if (found == children_.end() || !found->second->socket) return;
  pollfd report{found->second->socket.get(), POLLIN, 0};
  if (poll(&report, 1, timeout_ms) == 1) reported(child);
}

void ChildTasks::reported(pid_t pid) {
  Child& child = *children_.at(pid);
  auto result = receive_report(child.socket.get());
  child.socket_watch.reset();
  child.socket.reset();
  const auto done = std::move(child.done);
  done(std::move(result));
}

void ChildTasks::ended(pid_t pid) {
  const auto found = children_.find(pid);
  // What it said may still be in the socket.
  if (found->second->socket) reported(pid);
  int status = 0;
  waitpid(pid, &status, 0);
  const auto ended = std::move(found->second->ended);
  children_.erase(pid);
  if (ended) ended(WIFEXITED(status) ? WEXITSTATUS(status) : -1);
}

pid_t ChildTasks::run_to_end(std::function<int()> body, std::function<void(int)> ended_callback) {
  const pid_t pid = fork();
  if (pid < 0) return 0;
  if (pid == 0) {
    prepare_child();
    _exit(body());
  }
  auto child = std::make_unique<Child>();
  child->pidfd = UniqueFd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  auto watch = reactor_.watch(child->pidfd.get(), EPOLLIN, [this, pid](uint32_t) { ended(pid); });
  if (!watch) {
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
    return 0;
  }
  child->pidfd_watch = std::move(*watch);
  child->ended = std::move(ended_callback);
  children_.emplace(pid, std::move(child));
  return pid;
}

ChildTasks::~ChildTasks() {
  for (const auto& [pid, child] : children_) {
    kill(pid, SIGKILL);
    // One that waits for a hostile file server can't even be killed: whoever inherits it reaps it.
    waitpid(pid, nullptr, WNOHANG);
  }
}

}  // namespace mqueuefs::daemon
