#include "support/child.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

#include "base/check.h"
#include "support/credentials.h"
#include "support/time_scale.h"
#include "support/wait.h"

namespace mqueuefs::test {
namespace {

enum class ReportKind : uint32_t { kFailure, kFatalFailure, kSkip, kFuseConnection };

// Followed by `file_bytes` and `message_bytes`. Written in one go under PIPE_BUF, else in several: the writer
// is one process, and threads of it are serialized by gtest.
struct ReportHeader {
  ReportKind kind;
  int32_t line;
  uint32_t file_bytes;
  uint32_t message_bytes;
};

void write_all(int fd, const std::string& bytes) {
  for (size_t done = 0; done < bytes.size();) {
    const ssize_t n = write(fd, bytes.data() + done, bytes.size() - done);
    if (n <= 0 && errno != EINTR) return;
    if (n > 0) done += static_cast<size_t>(n);
  }
}

void write_report(int fd, ReportKind kind, int line, const std::string& file, const std::string& message) {
  const ReportHeader header{kind, line, static_cast<uint32_t>(file.size()),
                            static_cast<uint32_t>(message.size())};
  write_all(fd, std::string(reinterpret_cast<const char*>(&header), sizeof header) + file + message);
}

class Reporter : public ::testing::EmptyTestEventListener {
 public:
  explicit Reporter(int fd) : fd_(fd) {}
  int fd() const { return fd_; }

