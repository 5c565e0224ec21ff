// See seccomp_rows.h. Who is measured carries a filter for good, so each contender is a process of its own, told by
// a pipe when to do its batch, and tells how long it took.
#include "seccomp_rows.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <mqueue.h>
#include <poll.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "client/connection.h"
#include "control/messages.h"
#include "measure.h"
#include "sandbox.h"
#include "seccomp/filter.h"
#include "seccomp/listener.h"

namespace mqueuefs::bench {
namespace {

constexpr int kPayloadBytes = 64;
constexpr int kPairs = 500;  // a batch

/// A process that does a batch whenever it is told to.
class Worker {
 public:
  /// `prepare` runs in it first; `batch` does `count` pairs of calls and returns nanoseconds.
  Worker(std::function<void()> prepare, std::function<int64_t(int count)> batch) : Worker(std::move(prepare), std::move(batch), make_pipes()) {}

  int64_t run(int count) {
    int64_t answer = -1;
    if (write(pipes_[1], &count, sizeof count) != sizeof count || read(pipes_[2], &answer, sizeof answer) != sizeof answer)
      fail("a process that is measured");
    return answer;
  }
  void start(int count) {
    if (write(pipes_[1], &count, sizeof count) != sizeof count) fail("write");
  }
  int64_t finish() {
    int64_t answer = -1;
    if (read(pipes_[2], &answer, sizeof answer) != sizeof answer) fail("read");
    return answer;
  }

 private:
  struct Pipes {
    int fds[4];
    int operator[](int i) const { return fds[i]; }
  };
  static Pipes make_pipes() {
    Pipes pipes{};
    if (pipe2(pipes.fds, O_CLOEXEC) != 0 || pipe2(pipes.fds + 2, O_CLOEXEC) != 0) fail("pipe");
    return pipes;
  }
  Worker(std::function<void()> prepare, std::function<int64_t(int)> batch, Pipes pipes)
      : pipes_(pipes), child_(Child::start([&] {
          prepare();
          for (int count; read(pipes[0], &count, sizeof count) == sizeof count;) {
            const int64_t taken = batch(count);
            if (write(pipes[3], &taken, sizeof taken) != sizeof taken) return 1;
          }
          return 0;
        })) {
    close(pipes_[0]);
    close(pipes_[3]);
  }

  Pipes pipes_;
  Child child_;
};

// ---- the floor: a filter on one call that nobody else makes, and who answers it ----

int install_bare_filter(long number) {
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(number), 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog all{4, program};
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  const int listener = static_cast<int>(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &all));
  if (listener < 0) fail("seccomp");
  return listener;
}

[[noreturn]] void answer_for_ever(int fd) {
  seccomp::Listener listener{UniqueFd(fd)};
  for (;;) {
    pollfd ready{listener.fd(), POLLIN, 0};
    if (poll(&ready, 1, -1) < 0 || (ready.revents & POLLIN) == 0) _exit(0);
    if (const auto call = listener.take()) listener.answer(call->id, 0, 0);
  }
}

void be_answered_by_nobody_much() {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) fail("socketpair");
  // The supervisor is forked first: it must not carry the filter.
  const pid_t target = getpid();
  if (fork() == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int number = -1;
    if (read(pair[1], &number, sizeof number) != sizeof number) _exit(1);
    const int pidfd = static_cast<int>(syscall(SYS_pidfd_open, target, 0));
    const int listener = static_cast<int>(syscall(SYS_pidfd_getfd, pidfd, number, 0));
    if (listener < 0) _exit(1);
    if (write(pair[1], "y", 1) != 1) _exit(1);
    answer_for_ever(listener);
  }
  const int listener = install_bare_filter(SYS_mq_getsetattr);
  char unused;
  if (write(pair[0], &listener, sizeof listener) != sizeof listener || read(pair[0], &unused, 1) != 1) fail("supervisor");
  close(listener);
}

int64_t bare_pairs(int count) {
  const int64_t start = monotonic_ns();
  for (int i = 0; i < 2 * count; ++i) {
    if (syscall(SYS_mq_getsetattr, -1, nullptr, nullptr) != 0) fail("a bare notification");
  }
  return monotonic_ns() - start;
}

// ---- ours ----

