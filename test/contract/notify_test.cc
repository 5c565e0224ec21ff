// doc/behaviour.md F2..F8: mq_notify: who may register, what fires, what the signal says, and what ends a registration.
#include <fcntl.h>
#include <linux/netlink.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <climits>
#include <cstring>
#include <fstream>
#include <functional>
#include <string>
#include <thread>

#include "base/unique_fd.h"
#include "support/capability_check.h"
#include "support/child.h"
#include "support/credentials.h"
#include "support/expect.h"
#include "support/posix_calls.h"
#include "support/target.h"
#include "support/wait.h"

namespace mqueuefs::test {
namespace {

class Notify : public TargetTest {};

constexpr int kSignal = SIGUSR1;

// Blocked, so that it stays pending until it is taken.
void block_signal() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, kSignal);
  sigaddset(&set, SIGRTMIN);
  EXPECT_EQ(0, pthread_sigmask(SIG_BLOCK, &set, nullptr));
}

// The signal that has come, or comes within `limit_ms`; si_signo is 0 if none does.
siginfo_t take_signal(int limit_ms = 0, int signo = kSignal) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, signo);
  siginfo_t info{};
  const timespec limit{limit_ms / 1000, limit_ms % 1000 * 1'000'000};
  if (sigtimedwait(&set, &info, &limit) < 0) info.si_signo = 0;
  return info;
}

// Long enough for any machine; only a failing test takes so long.
constexpr int kComes = 5000;

int register_signal(int fd, int signo = kSignal, void* value = nullptr) {
  const sigevent event = event_of(SIGEV_SIGNAL, signo, value);
  return mq().notify(fd, &event);
}

int register_none(int fd) {
  const sigevent event = event_of(SIGEV_NONE);
  return mq().notify(fd, &event);
}

int unregister(int fd) {
  return mq().notify(fd, nullptr);
}

// NOTIFY_PID of the status line, read through a descriptor that stays open.
int registered_pid(int fd) {
  char text[128] = {};
  EXPECT_LT(0, pread(fd, text, sizeof text - 1, 0));
  const char* at = strstr(text, "NOTIFY_PID:");
  return at != nullptr ? atoi(at + strlen("NOTIFY_PID:")) : -1;
}

UniqueFd make_queue(const char* name = "a", int oflag = O_RDWR | O_CREAT | O_NONBLOCK) {
  UniqueFd fd(create_queue(name, 4, 16, oflag, 0666));
  EXPECT_OK(fd.get());
  return fd;
}

// What a sender does, as another process; its pid.
pid_t send_from_another_process(int fd, const char* text = "x", uid_t uid = 0) {
  Companion sender([&] {
    if (uid != 0) {
      ASSERT_TRUE(become_user(uid, uid));
    }
    EXPECT_OK(send(fd, text));
  });
  const pid_t pid = sender.pid();
  sender.join();
  return pid;
}

TEST_F(Notify, F2_TypesAndSignalNumbers) {
  in_new_namespace([](const std::string&) {
    const UniqueFd fd = make_queue();
    for (const int type : {3, 5, -1, INT_MAX, INT_MIN, 100, int{SIGEV_THREAD_ID}}) {
      const sigevent event = event_of(type, kSignal);
      EXPECT_ERRNO(EINVAL, mq().notify(fd.get(), &event)) << type;
      EXPECT_ERRNO(EINVAL, mq().notify(-1, &event)) << type;
    }
    for (const int signo : {65, 66, 1000, -1, INT_MIN, INT_MAX}) {
      EXPECT_ERRNO(EINVAL, register_signal(fd.get(), signo)) << signo;
      EXPECT_ERRNO(EINVAL, register_signal(-1, signo)) << signo;
    }
    for (const int signo : {0, 1, 9, 32, 64}) {
      EXPECT_OK(register_signal(fd.get(), signo)) << signo;
      EXPECT_OK(unregister(fd.get()));
    }
    const sigevent none = event_of(SIGEV_NONE, 1000);
    EXPECT_OK(mq().notify(fd.get(), &none)) << "the number does not matter";
  });
}

