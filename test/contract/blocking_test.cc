// doc/behaviour.md E5, E7..E9, E11, E13: callers that sleep: who is served, and what a signal, a stop, a debugger, a
// freezer, a close or a cancellation does to them.
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/unique_fd.h"
#include "support/child.h"
#include "support/diary.h"
#include "support/expect.h"
#include "support/posix_calls.h"
#include "support/target.h"
#include "support/wait.h"

namespace mqueuefs::test {
namespace {

class Blocking : public TargetTest {};

long curmsgs_of(int fd) {
  mq_attr attributes{};
  EXPECT_OK(mq().getattr(fd, &attributes));
  return attributes.mq_curmsgs;
}

void nothing(int) {}

void handle(int signo, void (*handler)(int), int flags) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = flags;
  EXPECT_OK(sigaction(signo, &action, nullptr));
}

// Counts the calls of its handler, which is how a test knows that a signal has been taken.
std::atomic<int>* handled = nullptr;
void count(int) {
  ++*handled;
}
std::atomic<int>* shared_counter() {
  void* page = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  return new (page) std::atomic<int>(0);
}

// The four blocking calls on a queue in which they block.
struct BlockingCall {
  const char* what;
  bool sends;
  ssize_t (*call)(mqd_t fd);
};

ssize_t call_send(mqd_t fd) {
  return mq().send(fd, "x", 1, 0);
}
ssize_t call_timedsend(mqd_t fd) {
  const timespec deadline = deadline_in_ms(1'000'000);
  return mq().timedsend(fd, "x", 1, 0, &deadline);
}
ssize_t call_receive(mqd_t fd) {
  char buffer[16];
  return mq().receive(fd, buffer, sizeof buffer, nullptr);
}
ssize_t call_timedreceive(mqd_t fd) {
  char buffer[16];
  const timespec deadline = deadline_in_ms(1'000'000);
  return mq().timedreceive(fd, buffer, sizeof buffer, nullptr, &deadline);
}

constexpr BlockingCall kBlockingCalls[] = {{"mq_send", true, call_send},
                                           {"mq_timedsend", true, call_timedsend},
                                           {"mq_receive", false, call_receive},
                                           {"mq_timedreceive", false, call_timedreceive}};

// An empty queue for a receiver, a full one for a sender.
UniqueFd make_blocking_queue(const BlockingCall& call, const char* name) {
  UniqueFd fd(create_queue(name, 1, 16));
  EXPECT_OK(fd.get());
  if (call.sends) {
    EXPECT_OK(send(fd.get(), "full"));
  }
  return fd;
}

// Does what lets the caller go on.
void serve(const BlockingCall& call, int fd) {
  if (call.sends) {
    EXPECT_EQ("full", receive_text(fd));
  } else {
    EXPECT_OK(send(fd, "x"));
  }
}

void for_each_blocking_call(const std::function<void(const BlockingCall&, int fd)>& body) {
  int round = 0;
  for (const BlockingCall& call : kBlockingCalls) {
    SCOPED_TRACE(call.what);
    const UniqueFd fd = make_blocking_queue(call, ("q" + std::to_string(round++)).c_str());
    body(call, fd.get());
  }
}

TEST_F(Blocking, E5_ASignalIsEintr) {
  in_new_namespace([](const std::string&) {
    for_each_blocking_call([](const BlockingCall& call, int fd) {
      Companion blocked([&] {
        handle(SIGUSR1, nothing, 0);
        EXPECT_ERRNO(EINTR, call.call(fd));
        EXPECT_EQ(call.sends ? 1 : 0, curmsgs_of(fd));
      });
      ASSERT_TRUE(wait_until_asleep(blocked.pid()));
      kill(blocked.pid(), SIGUSR1);
      blocked.join();
      EXPECT_EQ(call.sends ? 1 : 0, curmsgs_of(fd)) << "nothing was sent or taken";
    });
  });
}

// A sleep in pieces of a second would miss the handler that runs at the end of a piece.
TEST_F(Blocking, ASignalAfterAWholeSecondIsEintr) {
  in_new_namespace([](const std::string&) {
    for_each_blocking_call([](const BlockingCall& call, int fd) {
      Companion blocked([&] {
        handle(SIGALRM, nothing, 0);
        const itimerval second{{0, 0}, {1, 0}};
        ASSERT_OK(setitimer(ITIMER_REAL, &second, nullptr));
        EXPECT_ERRNO(EINTR, call.call(fd));
      });
      blocked.join();
    });
  });
}

// ipc/mqueue.c:wq_sleep: a caller that is killed leaves the wait queue before its process has ended.
TEST_F(Blocking, NoMessageGoesToWaitersOfADeadProcess) {
  in_new_namespace([](const std::string&) {
    constexpr uint32_t kReceivers = 6;
    const UniqueFd fd(create_queue("a", 4, 16));
    const UniqueFd eager(mq().open("/a", O_RDWR | O_NONBLOCK, 0, nullptr));
    for (int round = 0; round < 8; ++round) {
      Companion dying([&] {
        for (uint32_t i = 0; i < kReceivers; ++i) std::thread([&] { receive_text(fd.get()); }).detach();
        pause();
      });
      ASSERT_TRUE(wait_until_asleep(dying.pid()));
      usleep(50'000);  // the threads
      dying.kill();
      dying.join();
      ASSERT_OK(send(fd.get(), "m"));
      ASSERT_EQ("m", receive_text(eager.get())) << "round " << round;
    }
  });
}

TEST_F(Blocking, E5_AnInterruptedCallerIsNotServedLater) {
  in_new_namespace([](const std::string&) {
    const UniqueFd fd(create_queue("a", 2, 16));
    Companion blocked([&] {
      handle(SIGUSR1, nothing, 0);
      EXPECT_ERRNO(EINTR, call_receive(fd.get()));
    });
    ASSERT_TRUE(wait_until_asleep(blocked.pid()));
    kill(blocked.pid(), SIGUSR1);
    blocked.join();
    ASSERT_OK(send(fd.get(), "for nobody yet"));
    EXPECT_EQ(1, curmsgs_of(fd.get()));
    EXPECT_EQ("for nobody yet", receive_text(fd.get()));
  });
}

TEST_F(Blocking, E5_UnderSaRestartTheCallGoesOn) {
  in_new_namespace([](const std::string&) {
    handled = shared_counter();
    for_each_blocking_call([](const BlockingCall& call, int fd) {
      *handled = 0;
      Companion blocked([&] {
        handle(SIGUSR1, count, SA_RESTART);
        EXPECT_OK(call.call(fd));
      });
      for (int signals = 1; signals <= 3; ++signals) {
        ASSERT_TRUE(wait_until_asleep(blocked.pid()));
        kill(blocked.pid(), SIGUSR1);
        ASSERT_TRUE(wait_until([&] { return *handled == signals; }));
      }
      ASSERT_TRUE(wait_until_asleep(blocked.pid()));
      serve(call, fd);
    });
  });
}

TEST_F(Blocking, E5_UnderSaRestartTheDeadlineStays) {
  in_new_namespace([](const std::string&) {
    handled = shared_counter();
    const UniqueFd fd(create_queue("a", 1, 16));
    Companion blocked([&] {
      handle(SIGUSR1, count, SA_RESTART);
      char buffer[16];
      const timespec deadline = deadline_in_ms(300);
      EXPECT_ERRNO(ETIMEDOUT, mq().timedreceive(fd.get(), buffer, sizeof buffer, nullptr, &deadline));
      EXPECT_LT(0, *handled);
      *handled = -1000;
    });
    ASSERT_TRUE(wait_until_asleep(blocked.pid()));
    // As long as it sleeps: were the time counted anew after each signal, this would never end.
    while (*handled >= 0) {
      kill(blocked.pid(), SIGUSR1);
      usleep(10'000);
    }
  });
}

TEST_F(Blocking, E5_AnIgnoredSignalDoesNothing) {
  in_new_namespace([](const std::string&) {
    for_each_blocking_call([](const BlockingCall& call, int fd) {
      Companion blocked([&] {
        signal(SIGUSR1, SIG_IGN);
        EXPECT_OK(call.call(fd));
      });
      ASSERT_TRUE(wait_until_asleep(blocked.pid()));
      kill(blocked.pid(), SIGUSR1);
      ASSERT_TRUE(wait_until_asleep(blocked.pid()));
      serve(call, fd);
    });
  });
}

int queue_of_handler = -1;

TEST_F(Blocking, E5_TheHandlerMayUseTheQueueItself) {
  in_new_namespace([](const std::string&) {
    const UniqueFd fd(create_queue("a", 1, 16));
    queue_of_handler = fd.get();
    Companion blocked([&] {
      handle(
          SIGUSR1, [](int) { send(queue_of_handler, "by myself"); }, SA_RESTART);
      EXPECT_EQ("by myself", receive_text(fd.get()));
    });
    ASSERT_TRUE(wait_until_asleep(blocked.pid()));
    kill(blocked.pid(), SIGUSR1);
  });
}

bool is_in_state(pid_t pid, char wanted) {
  std::ifstream stat("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  std::getline(stat, text);
  const size_t end = text.rfind(')');
  return end != std::string::npos && end + 2 < text.size() && text[end + 2] == wanted;
}

TEST_F(Blocking, E5_StopAndContinueIsNotSeen) {
  in_new_namespace([](const std::string&) {
    for_each_blocking_call([](const BlockingCall& call, int fd) {
      Companion blocked([&] { EXPECT_OK(call.call(fd)); });
      for (int round = 0; round < 2; ++round) {
        ASSERT_TRUE(wait_until_asleep(blocked.pid()));
        kill(blocked.pid(), SIGSTOP);
        ASSERT_TRUE(wait_until([&] { return is_in_state(blocked.pid(), 'T'); }));
        kill(blocked.pid(), SIGCONT);
      }
      ASSERT_TRUE(wait_until_asleep(blocked.pid()));
      serve(call, fd);
    });
  });
}

TEST_F(Blocking, E5_AStoppedCallerIsServedWhenItGoesOn) {
  in_new_namespace([](const std::string&) {
    for_each_blocking_call([](const BlockingCall& call, int fd) {
      Companion blocked([&] { EXPECT_OK(call.call(fd)); });
      ASSERT_TRUE(wait_until_asleep(blocked.pid()));
      kill(blocked.pid(), SIGSTOP);
      ASSERT_TRUE(wait_until([&] { return is_in_state(blocked.pid(), 'T'); }));
      serve(call, fd);
      EXPECT_TRUE(is_in_state(blocked.pid(), 'T'));
      kill(blocked.pid(), SIGCONT);
      blocked.join();
      EXPECT_EQ(call.sends ? 1 : 0, curmsgs_of(fd));
    });
  });
}

TEST_F(Blocking, E5_AStoppedCallerIsNoLongerInTheLine) {
  in_new_namespace([](const std::string&) {
    const UniqueFd fd(create_queue("a", 1, 16));
    Companion stopped([&] { EXPECT_EQ("second", receive_text(fd.get())); });
    ASSERT_TRUE(wait_until_asleep(stopped.pid()));
    kill(stopped.pid(), SIGSTOP);
    ASSERT_TRUE(wait_until([&] { return is_in_state(stopped.pid(), 'T'); }));
    ASSERT_OK(send(fd.get(), "first"));
    EXPECT_EQ(1, curmsgs_of(fd.get()));
    EXPECT_EQ("first", receive_text(fd.get()));
    kill(stopped.pid(), SIGCONT);
    ASSERT_TRUE(wait_until_asleep(stopped.pid()));
    ASSERT_OK(send(fd.get(), "second"));
  });
}

TEST_F(Blocking, E5_ADebuggerThatAttachesIsNotSeen) {
  in_new_namespace([](const std::string&) {
    for_each_blocking_call([](const BlockingCall& call, int fd) {
      Companion blocked([&] { EXPECT_OK(call.call(fd)); });
      ASSERT_TRUE(wait_until_asleep(blocked.pid()));
      int status = 0;
      ASSERT_OK(ptrace(PTRACE_SEIZE, blocked.pid(), nullptr, nullptr));
      ASSERT_OK(ptrace(PTRACE_INTERRUPT, blocked.pid(), nullptr, nullptr));
      ASSERT_EQ(blocked.pid(), waitpid(blocked.pid(), &status, __WALL));
      ASSERT_TRUE(WIFSTOPPED(status));
      ASSERT_OK(ptrace(PTRACE_CONT, blocked.pid(), nullptr, nullptr));
      ASSERT_TRUE(wait_until_asleep(blocked.pid()));
      ASSERT_OK(ptrace(PTRACE_INTERRUPT, blocked.pid(), nullptr, nullptr));
      ASSERT_EQ(blocked.pid(), waitpid(blocked.pid(), &status, __WALL));
      ASSERT_OK(ptrace(PTRACE_DETACH, blocked.pid(), nullptr, nullptr));
      // The older way, which stops with a signal.
      ASSERT_TRUE(wait_until_asleep(blocked.pid()));
      ASSERT_OK(ptrace(PTRACE_ATTACH, blocked.pid(), nullptr, nullptr));
      ASSERT_EQ(blocked.pid(), waitpid(blocked.pid(), &status, __WALL));
      ASSERT_TRUE(WIFSTOPPED(status));
      ASSERT_OK(ptrace(PTRACE_DETACH, blocked.pid(), nullptr, nullptr));
      ASSERT_TRUE(wait_until_asleep(blocked.pid()));
      serve(call, fd);
    });
  });
}

// A cgroup of one's own that can be frozen, in version 2's hierarchy.
class Freezer {
 public:
  Freezer() {
    for (const char* root : {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"}) {
      const std::string path = std::string(root) + "/mqueuefs-test-" + std::to_string(getpid());
      if (access((std::string(root) + "/cgroup.controllers").c_str(), F_OK) != 0) continue;
      if (mkdir(path.c_str(), 0755) != 0) continue;
      path_ = path;
      if (access((path_ + "/cgroup.freeze").c_str(), W_OK) == 0) return;
      rmdir(path_.c_str());
      path_.clear();
    }
  }
  ~Freezer() {
    if (path_.empty()) return;
    freeze(false);
    wait_until([&] { return rmdir(path_.c_str()) == 0 || errno == ENOENT; }, 2000);
  }
  bool works() const { return !path_.empty(); }
  bool add(pid_t pid) { return write("cgroup.procs", std::to_string(pid)); }
  bool freeze(bool on) { return write("cgroup.freeze", on ? "1" : "0"); }
  bool is_frozen() const {
    std::ifstream events(path_ + "/cgroup.events");
    for (std::string line; std::getline(events, line);)
      if (line == "frozen 1") return true;
    return false;
  }

 private:
  bool write(const char* file, const std::string& text) {
    const UniqueFd fd(open((path_ + "/" + file).c_str(), O_WRONLY | O_CLOEXEC));
    return ::write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
  }
  std::string path_;
};

TEST_F(Blocking, E5_AFreezerIsNotSeen) {
  Freezer freezer;
  if (!freezer.works()) GTEST_SKIP() << "needs a writable cgroup of version 2";
  in_new_namespace([&](const std::string&) {
    for_each_blocking_call([&](const BlockingCall& call, int fd) {
      Companion blocked([&] { EXPECT_OK(call.call(fd)); });
      ASSERT_TRUE(freezer.add(blocked.pid()));
      ASSERT_TRUE(wait_until_asleep(blocked.pid()));
      ASSERT_TRUE(freezer.freeze(true));
      ASSERT_TRUE(wait_until([&] { return freezer.is_frozen(); }));
      ASSERT_TRUE(freezer.freeze(false));
      ASSERT_TRUE(wait_until([&] { return !freezer.is_frozen(); }));
      ASSERT_TRUE(wait_until_asleep(blocked.pid()));
      serve(call, fd);
    });
  });
}

TEST_F(Blocking, E5_AKilledCallerLeavesNothingBehind) {
  in_new_namespace([](const std::string&) {
    for_each_blocking_call([](const BlockingCall& call, int fd) {
      {
        Companion blocked([&] { call.call(fd); });
        ASSERT_TRUE(wait_until_asleep(blocked.pid()));
        blocked.kill();
      }
      if (call.sends) {
        EXPECT_EQ("full", receive_text(fd));
        EXPECT_EQ(0, curmsgs_of(fd));
      } else {
        EXPECT_OK(send(fd, "stays"));
        EXPECT_EQ(1, curmsgs_of(fd));
        EXPECT_EQ("stays", receive_text(fd));
      }
    });
  });
}

// A caller with a rank: 'f' with a digit: SCHED_FIFO of ten times that priority; 'n' with a digit: nice 5
// minus it.
bool take_rank(const char* rank) {
  if (rank[0] == 'f') {
    const sched_param parameter{(rank[1] - '0') * 10};
    return sched_setscheduler(0, SCHED_FIFO, &parameter) == 0;
  }
  return setpriority(PRIO_PROCESS, 0, 5 - (rank[1] - '0')) == 0;
}

// Real-time before nice, then first come first served: the order in which they came is another one.
constexpr const char* kRanksAsTheyCome[] = {"n0", "f1", "n9", "n0", "f3", "f1", "n9"};
constexpr const char* kRanksAsTheyAreServed[] = {"f3", "f1", "f1", "n9", "n9", "n0", "n0"};
constexpr int kPlacesAsTheyAreServed[] = {4, 1, 5, 2, 6, 0, 3};

bool may_take_ranks() {
  const pid_t child = fork();
  if (child == 0) _exit(take_rank("f1") && take_rank("n9") ? 0 : 1);
  int status = 1;
  waitpid(child, &status, 0);
  return status == 0;
}

TEST_F(Blocking, E7_ReceiversAreServedByTaskPriorityThenInOrder) {
  if (!may_take_ranks()) GTEST_SKIP() << "needs CAP_SYS_NICE";
  in_new_namespace([](const std::string&) {
    const UniqueFd fd(create_queue("a", 1, 16));
    Diary diary;
    std::vector<std::unique_ptr<Companion>> receivers;
    for (size_t i = 0; i < std::size(kRanksAsTheyCome); ++i) {
      receivers.push_back(std::make_unique<Companion>([&, i] {
        ASSERT_TRUE(take_rank(kRanksAsTheyCome[i]));
        const std::string text = receive_text(fd.get());
        diary.note(std::to_string(i) + "=" + text + " ");
      }));
      ASSERT_TRUE(wait_until_asleep(receivers.back()->pid()));
    }
    std::string expected;
    for (size_t i = 0; i < std::size(kRanksAsTheyAreServed); ++i) {
      ASSERT_OK(send(fd.get(), std::string(1, static_cast<char>('a' + i))));
      expected += std::to_string(kPlacesAsTheyAreServed[i]) + "=" + static_cast<char>('a' + i) + " ";
      ASSERT_TRUE(diary.wait_for(expected)) << diary.all() << "instead of " << expected;
    }
  });
}

TEST_F(Blocking, E8_SendersAreAdmittedByTaskPriorityNotByMessagePriority) {
  if (!may_take_ranks()) GTEST_SKIP() << "needs CAP_SYS_NICE";
  in_new_namespace([](const std::string&) {
    const UniqueFd fd(create_queue("a", 1, 16));
    ASSERT_OK(send(fd.get(), "full"));
    std::vector<std::unique_ptr<Companion>> senders;
    for (size_t i = 0; i < std::size(kRanksAsTheyCome); ++i) {
      senders.push_back(std::make_unique<Companion>([&, i] {
        ASSERT_TRUE(take_rank(kRanksAsTheyCome[i]));
        // The least of the tasks has the most important message.
        const unsigned priority = kRanksAsTheyCome[i][0] == 'n' ? 1000 - static_cast<unsigned>(i) : 1;
        EXPECT_OK(send(fd.get(), std::to_string(i), priority));
      }));
      ASSERT_TRUE(wait_until_asleep(senders.back()->pid()));
    }
    EXPECT_EQ("full", receive_text(fd.get()));
    for (const int place : kPlacesAsTheyAreServed)
      EXPECT_EQ(std::to_string(place), receive_text(fd.get()));
  });
}

TEST_F(Blocking, E7_WhoIsInterruptedAndRestartsStandsAtTheEndOfTheLine) {
  in_new_namespace([](const std::string&) {
    handled = shared_counter();
    const UniqueFd fd(create_queue("a", 1, 16));
    Companion first([&] {
      handle(SIGUSR1, count, SA_RESTART);
      EXPECT_EQ("2", receive_text(fd.get()));
    });
    ASSERT_TRUE(wait_until_asleep(first.pid()));
    Companion second([&] { EXPECT_EQ("1", receive_text(fd.get())); });
    ASSERT_TRUE(wait_until_asleep(second.pid()));
    kill(first.pid(), SIGUSR1);
    ASSERT_TRUE(wait_until([] { return *handled == 1; }));
    ASSERT_TRUE(wait_until_asleep(first.pid()));
    ASSERT_OK(send(fd.get(), "1"));
    second.join();
    ASSERT_OK(send(fd.get(), "2"));
  });
}

TEST_F(Blocking, E7_APriorityCountsAsItWasWhenTheCallerCame) {
  if (!may_take_ranks()) GTEST_SKIP() << "needs CAP_SYS_NICE";
  in_new_namespace([](const std::string&) {
    const UniqueFd fd(create_queue("a", 1, 16));
    Companion first([&] { EXPECT_EQ("1", receive_text(fd.get())); });
    ASSERT_TRUE(wait_until_asleep(first.pid()));
    Companion second([&] { EXPECT_EQ("2", receive_text(fd.get())); });
    ASSERT_TRUE(wait_until_asleep(second.pid()));
    ASSERT_OK(setpriority(PRIO_PROCESS, static_cast<id_t>(second.pid()), -10));
    ASSERT_OK(send(fd.get(), "1"));
    first.join();
    ASSERT_OK(send(fd.get(), "2"));
  });
}

// Looks at the queue again and again, in a thread, until it is destroyed.
class Sampler {
 public:
  Sampler(int fd, long never_below, long never_above)
      : thread_([=, this] {
          while (!stop_) {
            const long now = curmsgs_of(fd);
            if (now < never_below || now > never_above) seen_ = now;
            ++looks_;
          }
        }) {}
  ~Sampler() {
    EXPECT_TRUE(wait_until([&] { return looks_ > 10; }));
    stop_ = true;
    thread_.join();
    EXPECT_EQ(-1, seen_) << "curmsgs that should never be seen";
  }

 private:
  std::atomic<bool> stop_ = false;
  std::atomic<long> seen_ = -1, looks_ = 0;
  std::thread thread_;
};

TEST_F(Blocking, E9_HandOverIsNeverVisibleAsQueued) {
  in_new_namespace([](const std::string&) {
    const UniqueFd fd(create_queue("a", 1, 16));
    const UniqueFd epoll(epoll_create1(EPOLL_CLOEXEC));
    epoll_event edge{EPOLLIN | EPOLLET, {}};
    ASSERT_OK(epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd.get(), &edge));
    const sigevent event = event_of(SIGEV_NONE);
    ASSERT_OK(mq().notify(fd.get(), &event));
    const Sampler sampler(fd.get(), 0, 0);
    for (int round = 0; round < 20; ++round) {
      Companion receiver([&] { EXPECT_EQ("x", receive_text(fd.get())); });
      ASSERT_TRUE(wait_until_asleep(receiver.pid()));
      ASSERT_OK(send(fd.get(), "x"));
      ASSERT_EQ(0, epoll_wait(epoll.get(), &edge, 1, 0));
    }
    EXPECT_ERRNO(EBUSY, mq().notify(fd.get(), &event)) << "the registration was not used up";
  });
}

TEST_F(Blocking, E9_AdmissionIsNeverVisibleAsRoom) {
  in_new_namespace([](const std::string&) {
    const UniqueFd fd(create_queue("a", 1, 16));
    ASSERT_OK(send(fd.get(), "0"));
    const UniqueFd epoll(epoll_create1(EPOLL_CLOEXEC));
    epoll_event edge{EPOLLOUT | EPOLLET, {}};
    ASSERT_OK(epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd.get(), &edge));
    const Sampler sampler(fd.get(), 1, 1);
    for (int round = 1; round <= 20; ++round) {
      Companion sender([&] { EXPECT_OK(send(fd.get(), std::to_string(round))); });
      ASSERT_TRUE(wait_until_asleep(sender.pid()));
      ASSERT_EQ(std::to_string(round - 1), receive_text(fd.get()));
      ASSERT_EQ(0, epoll_wait(epoll.get(), &edge, 1, 0));
    }
  });
}

TEST_F(Blocking, E9_ANonblockingReceiverCanNotTakeWhatWasHandedOver) {
  in_new_namespace([](const std::string&) {
    const UniqueFd fd(create_queue("a", 1, 16));
    const UniqueFd eager(mq().open("/a", O_RDWR | O_NONBLOCK, 0, nullptr));
    for (int round = 0; round < 20; ++round) {
      Companion receiver([&] { EXPECT_EQ("x", receive_text(fd.get())); });
      ASSERT_TRUE(wait_until_asleep(receiver.pid()));
      ASSERT_OK(send(fd.get(), "x"));
      ASSERT_EQ("<EAGAIN>", receive_text(eager.get()));
    }
  });
}

// A thread in a blocking call, and its number in the system.
struct BlockedThread {
  std::atomic<pid_t> tid = 0;
  ssize_t result = -2;
  int code = 0;
  std::thread thread;

  explicit BlockedThread(const std::function<ssize_t()>& call)
      : thread([this, call] {
          tid = static_cast<pid_t>(syscall(SYS_gettid));
          result = call();
          code = errno;
        }) {
    EXPECT_TRUE(wait_until([&] { return tid != 0; }));
    EXPECT_TRUE(wait_until_asleep(tid));
  }
};

TEST_F(Blocking, E11_CloseByAnotherThreadLeavesTheCallerBlockedAndServed) {
  in_new_namespace([](const std::string&) {
    for_each_blocking_call([](const BlockingCall& call, int fd) {
      const int closed = dup(fd);
      BlockedThread blocked([&] { return call.call(closed); });
      ASSERT_OK(mq().close(closed));
      EXPECT_TRUE(wait_until_asleep(blocked.tid));
      serve(call, fd);
      blocked.thread.join();
      EXPECT_LE(0, blocked.result) << errno_name(blocked.code);
    });
  });
}

// It is what fdget() of fs/file.c holds while the call lasts; so its creator is charged for it (doc/behaviour.md D2).
TEST_F(Blocking, E11_AQueueLastsAsLongAsACallerIsBlockedInIt) {
  in_new_namespace([](const std::string&) {
    const rlimit one_queue{120'000, 120'000};
    ASSERT_OK(setrlimit(RLIMIT_MSGQUEUE, &one_queue));
    const auto create = [](const char* name) {
      mq_attr attributes{};
      attributes.mq_maxmsg = 10;
      attributes.mq_msgsize = 8192;
      return mq().open(name, O_RDWR | O_CREAT, 0600, &attributes);
    };
    const int first = create("/first");
    ASSERT_OK(first);
    timespec deadline{};
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += 2;
    BlockedThread blocked([&] {
      char buffer[8192];
      return mq().timedreceive(first, buffer, sizeof buffer, nullptr, &deadline);
    });
    ASSERT_OK(mq().unlink("/first"));
    ASSERT_OK(mq().close(first));
    EXPECT_TRUE(wait_until_asleep(blocked.tid));
    EXPECT_ERRNO(EMFILE, create("/second"));
    blocked.thread.join();
    EXPECT_EQ(ETIMEDOUT, blocked.code);
    EXPECT_TRUE(wait_until([&] { return UniqueFd(create("/second")).get() >= 0; }));
  });
}

TEST_F(Blocking, E11_TheNumberMayBeAnotherQueueMeanwhile) {
  in_new_namespace([](const std::string&) {
    const UniqueFd a(create_queue("a", 1, 16)), b(create_queue("b", 1, 16));
    const int number = dup(a.get());
    char buffer[16] = {};
    BlockedThread blocked([&] { return mq().receive(number, buffer, sizeof buffer, nullptr); });
    ASSERT_OK(dup2(b.get(), number));
    ASSERT_OK(send(number, "of b"));
    EXPECT_TRUE(wait_until_asleep(blocked.tid));
    ASSERT_OK(send(a.get(), "of a"));
    blocked.thread.join();
    EXPECT_EQ(4, blocked.result);
    EXPECT_STREQ("of a", buffer);
    EXPECT_EQ("of b", receive_text(number));
    close(number);
  });
}

TEST_F(Blocking, E11_AThreadMayBlockWhileOthersWorkOnTheSameDescriptor) {
  in_new_namespace([](const std::string&) {
    const UniqueFd fd(create_queue("a", 1, 16)), other(create_queue("b", 1, 16));
    BlockedThread blocked([&] { return call_receive(fd.get()); });
    EXPECT_EQ(0, curmsgs_of(fd.get()));
    ASSERT_OK(send(other.get(), "x"));
    EXPECT_EQ("x", receive_text(other.get()));
    // Set while it sleeps: no effect on a call under way.
    mq_attr nonblocking{};
    nonblocking.mq_flags = O_NONBLOCK;
    ASSERT_OK(mq().setattr(fd.get(), &nonblocking, nullptr));
    EXPECT_EQ("<EAGAIN>", receive_text(fd.get()));
    EXPECT_TRUE(wait_until_asleep(blocked.tid));
    ASSERT_OK(send(fd.get(), "y"));
    blocked.thread.join();
    EXPECT_EQ(1, blocked.result);
  });
}

// A thread that may be cancelled: what pthread_create wants, with no C++ frame that would catch the
// unwinding.
struct Cancellable {
  ssize_t (*call)(mqd_t);
  int fd;
  std::atomic<pid_t> tid{0};
  std::atomic<bool> go{true}, cleaned_up{false}, returned{false};

  static void clean_up(void* self) { static_cast<Cancellable*>(self)->cleaned_up = true; }
  static void* run(void* argument) {
    auto* self = static_cast<Cancellable*>(argument);
    pthread_cleanup_push(clean_up, self);
    self->tid = static_cast<pid_t>(syscall(SYS_gettid));
    while (!self->go)
      sched_yield();
    self->call(self->fd);
    self->returned = true;
    pthread_cleanup_pop(0);
    return nullptr;
  }
};

TEST_F(Blocking, E13_ABlockedCallIsACancellationPoint) {
  in_new_namespace([](const std::string&) {
    for_each_blocking_call([](const BlockingCall& call, int fd) {
      Cancellable cancellable{call.call, fd};
      pthread_t thread;
      ASSERT_EQ(0, pthread_create(&thread, nullptr, Cancellable::run, &cancellable));
      ASSERT_TRUE(wait_until([&] { return cancellable.tid != 0; }));
      ASSERT_TRUE(wait_until_asleep(cancellable.tid));
      ASSERT_EQ(0, pthread_cancel(thread));
      void* result = nullptr;
      ASSERT_EQ(0, pthread_join(thread, &result));
      EXPECT_EQ(PTHREAD_CANCELED, result);
      EXPECT_TRUE(cancellable.cleaned_up);
      if (call.sends) {
        EXPECT_EQ("full", receive_text(fd));
        EXPECT_EQ(0, curmsgs_of(fd)) << "the message of the cancelled sender is not sent";
      } else {
        EXPECT_OK(send(fd, "stays"));
        EXPECT_EQ(1, curmsgs_of(fd));
      }
    });
  });
}

TEST_F(Blocking, E13_ACancellationThatIsPendingActsBeforeTheCallDoesAnything) {
  in_new_namespace([](const std::string&) {
    const UniqueFd fd(create_queue("a", 2, 16));
    ASSERT_OK(send(fd.get(), "stays"));
    for (const BlockingCall& call : kBlockingCalls) {
      SCOPED_TRACE(call.what);
      Cancellable cancellable{call.call, fd.get()};
      cancellable.go = false;
      pthread_t thread;
      ASSERT_EQ(0, pthread_create(&thread, nullptr, Cancellable::run, &cancellable));
      ASSERT_TRUE(wait_until([&] { return cancellable.tid != 0; }));
      ASSERT_EQ(0, pthread_cancel(thread));
      cancellable.go = true;
      void* result = nullptr;
      ASSERT_EQ(0, pthread_join(thread, &result));
      EXPECT_EQ(PTHREAD_CANCELED, result);
      EXPECT_FALSE(cancellable.returned);
      EXPECT_EQ(1, curmsgs_of(fd.get()));
    }
  });
}

ssize_t receive_with_cancellation_disabled(mqd_t fd) {
  int before;
  pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
  const ssize_t result = call_receive(fd);
  pthread_setcancelstate(before, nullptr);
  return result;
}

TEST_F(Blocking, E13_WhereCancellationIsDisabledTheCallGoesOn) {
  in_new_namespace([](const std::string&) {
    const UniqueFd fd(create_queue("a", 1, 16));
    Cancellable cancellable{receive_with_cancellation_disabled, fd.get()};
    pthread_t thread;
    ASSERT_EQ(0, pthread_create(&thread, nullptr, Cancellable::run, &cancellable));
    ASSERT_TRUE(wait_until([&] { return cancellable.tid != 0; }));
    ASSERT_TRUE(wait_until_asleep(cancellable.tid));
    ASSERT_EQ(0, pthread_cancel(thread));
    ASSERT_TRUE(wait_until_asleep(cancellable.tid));
    ASSERT_OK(send(fd.get(), "x"));
    void* result = nullptr;
    ASSERT_EQ(0, pthread_join(thread, &result));
    EXPECT_TRUE(cancellable.returned);
    EXPECT_EQ(0, curmsgs_of(fd.get()));
  });
}

}  // namespace
}  // namespace mqueuefs::test
