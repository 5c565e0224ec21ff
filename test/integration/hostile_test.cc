// Hostile targets of the system-call front door: random mq_* system calls with random pointers, sizes and
// descriptors, from threads that change and unmap the memory, take signals and die. The daemon lives, answers
// everybody else meanwhile, and keeps nothing.
#include <fcntl.h>
#include <mqueue.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <atomic>
#include <chrono>
#include <cstring>
#include <mutex>
#include <random>
#include <thread>

#include "base/unique_fd.h"
#include "client/connection.h"
#include "control/messages.h"
#include "integration/program_fixture.h"
#include "seccomp/filter.h"
#include "seccomp/listener.h"
#include "support/child.h"
#include "support/expect.h"
#include "support/stalling_file.h"
#include "support/wait.h"

namespace mqueuefs::test {
namespace {

constexpr size_t kArenaBytes = 64 * 1024;
constexpr int kPage = 4096;
constexpr uid_t kNobody = 65534;

// Of this process and its children, from now on.
UniqueFd become_a_target() {
  auto connection = client::Connection::connect(client::StartDaemon::kIfNone, mqueuefs_program().c_str());
  if (!connection) return UniqueFd();
  auto listener = seccomp::install_filter();
  if (!listener) return UniqueFd();
  const control::AdoptListener request{};
  const auto adopted =
      connection->request(control::Type::kAdoptListener, control::bytes_of(request), {}, listener->get());
  return adopted ? std::move(*listener) : UniqueFd();
}

class Fuzzer {
 public:
  explicit Fuzzer(unsigned seed) : random_(seed) {
    arena_ = static_cast<char*>(mmap(nullptr, kArenaBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    for (int i = 0; i < 4; ++i) descriptors_[i] = -1;
  }

  void run(int calls) {
    std::thread scribbler([this] { scribble(); });
    std::thread other([this, calls] {
      for (int i = 0; i < calls / 2; ++i) one_call();
    });
    for (int i = 0; i < calls; ++i) one_call();
    other.join();
    stop_ = true;
    scribbler.join();
  }

 private:
  unsigned long pick(unsigned long below) {
    const std::lock_guard lock(mutex_);
    return random_() % below;
  }
  bool rarely() { return pick(8) == 0; }

  uint64_t pointer() {
    switch (pick(8)) {
      case 0: return 0;
      case 1: return pick(UINT64_MAX);
      case 2: return reinterpret_cast<uint64_t>(arena_) + kArenaBytes - pick(64);  // over its end
      case 3: return ~uint64_t{0} - pick(kPage);
      default: return reinterpret_cast<uint64_t>(arena_) + pick(kArenaBytes);
    }
  }
  uint64_t size() { return rarely() ? pick(UINT64_MAX) : pick(10'000); }
  int descriptor() { return rarely() ? static_cast<int>(pick(100)) - 2 : descriptors_[pick(4)]; }

  // What a call that is right would have; the scribbler may spoil it before it is read.
  uint64_t name() {
    if (rarely()) return pointer();
    char* text = arena_ + pick(kArenaBytes - 300);
    snprintf(text, 10, "f%lu", pick(4));
    return reinterpret_cast<uint64_t>(text);
  }
  uint64_t soon() {
    if (rarely()) return pointer();
    auto* time = reinterpret_cast<timespec*>(arena_ + pick(kArenaBytes - 300) / 8 * 8);
    clock_gettime(CLOCK_REALTIME, time);
    time->tv_nsec = static_cast<long>(pick(1'000'000'000));
    return reinterpret_cast<uint64_t>(time);
  }

  void one_call() {
    switch (pick(9)) {
      case 0:
      case 1: {
        const long fd = syscall(SYS_mq_open, name(), O_RDWR | (pick(2) ? O_CREAT : 0) | (pick(2) ? O_NONBLOCK : 0) | (rarely() ? pick(1 << 24) : 0), 0600,
                                pick(3) ? 0 : pointer());
        if (fd >= 0) {
          const int old = std::exchange(descriptors_[pick(4)], static_cast<int>(fd));
          if (old >= 0) close(old);
        }
        break;
      }
      case 2: syscall(SYS_mq_unlink, name()); break;
      case 3:
      case 4: syscall(SYS_mq_timedsend, descriptor(), pointer(), size(), pick(40'000), soon()); break;
      case 5:
      case 6: syscall(SYS_mq_timedreceive, descriptor(), pointer(), size() + 8192, pointer(), soon()); break;
      case 7: syscall(SYS_mq_notify, descriptor(), pointer()); break;
      case 8: syscall(SYS_mq_getsetattr, descriptor(), pointer(), pointer()); break;
    }
  }

  void scribble() {
    while (!stop_) {
      char* page = arena_ + pick(kArenaBytes / kPage) * kPage;
      switch (pick(4)) {
        case 0: mprotect(page, kPage, PROT_READ | (pick(2) ? PROT_WRITE : 0)); break;
        case 1: mmap(page, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0); break;
        default: mprotect(page, kPage, PROT_READ | PROT_WRITE); break;
      }
      usleep(50);
    }
  }

  std::mutex mutex_;
  std::mt19937_64 random_;
  char* arena_;
  int descriptors_[4];
  std::atomic<bool> stop_ = false;
};

class Hostile : public ProgramTest {};

TEST_F(Hostile, RandomCallsFromRacingThreadsEndNobodyElse) {
  const char* seconds_text = getenv("MQUEUEFS_FUZZ_SECONDS");
  const int seconds = seconds_text != nullptr ? atoi(seconds_text) : 3;
  in_private_namespaces([&](const std::string& dir) {
    ASSERT_EQ(mount_program(dir), 0);
    Companion honest([&] {
      const UniqueFd listener = become_a_target();
      ASSERT_OK(listener.get());
      const int queue = static_cast<int>(syscall(SYS_mq_open, "honest", O_RDWR | O_CREAT, 0600, nullptr));
      ASSERT_OK(queue);
      char buffer[8192];
      const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
      for (unsigned i = 0; std::chrono::steady_clock::now() < end; ++i) {
        ASSERT_EQ(0, syscall(SYS_mq_timedsend, queue, &i, sizeof i, 1, nullptr));
        ASSERT_EQ(static_cast<long>(sizeof i), syscall(SYS_mq_timedreceive, queue, buffer, sizeof buffer, nullptr, nullptr));
        ASSERT_EQ(0, memcmp(buffer, &i, sizeof i)) << "another's message";
      }
    });
    std::random_device seed;
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
    while (std::chrono::steady_clock::now() < end) {
      pid_t hostile[3];
      for (pid_t& pid : hostile) {
        const unsigned chosen = seed();
        pid = fork();
        if (pid != 0) continue;
        if (!become_a_target()) _exit(1);
        struct sigaction action {};
        action.sa_handler = [](int) {};
        action.sa_flags = chosen % 2 != 0 ? SA_RESTART : 0;
        sigaction(SIGALRM, &action, nullptr);
        // Whose memory the daemon does not touch on its loop.
        if (chosen % 3 == 0 && setresuid(kNobody, kNobody, kNobody) != 0) _exit(1);
        const itimerval often{{0, 997}, {0, 997}};
        setitimer(ITIMER_REAL, &often, nullptr);
        Fuzzer(chosen).run(400);
        _exit(0);
      }
      usleep(static_cast<useconds_t>(seed() % 500'000));
      for (const pid_t pid : hostile) kill(pid, SIGKILL);
      for (const pid_t pid : hostile) ASSERT_EQ(pid, waitpid(pid, nullptr, 0));
    }
    honest.join();
    EXPECT_EQ(0, program({"list"}).status);
    for (const char* name : {"f0", "f1", "f2", "f3", "honest"}) unlink((dir + "/" + name).c_str());
    ASSERT_OK(umount2(dir.c_str(), 0));
  });
}

long raw_send(int queue, const void* message, size_t size) {
  return syscall(SYS_mq_timedsend, queue, message, size, 1, nullptr);
}
long raw_receive(int queue, void* buffer, size_t size) {
  return syscall(SYS_mq_timedreceive, queue, buffer, size, nullptr, nullptr);
}

// Pages of a FUSE file system of the target's own come when it likes, or never.
TEST_F(Hostile, MemoryThatNeverComesHoldsNobodyElseUp) {
  in_private_namespaces([&](const std::string& dir) {
    ASSERT_EQ(mount_program(dir), 0);
    StallingFile file(dir + ".stalling");
    ASSERT_EQ(0, program({"create", "q", "--mode", "0666"}).status);
    ASSERT_EQ(0, program({"create", "other", "--mode", "0666"}).status);

    const auto as_nobody = [&](const char* queue, const std::function<void(int queue, char* page)>& body) {
      const UniqueFd listener = become_a_target();
      ASSERT_OK(listener.get());
      const UniqueFd memory(open((dir + ".stalling").c_str(), O_RDONLY | O_CLOEXEC));
      ASSERT_OK(memory.get());
      auto* const page = static_cast<char*>(
          mmap(nullptr, kStallingFileSize, PROT_READ | PROT_WRITE, MAP_PRIVATE, memory.get(), 0));
      ASSERT_NE(MAP_FAILED, page);
      ASSERT_OK(setresuid(kNobody, kNobody, kNobody));
      const int fd = static_cast<int>(syscall(SYS_mq_open, queue, O_RDWR, 0, nullptr));
      ASSERT_OK(fd);
      body(fd, page);
    };
    Companion sender([&] {
      as_nobody("q", [](int queue, char* page) { EXPECT_ERRNO(EFAULT, static_cast<int>(raw_send(queue, page, 64))); });
    });
    ASSERT_TRUE(file.wait_for_a_reader());
    ASSERT_EQ(0, program({"send", "other", "it stays"}).status);
    Companion receiver([&] {
      as_nobody("other", [](int queue, char* page) {
        EXPECT_ERRNO(EFAULT, static_cast<int>(raw_receive(queue, page, kStallingFileSize * 2)));
      });
    });

    // Others are served, the same user's among them.
    Companion honest([&] {
      as_nobody("q", [](int queue, char*) {
        char buffer[8192];
        for (unsigned i = 0; i < 200; ++i) {
          ASSERT_EQ(0, raw_send(queue, &i, sizeof i));
          ASSERT_EQ(static_cast<long>(sizeof i), raw_receive(queue, buffer, sizeof buffer));
          ASSERT_EQ(0, memcmp(buffer, &i, sizeof i));
        }
      });
    });
    honest.join();
    for (int i = 0; i < 10; ++i) EXPECT_EQ(0, program({"list"}).status);
    file.fail();
    sender.join();
    receiver.join();
    EXPECT_EQ("it stays\n", output({"receive", "other"}));
    EXPECT_EQ(0, program({"send", "q", "after"}).status);
    ASSERT_OK(umount2(dir.c_str(), 0));
  });
}

// Who hands over a listener and reads it himself keeps nobody waiting.
TEST_F(Hostile, AListenerThatAnotherReadsTooIsLetGo) {
  in_private_namespaces([&](const std::string&) {
    Companion hostile([&] {
      const UniqueFd listener = become_a_target();
      ASSERT_OK(listener.get());
      const pid_t caller = fork();
      if (caller == 0) {
        for (int i = 0; i < 200; ++i) syscall(SYS_mq_unlink, "none");
        _exit(0);
      }
      const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(500);
      seccomp::Listener thief(UniqueFd(dup(listener.get())));
      const itimerval soon{{0, 50'000}, {0, 50'000}};
      signal(SIGALRM, [](int) {});
      setitimer(ITIMER_REAL, &soon, nullptr);
      while (std::chrono::steady_clock::now() < end) {
        if (const auto stolen = thief.take()) thief.fail(stolen->id, EIO);
      }
      kill(caller, SIGKILL);
      waitpid(caller, nullptr, 0);
    });
    // The daemon answers others all the time.
    for (int i = 0; i < 20; ++i) {
      EXPECT_EQ(0, program({"ns", "list"}).status);
      usleep(50'000);
    }
    hostile.join();
  });
}

}  // namespace
}  // namespace mqueuefs::test