TEST_F(Notify, F2_BadDescriptors) {
  in_new_namespace([](const std::string& dir) {
    const UniqueFd queue = make_queue();
    const UniqueFd null(open("/dev/null", O_RDWR | O_CLOEXEC)),
        directory(open(dir.c_str(), O_RDONLY | O_CLOEXEC)),
        path(open((dir + "/a").c_str(), O_PATH | O_CLOEXEC));
    sigevent thread = event_of(SIGEV_THREAD);
    thread.sigev_notify_function = [](sigval) {};
    for (const int fd : {-1, 777, INT_MAX, null.get(), directory.get(), path.get()}) {
      EXPECT_ERRNO(EBADF, register_signal(fd)) << fd;
      EXPECT_ERRNO(EBADF, register_none(fd)) << fd;
      EXPECT_ERRNO(EBADF, unregister(fd)) << fd;
      EXPECT_ERRNO(EBADF, mq().notify(fd, &thread)) << fd;
    }
  });
}

TEST_F(Notify, F2_AnyAccessMode) {
  in_new_namespace([](const std::string&) {
    const UniqueFd made = make_queue();
    for (const int mode : {O_RDONLY, O_WRONLY}) {
      const UniqueFd fd(mq().open("/a", mode, 0, nullptr));
      EXPECT_OK(register_none(fd.get()));
      EXPECT_OK(unregister(fd.get()));
    }
  });
}

TEST_F(Notify, F2_BusyWhoeverIsRegistered) {
  in_new_namespace([](const std::string&) {
    const UniqueFd fd = make_queue(), other(mq().open("/a", O_RDWR, 0, nullptr));
    sigevent thread = event_of(SIGEV_THREAD);
    thread.sigev_notify_function = [](sigval) {};
    ASSERT_OK(register_none(fd.get()));
    EXPECT_ERRNO(EBUSY, register_none(fd.get()));
    EXPECT_ERRNO(EBUSY, register_signal(other.get()));
    EXPECT_ERRNO(EBUSY, mq().notify(fd.get(), &thread));
    EXPECT_ERRNO(EINVAL, register_signal(fd.get(), 65)) << "before that";
    run_in_child([&] { EXPECT_ERRNO(EBUSY, register_none(fd.get())); });
    ASSERT_OK(unregister(other.get())) << "any descriptor of the queue";
    run_in_child([&] { EXPECT_OK(register_none(fd.get())); });
    EXPECT_OK(register_none(fd.get())) << "the child has ended";
  });
}

TEST_F(Notify, F3_NullUnregistersOnesOwnOnly) {
  in_new_namespace([](const std::string&) {
    const UniqueFd fd = make_queue();
    EXPECT_OK(unregister(fd.get())) << "nobody is registered";
    ASSERT_OK(register_none(fd.get()));
    run_in_child([&] {
      EXPECT_OK(unregister(fd.get()));
      EXPECT_ERRNO(EBUSY, register_none(fd.get()));
    });
    EXPECT_EQ(getpid(), registered_pid(fd.get()));
    EXPECT_OK(unregister(fd.get()));
    EXPECT_EQ(0, registered_pid(fd.get()));
  });
}

TEST_F(Notify, F3_AnyThreadOfTheProcessIsTheOwner) {
  in_new_namespace([](const std::string&) {
    const UniqueFd fd = make_queue();
    std::thread([&] { EXPECT_OK(register_none(fd.get())); }).join();
    EXPECT_EQ(getpid(), registered_pid(fd.get())) << "the thread has ended, the process has not";
    std::thread([&] { EXPECT_OK(unregister(fd.get())); }).join();
    EXPECT_EQ(0, registered_pid(fd.get()));
  });
}