void be_served() {
  auto connection = client::Connection::connect(client::StartDaemon::kNever, "");
  if (!connection) fail("the daemon");
  auto listener = seccomp::install_filter();
  if (!listener) fail("seccomp");
  const control::AdoptListener request{};
  for (int attempt = 0; attempt < 1000; ++attempt) {
    const auto adopted = connection->request(control::Type::kAdoptListener, control::bytes_of(request), {}, listener->get());
    if (adopted) return;
    errno = adopted.code();
    if (errno != EBUSY) break;
    usleep(20'000);
  }
  fail("handing over the listener");
}

mqd_t open_queue(const std::string& name) {
  mq_attr attributes{};
  attributes.mq_maxmsg = 2;  // a thousand of them within RLIMIT_MSGQUEUE
  attributes.mq_msgsize = kPayloadBytes;
  const mqd_t queue = mq_open(name.c_str(), O_RDWR | O_CREAT, 0600, &attributes);
  if (queue < 0) fail("mq_open");
  return queue;
}

int64_t message_pairs(mqd_t queue, int count) {
  char payload[kPayloadBytes] = {};
  const int64_t start = monotonic_ns();
  for (int i = 0; i < count; ++i) {
    if (mq_send(queue, payload, sizeof payload, 1) != 0) fail("mq_send");
    if (mq_receive(queue, payload, sizeof payload, nullptr) != kPayloadBytes) fail("mq_receive");
  }
  return monotonic_ns() - start;
}

int64_t other_calls(int count) {
  const int64_t start = monotonic_ns();
  for (int i = 0; i < count; ++i) syscall(SYS_getppid);
  return monotonic_ns() - start;
}

// Somebody whose memory the daemon does not touch on its loop.
constexpr uid_t kOther = 65534;
bool may_be_another() {
  const pid_t child = fork();
  if (child == 0) _exit(setresuid(kOther, kOther, kOther) == 0 ? 0 : 1);
  int status = 0;
  return waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

Row pair_row(int rounds, bool by_another) {
  Worker bare(be_answered_by_nobody_much, bare_pairs);
  mqd_t queue = -1;
  Worker ours(
      [&] {
        be_served();
        if (by_another && setresuid(kOther, kOther, kOther) != 0) fail("setresuid");
        queue = open_queue(by_another ? "/bench-another" : "/bench-seccomp");
      },
      [&](int count) { return message_pairs(queue, count); });
  const Measured measured = measure({{"bare", [&] { return bare.run(kPairs); }}, {"mqueuefs", [&] { return ours.run(kPairs); }}},
                                    kPairs, rounds);
  Row row;
  row.what = by_another ? "the same by a user who does not administer the daemon"
                        : "send + receive, 64 bytes; floor: two bare notifications";
  row.unit = "us";
  row.floor = measured.median_ns(0) / 1000;
  row.mqueuefs = measured.median_ns(1) / 1000;
  row.ratio = measured.ratio(1, 0);
  row.target = "<= 3.00 x floor";
  row.reached = *row.ratio <= 3.0;
  return row;
}

Row other_call_row(int rounds) {
  constexpr int kCalls = 20'000;
  Worker without([] {}, other_calls);
  Worker with(be_served, other_calls);
  const Measured measured =
      measure({{"without", [&] { return without.run(kCalls); }}, {"with", [&] { return with.run(kCalls); }}}, kCalls, rounds);
  Row row;
  row.what = "another system call (getppid); floor: without a filter";
  row.unit = "ns";
  row.floor = measured.median_ns(0);
  row.mqueuefs = measured.median_ns(1);
  row.ratio = measured.ratio(1, 0);
  return row;
}

Row many_row(int targets) {
  constexpr int kPairsEach = 20;
  std::vector<Worker> workers;
  workers.reserve(static_cast<size_t>(targets));
  for (int i = 0; i < targets; ++i) {
    auto queue = std::make_shared<mqd_t>(-1);
    workers.emplace_back(
        [queue, i] {
          be_served();
          *queue = open_queue("/bench-" + std::to_string(i));
        },
        [queue](int count) { return message_pairs(*queue, count); });
  }
  for (Worker& worker : workers) worker.run(1);  // all are there
  const int64_t start = monotonic_ns();
  for (Worker& worker : workers) worker.start(kPairsEach);
  for (Worker& worker : workers) worker.finish();
  Row row;
  row.what = "the same by " + std::to_string(targets) + " targets at once, each pair";
  row.unit = "us";
  row.mqueuefs = static_cast<double>(monotonic_ns() - start) / 1000 / kPairsEach / targets;
  return row;
}

}  // namespace

void add_seccomp_rows(int rounds, int targets, Report& report) {
  report.rows.push_back(pair_row(rounds, false));
  if (may_be_another()) report.rows.push_back(pair_row(rounds, true));
  report.rows.push_back(other_call_row(rounds));
  report.rows.push_back(many_row(targets));
}

}  // namespace mqueuefs::bench