 private:
  void OnTestPartResult(const ::testing::TestPartResult& part) override {
    if (part.passed()) return;
    const ReportKind kind = part.skipped()          ? ReportKind::kSkip
                            : part.fatally_failed() ? ReportKind::kFatalFailure
                                                    : ReportKind::kFailure;
    write_report(fd_, kind, part.line_number(), part.file_name() != nullptr ? part.file_name() : "",
                 part.message());
  }
  int fd_;
};

Reporter* reporter_of_this_process = nullptr;

// In the child: what gtest would print goes to the parent instead.
void report_to(int fd) {
  auto& listeners = ::testing::UnitTest::GetInstance()->listeners();
  if (listeners.default_result_printer() != nullptr) {
    listeners.Release(listeners.default_result_printer());  // leaked: the child ends in _exit
  }
  if (reporter_of_this_process != nullptr) {
    close(reporter_of_this_process->fd());
    listeners.Release(reporter_of_this_process);
  }
  reporter_of_this_process = new Reporter(fd);
  listeners.Append(reporter_of_this_process);
}

void skip(const std::string& message) {
  GTEST_SKIP() << message;
}

void replay(const ReportHeader& header, const std::string& file, const std::string& message,
            std::vector<unsigned>& fuse_connections) {
  switch (header.kind) {
    case ReportKind::kFailure:
      ADD_FAILURE_AT(file.c_str(), header.line) << message;
      break;
    case ReportKind::kFatalFailure:
      [&] { GTEST_FAIL_AT(file.c_str(), header.line) << message; }();
      break;
    case ReportKind::kSkip:
      skip(message);
      break;
    case ReportKind::kFuseConnection:
      fuse_connections.push_back(static_cast<unsigned>(header.line));
      if (reporter_of_this_process != nullptr) {  // nested: the outer watchdog wants to know too
        write_report(reporter_of_this_process->fd(), header.kind, header.line, "", "");
      }
      break;
  }
}

bool reap(pid_t pid, int* status, int limit_ms) {
  return wait_until([&] { return waitpid(pid, status, WNOHANG) == pid; }, limit_ms);
}

}  // namespace

Companion::Companion(const std::function<void()>& body) {
  int ends[2];
  MQUEUEFS_CHECK(pipe2(ends, O_CLOEXEC) == 0);
  fflush(nullptr);
  leads_group_ = reporter_of_this_process == nullptr;
  pid_ = fork();
  MQUEUEFS_CHECK(pid_ >= 0);
  if (pid_ == 0) {
    close(ends[0]);
    if (leads_group_) setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    report_to(ends[1]);
    body();
    _exit(0);
  }
  if (leads_group_) setpgid(pid_, pid_);
  close(ends[1]);
  report_fd_ = ends[0];
}

Companion::~Companion() {
  if (pid_ > 0) join();
}

void Companion::kill() {
  expect_kill_ = true;
  ::kill(pid_, SIGKILL);
}

void Companion::join(int watchdog_ms) {
  MQUEUEFS_CHECK(pid_ > 0);
  // The pipe ends with the child, or with the last process that the child left behind: so the child's own end
  // is looked for as well.
  std::string bytes;
  int status = 0;
  bool ended = false;
  const int64_t deadline_ms = monotonic_ms() + scaled_ms(watchdog_ms);
  fcntl(report_fd_, F_SETFL, O_NONBLOCK);
  for (bool eof = false; !eof;) {
    pollfd readable{report_fd_, POLLIN, 0};
    poll(&readable, 1, 10);
    if (!ended) ended = waitpid(pid_, &status, WNOHANG) == pid_;
    for (char buffer[4096];;) {
      const ssize_t n = read(report_fd_, buffer, sizeof buffer);
      if (n == 0) eof = true;
      if (n <= 0) break;
      bytes.append(buffer, static_cast<size_t>(n));
    }
    if (ended || monotonic_ms() > deadline_ms) break;
  }
  close(report_fd_);

  for (size_t at = 0; at + sizeof(ReportHeader) <= bytes.size();) {
    ReportHeader header;
    memcpy(&header, bytes.data() + at, sizeof header);
    at += sizeof header;
    if (at + header.file_bytes + header.message_bytes > bytes.size()) break;
    replay(header, bytes.substr(at, header.file_bytes),
           bytes.substr(at + header.file_bytes, header.message_bytes), fuse_connections_);
    at += header.file_bytes + header.message_bytes;
  }

  // A child that closed its pipe is in _exit: a moment.
  if (!ended)
    ended = reap(pid_, &status, static_cast<int>(std::max<int64_t>(deadline_ms - monotonic_ms(), 0)));
  if (!ended) {
    ADD_FAILURE() << "the child did not end within " << scaled_ms(watchdog_ms) << " ms";
    ::kill(leads_group_ ? -pid_ : pid_, SIGKILL);
    ended = reap(pid_, &status, 2000);
    for (unsigned connection : fuse_connections_) {
      if (ended) break;
      std::ofstream("/sys/fs/fuse/connections/" + std::to_string(connection) + "/abort") << 1;
      ended = reap(pid_, &status, 2000);
    }
    if (!ended) ADD_FAILURE() << "the child can't be killed";
  } else if (WIFSIGNALED(status) && !(expect_kill_ && WTERMSIG(status) == SIGKILL)) {
    ADD_FAILURE() << "the child was killed by signal " << WTERMSIG(status) << " ("
                  << strsignal(WTERMSIG(status)) << ")";
  } else if (WIFEXITED(status) && WEXITSTATUS(status) != 0) {
    ADD_FAILURE() << "the child exited with status " << WEXITSTATUS(status);
  }
  if (leads_group_) ::kill(-pid_, SIGKILL);  // what it left behind
  pid_ = -1;
}

void run_in_child(const std::function<void()>& body, int watchdog_ms) {
  Companion(body).join(watchdog_ms);
}

void run_as(uid_t uid, const std::function<void()>& body) {
  run_in_child([&] {
    ASSERT_TRUE(become_user(uid, uid)) << strerror(errno);
    body();
  });
}

void watch_fuse_mount(const std::string& dir) {
  std::ifstream mountinfo("/proc/self/mountinfo");
  for (std::string line; std::getline(mountinfo, line);) {
    std::istringstream fields(line);
    std::string id, parent, device, root, mount_point;
    fields >> id >> parent >> device >> root >> mount_point;
    if (mount_point != dir || device.rfind("0:", 0) != 0) continue;
    if (reporter_of_this_process == nullptr) continue;
    write_report(reporter_of_this_process->fd(), ReportKind::kFuseConnection, std::stoi(device.substr(2)), "",
                 "");
  }
}

Gate::Gate() : fd_(eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE)) {
  MQUEUEFS_CHECK(fd_ >= 0);
}
Gate::~Gate() {
  close(fd_);
}
void Gate::open() {
  eventfd_write(fd_, 1000);
}
void Gate::wait() {
  eventfd_t one;
  while (eventfd_read(fd_, &one) != 0 && errno == EINTR) {
  }
}

}  // namespace mqueuefs::test