TEST_F(Notify, F4_FiresOnceWhenTheEmptyQueueGetsAMessage) {
  in_new_namespace([](const std::string&) {
    block_signal();
    const UniqueFd fd = make_queue();
    ASSERT_OK(register_signal(fd.get()));
    EXPECT_EQ(0, take_signal().si_signo);
    ASSERT_OK(send(fd.get(), "1"));
    EXPECT_EQ(kSignal, take_signal(kComes).si_signo);
    EXPECT_EQ(0, registered_pid(fd.get()));
    receive_text(fd.get());
    ASSERT_OK(send(fd.get(), "2"));
    EXPECT_EQ(0, take_signal().si_signo) << "once";
    receive_text(fd.get());
    ASSERT_OK(register_signal(fd.get()));
    ASSERT_OK(send(fd.get(), "")) << "an empty message is one";
    EXPECT_EQ(kSignal, take_signal(kComes).si_signo);
  });
}

TEST_F(Notify, F4_NotWhileTheQueueHasMessages) {
  in_new_namespace([](const std::string&) {
    block_signal();
    const UniqueFd fd = make_queue();
    ASSERT_OK(send(fd.get(), "1"));
    ASSERT_OK(register_signal(fd.get()));
    ASSERT_OK(send(fd.get(), "2"));
    EXPECT_EQ(getpid(), registered_pid(fd.get()));
    receive_text(fd.get());
    ASSERT_OK(send(fd.get(), "3"));
    EXPECT_EQ(getpid(), registered_pid(fd.get()));
    receive_text(fd.get());
    receive_text(fd.get());
    EXPECT_EQ(0, take_signal().si_signo);
    ASSERT_OK(send(fd.get(), "4"));
    EXPECT_EQ(kSignal, take_signal(kComes).si_signo);
  });
}

TEST_F(Notify, F4_NotWhereAReceiverWaits) {
  in_new_namespace([](const std::string&) {
    block_signal();
    const UniqueFd fd = make_queue("a", O_RDWR | O_CREAT);
    ASSERT_OK(register_signal(fd.get()));
    Companion receiver([&] { EXPECT_EQ("1", receive_text(fd.get())); });
    ASSERT_TRUE(wait_until_asleep(receiver.pid()));
    ASSERT_OK(send(fd.get(), "1"));
    receiver.join();
    EXPECT_EQ(getpid(), registered_pid(fd.get()));
    EXPECT_EQ(0, take_signal().si_signo);
    ASSERT_OK(send(fd.get(), "2"));
    EXPECT_EQ(kSignal, take_signal(kComes).si_signo);
  });
}

TEST_F(Notify, F4_NotByASenderWhoIsAdmitted) {
  in_new_namespace([](const std::string&) {
    const UniqueFd fd(create_queue("a", 1, 16));
    ASSERT_OK(send(fd.get(), "first"));
    Companion sender([&] { EXPECT_OK(send(fd.get(), "second")); });
    ASSERT_TRUE(wait_until_asleep(sender.pid()));
    const sigevent event{.sigev_signo = 0, .sigev_notify = SIGEV_SIGNAL};
    ASSERT_OK(mq().notify(fd.get(), &event));
    EXPECT_EQ("first", receive_text(fd.get())) << "and the second takes its place";
    sender.join();
    EXPECT_ERRNO(EBUSY, mq().notify(fd.get(), &event)) << "it is not used up";
    EXPECT_EQ("second", receive_text(fd.get()));
    ASSERT_OK(send(fd.get(), "third"));
    EXPECT_OK(mq().notify(fd.get(), &event)) << "now it is";
  });
}

TEST_F(Notify, F4_NoneAndSignalZeroAreUsedUpToo) {
  in_new_namespace([](const std::string&) {
    const UniqueFd fd = make_queue();
    ASSERT_OK(register_none(fd.get()));
    ASSERT_OK(send(fd.get(), "1"));
    EXPECT_EQ(0, registered_pid(fd.get()));
    receive_text(fd.get());
    ASSERT_OK(register_signal(fd.get(), 0));
    EXPECT_EQ(getpid(), registered_pid(fd.get()));
    ASSERT_OK(send(fd.get(), "1"));
    EXPECT_EQ(0, registered_pid(fd.get()));
  });
}

TEST_F(Notify, F4_AFailedSendDoesNotFire) {
  in_new_namespace([](const std::string&) {
    const UniqueFd fd = make_queue();
    ASSERT_OK(register_none(fd.get()));
    EXPECT_ERRNO(EMSGSIZE, send(fd.get(), std::string(17, 'x')));
    EXPECT_ERRNO(EINVAL, send(fd.get(), "x", 32768));
    EXPECT_ERRNO(EFAULT, mq().send(fd.get(), reinterpret_cast<const char*>(8), 1, 0));
    EXPECT_EQ(getpid(), registered_pid(fd.get()));
  });
}

