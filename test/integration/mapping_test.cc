// Messages in mapped memory, seen from outside: that they pass without a request to the daemon, and what has to be told
// of them all the same.
#include <fcntl.h>
#include <mqueuefs/mqueuefs.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "base/unique_fd.h"
#include "control/queue_ioctl.h"
#include "integration/program_fixture.h"
#include "support/child.h"
#include "support/credentials.h"
#include "support/expect.h"
#include "support/wait.h"

namespace mqueuefs::test {
namespace {

class MappingTest : public ProgramTest {
 protected:
  void in_namespace(const std::function<void()>& body) {
    in_private_namespaces([&](const std::string&) {
      setenv("MQUEUEFS_PROGRAM", std::filesystem::absolute(mqueuefs_program()).c_str(), 1);
      body();
    });
  }

  static mqd_t create(int flags = 0) {
    mq_attr attributes{};
    attributes.mq_maxmsg = 4;
    attributes.mq_msgsize = 64;
    const mqd_t queue = mqueuefs_open("/q", O_CREAT | O_RDWR | flags, 0600, &attributes);
    EXPECT_OK(queue);
    return queue;
  }
  static mqd_t create_mapped(int flags = 0) {
    const mqd_t queue = create(flags);
    EXPECT_OK(mqueuefs_map(queue));
    return queue;
  }
  static std::string receive(mqd_t queue) {
    char buffer[64];
    const ssize_t size = mqueuefs_receive(queue, buffer, sizeof buffer, nullptr);
    return size < 0 ? errno_name(errno) : std::string(buffer, static_cast<size_t>(size));
  }
  static int send(mqd_t queue, const std::string& text) { return mqueuefs_send(queue, text.data(), text.size(), 0); }