TEST_F(Notify, F4_AlsoForAnUnlinkedQueue) {
  in_new_namespace([](const std::string&) {
    block_signal();
    const UniqueFd fd = make_queue();
    ASSERT_OK(mq().unlink("/a"));
    ASSERT_OK(register_signal(fd.get()));
    send_from_another_process(fd.get());
    EXPECT_EQ(kSignal, take_signal(kComes).si_signo);
  });
}

TEST_F(Notify, F4_AThreadIsStartedWithItsValue) {
  in_new_namespace([](const std::string&) {
    static std::atomic<int> called;
    static std::atomic<pthread_t> by;
    called = 0;
    const UniqueFd fd = make_queue();
    for (int round = 1; round <= 3; ++round) {
      sigevent event = event_of(SIGEV_THREAD);
      event.sigev_value.sival_int = round;
      event.sigev_notify_function = [](sigval value) {
        by = pthread_self();
        called = value.sival_int;
      };
      ASSERT_OK(mq().notify(fd.get(), &event));
      EXPECT_EQ(getpid(), registered_pid(fd.get()));
      ASSERT_OK(send(fd.get(), "x"));
      ASSERT_TRUE(wait_until([&] { return called == round; }));
      EXPECT_FALSE(pthread_equal(by, pthread_self()));
      EXPECT_EQ(0, registered_pid(fd.get()));
      receive_text(fd.get());
      ASSERT_OK(send(fd.get(), "y")) << "once";
      receive_text(fd.get());
      EXPECT_EQ(round, called);
    }
  });
}

TEST_F(Notify, F4_AThreadIsStartedWithItsAttributes) {
  in_new_namespace([](const std::string&) {
    static std::atomic<size_t> stack_bytes;
    stack_bytes = 0;
    const UniqueFd fd = make_queue();
    pthread_attr_t attributes;
    ASSERT_EQ(0, pthread_attr_init(&attributes));
    constexpr size_t kStackBytes = 3 * 1024 * 1024;
    ASSERT_EQ(0, pthread_attr_setstacksize(&attributes, kStackBytes));
    sigevent event = event_of(SIGEV_THREAD);
    event.sigev_notify_attributes = &attributes;
    event.sigev_notify_function = [](sigval) {
      pthread_attr_t own;
      size_t size = 0;
      pthread_getattr_np(pthread_self(), &own);
      pthread_attr_getstacksize(&own, &size);
      pthread_attr_destroy(&own);
      stack_bytes = size;
    };
    ASSERT_OK(mq().notify(fd.get(), &event));
    pthread_attr_destroy(&attributes);
    send_from_another_process(fd.get());
    ASSERT_TRUE(wait_until([] { return stack_bytes != 0; }));
    EXPECT_EQ(kStackBytes, stack_bytes);
  });
}

TEST_F(Notify, F4_TheThreadHasNoSignalBlocked) {
  in_new_namespace([](const std::string&) {
    static std::atomic<int> blocked;
    blocked = -1;
    block_signal();
    const UniqueFd fd = make_queue();
    sigevent event = event_of(SIGEV_THREAD);
    event.sigev_notify_function = [](sigval) {
      sigset_t mask;
      pthread_sigmask(SIG_SETMASK, nullptr, &mask);
      blocked = sigismember(&mask, kSignal) + sigismember(&mask, SIGTERM);
    };
    ASSERT_OK(mq().notify(fd.get(), &event));
    ASSERT_OK(send(fd.get(), "x"));
    ASSERT_TRUE(wait_until([] { return blocked >= 0; }));
    EXPECT_EQ(0, blocked) << "as libc's helper starts it, whatever the registering thread had blocked";
  });
}

TEST_F(Notify, F4_AThreadFunctionMayRegisterAnew) {
  in_new_namespace([](const std::string&) {
    static std::atomic<int> called;
    static int queue;
    static void (*again)(sigval);
    called = 0;
    const UniqueFd fd = make_queue();
    queue = fd.get();
    again = [](sigval) {
      sigevent event = event_of(SIGEV_THREAD);
      event.sigev_notify_function = again;
      receive_text(queue);
      if (mq().notify(queue, &event) == 0) ++called;
    };
    sigevent event = event_of(SIGEV_THREAD);
    event.sigev_notify_function = again;
    ASSERT_OK(mq().notify(fd.get(), &event));
    for (int round = 1; round <= 5; ++round) {
      ASSERT_OK(send(fd.get(), "x"));
      ASSERT_TRUE(wait_until([&] { return called == round; }));
    }
  });
}

TEST_F(Notify, F5_TheSignalTellsTheSenderAndTheValue) {
  in_new_namespace([](const std::string&) {
    block_signal();
    const UniqueFd fd = make_queue();
    void* const value = reinterpret_cast<void*>(0x123456789abcdef0);
    ASSERT_OK(register_signal(fd.get(), kSignal, value));
    const pid_t sender = send_from_another_process(fd.get(), "x", kAlice);
    const siginfo_t info = take_signal(kComes);
    EXPECT_EQ(kSignal, info.si_signo);
    EXPECT_EQ(SI_MESGQ, info.si_code);
    EXPECT_EQ(0, info.si_errno);
    EXPECT_EQ(sender, info.si_pid);
    EXPECT_EQ(kAlice, info.si_uid);
    EXPECT_EQ(value, info.si_value.sival_ptr);
  });
}

TEST_F(Notify, F5_TheSenderIsTheProcessNotTheThread) {
  in_new_namespace([](const std::string&) {
    block_signal();
    const UniqueFd fd = make_queue();
    ASSERT_OK(register_signal(fd.get(), SIGRTMIN));
    std::thread([&] { EXPECT_OK(send(fd.get(), "x")); }).join();
    const siginfo_t info = take_signal(kComes, SIGRTMIN);
    EXPECT_EQ(SIGRTMIN, info.si_signo);
    EXPECT_EQ(getpid(), info.si_pid) << "oneself";
  });
}

TEST_F(Notify, F5_DeliveredAcrossUsers) {
  in_new_namespace([](const std::string&) {
    const UniqueFd fd = make_queue();
    run_in_child([&] {
      block_signal();
      ASSERT_TRUE(become_user(kBob, kBob));
      ASSERT_OK(register_signal(fd.get()));
      Companion sender([&] { EXPECT_OK(send(fd.get(), "x")); });
      const pid_t pid = sender.pid();
      sender.join();
      const siginfo_t info = take_signal(kComes);
      EXPECT_EQ(pid, info.si_pid);
      EXPECT_EQ(kBob, info.si_uid);
    });
    receive_text(fd.get());
    Gate registered, sent;
    Companion owner([&] {
      block_signal();
      ASSERT_TRUE(become_user(kBob, kBob));
      ASSERT_OK(register_signal(fd.get()));
      registered.open();
      sent.wait();
      const siginfo_t info = take_signal(kComes);
      EXPECT_EQ(kSignal, info.si_signo);
      EXPECT_EQ(kAlice, info.si_uid);
    });
    registered.wait();
    send_from_another_process(fd.get(), "x", kAlice);
    sent.open();
  });
}