  /// What the kernel has asked of this namespace's file system so far.
  static uint64_t requests() {
    uint64_t sum = 0;
    for (const auto& entry : nlohmann::json::parse(program({"ns", "list", "--json"}).stdout_text)) {
      sum += entry["requests"].get<uint64_t>();
    }
    return sum;
  }
  /// Of one call. Who asks is a child, that closes its copy of the descriptor: a FLUSH for each.
  static uint64_t requests_of(const std::function<void()>& call, uint64_t descriptors = 1) {
    const uint64_t before = requests();
    call();
    return requests() - before - descriptors;
  }
};

mqd_t handler_queue = -1;
volatile sig_atomic_t handled = 0;

// Lets a traced child go on to its next stop, with a signal.
int go_on(pid_t child, int request, int signal) {
  int status = 0;
  if (ptrace(static_cast<__ptrace_request>(request), child, nullptr, signal) != 0) return -1;
  return waitpid(child, &status, 0) == child && WIFSTOPPED(status) ? WSTOPSIG(status) : -1;
}

// A thread remembers where a descriptor's queue is: those of several descriptors in the same place. A handler that uses
// another queue runs after each single instruction.
TEST_F(MappingTest, AHandlerThatUsesAnotherQueueChangesNothing) {
  in_namespace([] {
    constexpr int kFirst = 403, kSecond = 419, kThird = 435;  // one place
    for (const int number : {kFirst, kSecond, kThird}) {
      const std::string name = "/q" + std::to_string(number);
      mq_attr attributes{};
      attributes.mq_maxmsg = 4;
      attributes.mq_msgsize = 64;
      const UniqueFd queue(mqueuefs_open(name.c_str(), O_CREAT | O_RDWR | O_NONBLOCK, 0600, &attributes));
      ASSERT_OK(dup2(queue.get(), number));
    }
    // A step is two changes of the task, which take long between processors.
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    ASSERT_OK(sched_setaffinity(0, sizeof one, &one));
    // What was in the place before: another queue's, that of the handler, or what is looked for.
    for (const int before : {kThird, kSecond, kFirst}) {
      SCOPED_TRACE(before);
      const pid_t sender = fork();
      if (sender == 0) {
        for (const int number : {kFirst, kSecond, kThird}) {
          if (mqueuefs_map(number) != 0) _exit(1);
        }
        handler_queue = kSecond;
        signal(SIGUSR1, [](int) { handled = send(handler_queue, "second") == 0 ? 1 : 2; });
        ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
        const pid_t self = getpid();
        for (;;) {
          handled = 0;
          if (send(before, "before") != 0 || receive(before) != "before") _exit(2);
          // As few instructions in between as can be.
          syscall(SYS_kill, self, SIGSTOP);
          const int sent = mqueuefs_send(kFirst, "first", 5, 0);
          syscall(SYS_kill, self, SIGUSR2);
          if (sent != 0 || receive(kFirst) != "first" || receive(kThird) != "EAGAIN") _exit(3);
          if (receive(kSecond) != (handled == 1 ? "second" : "EAGAIN")) _exit(4);
        }
      }
      int status = 0;
      ASSERT_EQ(sender, waitpid(sender, &status, 0));
      ASSERT_TRUE(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
      int instructions = 0;
      for (bool is_done = false; !is_done; ++instructions) {
        int stopped_by = SIGTRAP;
        for (int done = 0; done < instructions && stopped_by == SIGTRAP; ++done) {
          stopped_by = go_on(sender, PTRACE_SINGLESTEP, 0);
        }
        is_done = stopped_by == SIGUSR2;
        if (!is_done) {
          ASSERT_EQ(SIGUSR2, go_on(sender, PTRACE_CONT, SIGUSR1)) << "after " << instructions << " instructions";
        }
        ASSERT_EQ(SIGSTOP, go_on(sender, PTRACE_CONT, 0)) << "after " << instructions << " instructions";
      }
      EXPECT_LT(100, instructions);
      kill(sender, SIGKILL);
      waitpid(sender, nullptr, 0);
    }
  });
}

TEST_F(MappingTest, MessagesCostNoRequest) {
  in_namespace([] {
    const mqd_t queue = create_mapped(O_NONBLOCK);
    EXPECT_EQ(requests_of([&] {
                for (int round = 0; round < 100; ++round) {
                  ASSERT_OK(send(queue, "m"));
                  ASSERT_EQ(receive(queue), "m");
                }
                EXPECT_EQ(receive(queue), "EAGAIN");
              }),
              0u);
  });
}

TEST_F(MappingTest, EveryMessageThroughTheDaemonCostsOne) {
  in_namespace([] {
    const mqd_t queue = create(O_NONBLOCK);
    EXPECT_EQ(requests_of([&] {
                for (int round = 0; round < 100; ++round) {
                  ASSERT_OK(send(queue, "m"));
                  ASSERT_EQ(receive(queue), "m");
                }
              }),
              200u);
  });
}

TEST_F(MappingTest, WhoWaitsIsServedWithoutARequest) {
  in_namespace([] {
    const mqd_t queue = create_mapped();
    Companion receiver([&] {
      ASSERT_OK(mqueuefs_map(queue));
      for (int round = 0; round < 50; ++round) ASSERT_EQ(receive(queue), "m");
    });
    EXPECT_EQ(requests_of([&] {
                for (int round = 0; round < 49; ++round) {
                  usleep(round % 10 == 0 ? 5000 : 0);
                  ASSERT_OK(send(queue, "m"));
                }
              }) / 10,
              0u)
        << "a few: the child maps";
    ASSERT_OK(send(queue, "m"));
    receiver.join();
  });
}

TEST_F(MappingTest, OneWayDescriptorsAreMapped) {
  in_namespace([] {
    ASSERT_OK(mqueuefs_close(create()));
    const mqd_t reader = mqueuefs_open("/q", O_RDONLY | O_NONBLOCK);
    const mqd_t writer = mqueuefs_open("/q", O_WRONLY | O_NONBLOCK);
    ASSERT_OK(mqueuefs_map(reader));
    ASSERT_OK(mqueuefs_map(writer));
    EXPECT_EQ(requests_of(
                  [&] {
                    for (int round = 0; round < 100; ++round) {
                      ASSERT_OK(send(writer, "m"));
                      ASSERT_EQ(receive(reader), "m");
                    }
                    EXPECT_EQ(receive(reader), "EAGAIN");
                    EXPECT_ERRNO(EBADF, send(reader, "m"));
                    EXPECT_EQ(receive(writer), "EBADF");
                  },
                  2),
              0u);
  });
}

// Mapped memory can be read and written: a process gets it only if it may open the queue for both.
TEST_F(MappingTest, ADescriptorOfAProcessThatMayOnlyWriteIsNotMapped) {
  in_namespace([] {
    const mqd_t queue = create(O_NONBLOCK);
    ASSERT_OK(fchmod(queue, 0622));
    ASSERT_OK(mqueuefs_map(queue));
    Companion sender([] {
      ASSERT_TRUE(become_user(kNobody, kNobody));
      const mqd_t writer = mqueuefs_open("/q", O_WRONLY | O_NONBLOCK);
      ASSERT_OK(writer);
      EXPECT_ERRNO(ENOTSUP, mqueuefs_map(writer));
      EXPECT_OK(send(writer, "1"));
    });
    sender.join();
    EXPECT_EQ(receive(queue), "1");
  });
}

// The descriptor that the library opens for the mapping, and closes, is not the program's.
TEST_F(MappingTest, MappingAOneWayDescriptorKeepsTheNotification) {
  in_namespace([] {
    const mqd_t queue = create();
    const mqd_t reader = mqueuefs_open("/q", O_RDONLY | O_NONBLOCK);
    sigevent event{};
    event.sigev_notify = SIGEV_NONE;
    ASSERT_OK(mqueuefs_notify(reader, &event));
    ASSERT_OK(mqueuefs_map(reader));
    EXPECT_ERRNO(EBUSY, mqueuefs_notify(reader, &event));
    ASSERT_OK(mqueuefs_close(queue));
    EXPECT_OK(mqueuefs_notify(reader, &event)) << "a close of the program's own takes the registration away";
  });
}

TEST_F(MappingTest, AttributesCostNoRequest) {
  in_namespace([] {
    const mqd_t queue = create_mapped(O_NONBLOCK);
    mq_attr attributes{};
    EXPECT_EQ(requests_of([&] {
                for (long round = 0; round < 4; ++round) {
                  ASSERT_OK(mqueuefs_getattr(queue, &attributes));
                  ASSERT_EQ(attributes.mq_curmsgs, round);
                  ASSERT_OK(send(queue, "m"));
                }
              }),
              0u);
    EXPECT_EQ(attributes.mq_flags, O_NONBLOCK);
    EXPECT_EQ(attributes.mq_maxmsg, 4);
    EXPECT_EQ(attributes.mq_msgsize, 64);
    // The flag is the open file description's, whoever changes it.
    ASSERT_OK(fcntl(queue, F_SETFL, 0));
    ASSERT_OK(mqueuefs_getattr(queue, &attributes));
    EXPECT_EQ(attributes.mq_flags, 0);
    EXPECT_ERRNO(EFAULT, mqueuefs_getattr(queue, reinterpret_cast<mq_attr*>(16)));
  });
}

TEST_F(MappingTest, ForkedChildIsAProcessOfItsOwn) {
  in_namespace([] {
    const mqd_t queue = create_mapped(O_NONBLOCK);
    ASSERT_OK(send(queue, "before"));
    Companion child([&] {
      ASSERT_EQ(receive(queue), "before");
      ASSERT_OK(mqueuefs_map(queue));
      ASSERT_OK(send(queue, "from the child"));
    });
    child.join();
    EXPECT_EQ(receive(queue), "from the child");
    ASSERT_OK(send(queue, "after"));
    EXPECT_EQ(receive(queue), "after");
  });
}

// It was handed over while he slept, and goes back to its place before the one that was sent later.
TEST_F(MappingTest, MessageOfAReceiverThatIsKilledGoesBack) {
  in_namespace([] {
    const mqd_t queue = create_mapped(O_NONBLOCK);
    Companion receiver([&] {
      fcntl(queue, F_SETFL, 0);  // the description is shared
      ASSERT_OK(mqueuefs_map(queue));
      receive(queue);
      pause();
    });
    ASSERT_TRUE(wait_until([&] {
      const auto list = nlohmann::json::parse(program({"list", "--json"}).stdout_text);
      return list.at(0)["waiting"]["receivers"] == 1;
    }));
    kill(receiver.pid(), SIGSTOP);
    ASSERT_OK(send(queue, "first"));
    ASSERT_OK(send(queue, "second"));
    receiver.kill();
    receiver.join();
    EXPECT_EQ(receive(queue), "first");
    EXPECT_EQ(receive(queue), "second");
  });
}

TEST_F(MappingTest, PollHearsOfMappedMessages) {
  in_namespace([] {
    const mqd_t queue = create_mapped(O_NONBLOCK);
    const pid_t self = getpid();
    for (int round = 0; round < 3; ++round) {
      Companion sender([&] {
        ASSERT_OK(mqueuefs_map(queue));
        ASSERT_TRUE(wait_until_asleep(self));
        ASSERT_OK(send(queue, "m"));
      });
      pollfd poller{queue, POLLIN, 0};
      EXPECT_EQ(poll(&poller, 1, 5000), 1);
      EXPECT_EQ(receive(queue), "m");
      EXPECT_EQ(poll(&poller, 1, 0), 0);
      sender.join();
    }
  });
}

TEST_F(MappingTest, NotificationNamesTheMappedSender) {
  in_namespace([] {
    const mqd_t queue = create_mapped(O_NONBLOCK);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, nullptr);
    sigevent event{};
    event.sigev_notify = SIGEV_SIGNAL;
    event.sigev_signo = SIGUSR1;
    event.sigev_value.sival_int = 7;
    ASSERT_OK(mqueuefs_notify(queue, &event));
    Companion sender([&] {
      ASSERT_OK(mqueuefs_map(queue));
      ASSERT_OK(send(queue, "m"));
    });
    siginfo_t info{};
    const timespec patience{5, 0};
    EXPECT_EQ(sigtimedwait(&set, &info, &patience), SIGUSR1);
    EXPECT_EQ(info.si_pid, sender.pid());
    EXPECT_EQ(info.si_value.sival_int, 7);
    EXPECT_EQ(info.si_code, SI_MESGQ);
    sender.join();
  });
}

TEST_F(MappingTest, TimesMoveWithMappedMessages) {
  in_namespace([] {
    const mqd_t queue = create_mapped(O_NONBLOCK);
    const timespec past[2] = {{100, 0}, {100, 0}};
    ASSERT_OK(futimens(queue, past));
    ASSERT_OK(send(queue, "m"));
    struct stat status {};
    ASSERT_OK(fstat(queue, &status));
    EXPECT_GT(status.st_mtim.tv_sec, 100);
  });
}

}  // namespace
}  // namespace mqueuefs::test