TEST_F(Notify, F5_PidsAreAsTheOwnersPidNamespaceNumbersThem) {
  in_new_namespace([](const std::string&) {
    block_signal();
    const UniqueFd fd = make_queue();
    // An owner outside, a sender in a pid namespace of its own: it is seen with its number outside.
    ASSERT_OK(register_signal(fd.get()));
    pid_t sender_pid = 0;
    run_in_child([&] {
      ASSERT_OK(unshare(CLONE_NEWPID));
      Gate looked;
      Companion sender([&] {
        EXPECT_EQ(1, getpid());
        EXPECT_OK(send(fd.get(), std::to_string(1)));
        looked.wait();
      });
      sender_pid = sender.pid();
      EXPECT_TRUE(wait_until([&] { return registered_pid(fd.get()) == 0; }));
      EXPECT_OK(send(fd.get(), std::to_string(sender_pid)));
      looked.open();
    });
    EXPECT_EQ("1", receive_text(fd.get()));
    EXPECT_EQ(receive_text(fd.get()), std::to_string(take_signal(kComes).si_pid));
    // An owner in a pid namespace of its own: a sender outside has no number there.
    ASSERT_OK(unshare(CLONE_NEWPID));
    Gate registered, sent;
    Companion owner([&] {
      ASSERT_OK(register_signal(fd.get()));
      registered.open();
      sent.wait();
      siginfo_t info = take_signal(kComes);
      EXPECT_EQ(kSignal, info.si_signo);
      EXPECT_EQ(SI_MESGQ, info.si_code);
      EXPECT_EQ(0, info.si_pid);
      receive_text(fd.get());
      ASSERT_OK(register_signal(fd.get()));
      const pid_t inside = send_from_another_process(fd.get());
      EXPECT_EQ(inside, take_signal(kComes).si_pid);
    });
    registered.wait();
    ASSERT_OK(send(fd.get(), "x"));
    sent.open();
  });
}

TEST_F(Notify, F5_UidsAreAsTheOwnersUserNamespaceNumbersThem) {
  if (!CapabilityCheck::can_unshare_user()) GTEST_SKIP() << "needs user namespaces";
  in_new_namespace([](const std::string&) {
    const UniqueFd fd = make_queue();
    Gate registered, sent;
    Companion owner([&] {
      block_signal();
      ASSERT_OK(setresuid(0, 0, 0));  // the sender's real uid is what is told
      ASSERT_TRUE(enter_user_namespace(1234, 1234));
      ASSERT_OK(register_signal(fd.get()));
      registered.open();
      sent.wait();
      EXPECT_EQ(65534u, take_signal(kComes).si_uid) << "has no number in there";
      receive_text(fd.get());
      ASSERT_OK(register_signal(fd.get()));
      ASSERT_OK(send(fd.get(), "x"));
      EXPECT_EQ(1234u, take_signal(kComes).si_uid);
    });
    registered.wait();
    send_from_another_process(fd.get(), "x", kAlice);
    sent.open();
  });
}

// Executes `sleep`, after `prepare`, with the signal blocked: a pending one shows in /proc.
class Sleeper {
 public:
  explicit Sleeper(const std::function<void()>& prepare) : pid_(fork()) {
    if (pid_ == 0) {
      block_signal();
      prepare();
      execlp("sleep", "sleep", "1000", nullptr);
      _exit(127);
    }
    EXPECT_TRUE(wait_until([&] {
      std::ifstream comm("/proc/" + std::to_string(pid_) + "/comm");
      std::string name;
      std::getline(comm, name);
      return name == "sleep";
    }));
  }
  ~Sleeper() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  pid_t pid() const { return pid_; }
  bool has_pending_signal() const {
    std::ifstream status("/proc/" + std::to_string(pid_) + "/status");
    for (std::string line; std::getline(status, line);)
      if (line.rfind("ShdPnd:", 0) == 0) return line.find_first_not_of("0\t ", 7) != std::string::npos;
    ADD_FAILURE() << "no ShdPnd";
    return false;
  }

 private:
  const pid_t pid_;
};

TEST_F(Notify, F6_AfterExecTheSignalIsSuppressedButUsedUp) {
  in_new_namespace([](const std::string&) {
    const UniqueFd fd = make_queue();
    Sleeper sleeper([&] {
      EXPECT_OK(register_signal(fd.get()));
      fcntl(fd.get(), F_SETFD, 0);
    });
    EXPECT_EQ(sleeper.pid(), registered_pid(fd.get())) << "it stays";
    EXPECT_ERRNO(EBUSY, register_none(fd.get()));
    ASSERT_OK(send(fd.get(), "x"));
    EXPECT_EQ(0, registered_pid(fd.get()));
    EXPECT_FALSE(sleeper.has_pending_signal());
  });
}

TEST_F(Notify, F6_ClosingOnExecUnregisters) {
  in_new_namespace([](const std::string&) {
    const UniqueFd fd = make_queue();
    Sleeper sleeper([&] { EXPECT_OK(register_signal(fd.get())); });
    EXPECT_TRUE(wait_until([&] { return registered_pid(fd.get()) == 0; }));
    EXPECT_OK(register_none(fd.get()));
  });
}

TEST_F(Notify, F6_ARegistrationMadeAfterExecIsOfTheNewProgram) {
  in_new_namespace([](const std::string&) {
    block_signal();
    const UniqueFd fd = make_queue();
    ASSERT_OK(register_signal(fd.get()));
    EXPECT_EQ(0, system("exit 0")) << "another process's exec does not matter";
    send_from_another_process(fd.get());
    EXPECT_EQ(kSignal, take_signal(kComes).si_signo);
  });
}

TEST_F(Notify, F7_ClosingAnyDescriptorUnregisters) {
  in_new_namespace([](const std::string& dir) {
    const UniqueFd fd = make_queue();
    const std::function<int()> others[] = {
        [&] { return dup(fd.get()); },
        [&] { return mq().open("/a", O_RDONLY, 0, nullptr); },
        [&] { return open((dir + "/a").c_str(), O_RDONLY | O_CLOEXEC); },
    };
    int which = 0;
    for (const auto& open_other : others) {
      SCOPED_TRACE(which++);
      const int other = open_other();
      ASSERT_OK(other);
      ASSERT_OK(register_none(fd.get()));
      ASSERT_OK(mq().close(other));
      EXPECT_EQ(0, registered_pid(fd.get()));
      const int second = open_other();
      ASSERT_OK(register_none(fd.get()));
      const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
      ASSERT_OK(dup2(null, second)) << "closes it as well";
      EXPECT_EQ(0, registered_pid(fd.get()));
      close(second);
      close(null);
    }
    // One of another queue does not matter, nor one that only names the file.
    const UniqueFd another = make_queue("b");
    ASSERT_OK(register_none(fd.get()));
    close(dup(another.get()));
    close(open((dir + "/a").c_str(), O_PATH | O_CLOEXEC));
    EXPECT_EQ(getpid(), registered_pid(fd.get()));
  });
}

TEST_F(Notify, F7_AnotherProcesssCloseDoesNot) {
  in_new_namespace([](const std::string&) {
    const UniqueFd fd = make_queue();
    ASSERT_OK(register_none(fd.get()));
    run_in_child([&] {
      EXPECT_OK(mq().close(dup(fd.get())));
      EXPECT_OK(mq().close(mq().open("/a", O_RDWR, 0, nullptr)));
      EXPECT_OK(mq().close(fd.get()));
      dup2(0, fd.get());  // its owner object closes it once more
    });
    EXPECT_EQ(getpid(), registered_pid(fd.get()));
    // vfork: another process in the same memory.
    const pid_t child = vfork();
    if (child == 0) {
      close(fd.get());
      _exit(0);
    }
    waitpid(child, nullptr, 0);
    EXPECT_EQ(getpid(), registered_pid(fd.get()));
  });
}

int close_and_end(void* fd) {
  syscall(SYS_close, *static_cast<int*>(fd));
  return 0;
}

TEST_F(Notify, F7_NorOneByAProcessThatSharesTheTableOfDescriptors) {
  in_new_namespace([](const std::string&) {
    const UniqueFd fd = make_queue();
    int copy = dup(fd.get());
    ASSERT_OK(register_none(fd.get()));
    alignas(16) static char stack[64 * 1024];
    const pid_t child = clone(close_and_end, stack + sizeof stack, CLONE_FILES | SIGCHLD, &copy);
    ASSERT_OK(child);
    ASSERT_EQ(child, waitpid(child, nullptr, 0));
    EXPECT_ERRNO(EBADF, fcntl(copy, F_GETFD)) << "it is closed";
    EXPECT_EQ(getpid(), registered_pid(fd.get()));
  });
}

TEST_F(Notify, F7_AnyThreadsCloseCounts) {
  in_new_namespace([](const std::string&) {
    const UniqueFd fd = make_queue();
    const int copy = dup(fd.get());
    ASSERT_OK(register_none(fd.get()));
    std::thread([&] { EXPECT_OK(mq().close(copy)); }).join();
    EXPECT_EQ(0, registered_pid(fd.get()));
    // And the other way round.
    const int second = dup(fd.get());
    std::thread([&] { EXPECT_OK(register_none(fd.get())); }).join();
    EXPECT_EQ(getpid(), registered_pid(fd.get()));
    EXPECT_OK(mq().close(second));
    EXPECT_EQ(0, registered_pid(fd.get()));
  });
}

TEST_F(Notify, F7_TheEndOfTheProcessUnregisters) {
  in_new_namespace([](const std::string&) {
    const UniqueFd fd = make_queue();
    run_in_child([&] { EXPECT_OK(register_signal(fd.get())); });
    EXPECT_EQ(0, registered_pid(fd.get()));
    Gate registered;
    Companion owner([&] {
      EXPECT_OK(register_signal(fd.get()));
      registered.open();
      pause();
    });
    registered.wait();
    EXPECT_EQ(owner.pid(), registered_pid(fd.get()));
    owner.kill();
    owner.join();
    EXPECT_EQ(0, registered_pid(fd.get()));
    EXPECT_OK(register_none(fd.get()));
  });
}

TEST_F(Notify, F7_TheQueuesOwnerMayBeAnotherThanTheRegistered) {
  in_new_namespace([](const std::string&) {
    const UniqueFd fd = make_queue();
    Gate registered, done;
    Companion owner([&] {
      ASSERT_TRUE(become_user(kAlice, kAlice));
      const UniqueFd own(mq().open("/a", O_RDONLY, 0, nullptr));
      EXPECT_OK(register_none(own.get()));
      registered.open();
      done.wait();
    });
    registered.wait();
    EXPECT_OK(unregister(fd.get())) << "root is not the owner either";
    EXPECT_EQ(owner.pid(), registered_pid(fd.get()));
    done.open();
  });
}

TEST_F(Notify, F8_TheRawThreadFormSendsACookieOverNetlink) {
  in_new_namespace([](const std::string&) {
    const UniqueFd fd = make_queue();
    const UniqueFd netlink(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0));
    ASSERT_OK(netlink.get());
    char cookie[32], got[64];
    for (size_t i = 0; i < sizeof cookie; ++i)
      cookie[i] = static_cast<char>('A' + i);
    const auto register_cookie = [&](int socket, void* pointer) {
      const sigevent event = event_of(SIGEV_THREAD, socket, pointer);
      return syscall(SYS_mq_notify, fd.get(), &event);
    };
    EXPECT_ERRNO(EBADF, register_cookie(-1, cookie)) << "no such socket";
    EXPECT_ERRNO(ENOTSOCK, register_cookie(fd.get(), cookie));
    EXPECT_ERRNO(EFAULT, register_cookie(netlink.get(), reinterpret_cast<void*>(8)));
    ASSERT_OK(register_cookie(netlink.get(), cookie));
    EXPECT_ERRNO(EBUSY, register_cookie(netlink.get(), cookie));
    ASSERT_OK(send(fd.get(), "x"));
    ASSERT_EQ(32, recv(netlink.get(), got, sizeof got, 0));
    EXPECT_EQ(0, memcmp(cookie, got, 31));
    EXPECT_EQ(1, got[31]) << "woken";
    receive_text(fd.get());
    ASSERT_OK(register_cookie(netlink.get(), cookie));
    ASSERT_OK(syscall(SYS_mq_notify, fd.get(), nullptr));
    ASSERT_EQ(32, recv(netlink.get(), got, sizeof got, 0));
    EXPECT_EQ(0, memcmp(cookie, got, 31));
    EXPECT_EQ(2, got[31]) << "removed";
    ASSERT_OK(register_cookie(netlink.get(), cookie));
    close(dup(fd.get()));
    ASSERT_EQ(32, recv(netlink.get(), got, sizeof got, 0));
    EXPECT_EQ(2, got[31]) << "removed by a close";
  });
}

}  // namespace
}  // namespace mqueuefs::test
