#include "seccomp/foreign_memory.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <string>
#include <thread>

namespace mqueuefs::seccomp {
namespace {

/// One descriptor, looked at when the test says so.
class OneReactor final : public control::Reactor {
 public:
  Result<std::unique_ptr<control::Watch>> watch(int fd, uint32_t, std::function<void(uint32_t)> ready) override {
    class Watched final : public control::Watch {
      void set_events(uint32_t) override {}
    };
    fd_ = fd;
    ready_ = std::move(ready);
    return std::unique_ptr<control::Watch>(std::make_unique<Watched>());
  }
  std::unique_ptr<control::Timer> make_timer(std::function<void()>) override { return nullptr; }
  void run_later(std::function<void()> work) override { work(); }

  bool run_once() {
    pollfd polled{fd_, POLLIN, 0};
    if (poll(&polled, 1, 10'000) != 1) return false;
    ready_(POLLIN);
    return true;
  }

 private:
  int fd_ = -1;
  std::function<void(uint32_t)> ready_;
};

/// A busy machine may not let the threads have their turn in time.
template <typename Access>
Status when_there(OneReactor& reactor, Access access) {
  Status done = access();
  while (done.code() == EBUSY && reactor.run_once()) done = access();
  return done;
}

std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

TEST(SeccompForeignMemory, IsReadAndWritten) {
  OneReactor reactor;
  ForeignMemory memory(reactor, [] {});
  const std::string there = "what is there";
  std::string read(there.size(), ' ');
  ASSERT_TRUE(when_there(reactor, [&] {
    return memory.read(getpid(), reinterpret_cast<uint64_t>(there.data()), std::as_writable_bytes(std::span(read)));
  }));
  EXPECT_EQ(there, read);

  std::array<char, 8> first{}, second{};
  const std::string one = "one", two = "twofold";
  const std::array<MemoryPiece, 2> pieces = {{{reinterpret_cast<uint64_t>(first.data()), bytes_of(one)},
                                              {reinterpret_cast<uint64_t>(second.data()), bytes_of(two)}}};
  EXPECT_EQ(ENOENT, when_there(reactor, [&] { return memory.write(getpid(), pieces, [] { return false; }); }).code());
  EXPECT_STREQ("", first.data());
  ASSERT_TRUE(when_there(reactor, [&] { return memory.write(getpid(), pieces, [] { return true; }); }));
  EXPECT_STREQ("one", first.data());
  EXPECT_STREQ("twofold", second.data());

  EXPECT_EQ(EFAULT, when_there(reactor, [&] {
                      return memory.read(getpid(), 16, std::as_writable_bytes(std::span(first)));
                    }).code());
  EXPECT_TRUE(when_there(reactor, [&] { return memory.write(getpid(), {}, [] { return true; }); }));
}

TEST(SeccompForeignMemory, APageThatDoesNotComeHoldsUpNobodyElse) {
  const int faults = static_cast<int>(syscall(SYS_userfaultfd, O_CLOEXEC));
  if (faults < 0) GTEST_SKIP() << "userfaultfd: " << strerror(errno);
  uffdio_api api{};
  api.api = UFFD_API;
  ASSERT_EQ(0, ioctl(faults, UFFDIO_API, &api));
  const auto page = static_cast<size_t>(getpagesize());
  void* const late = mmap(nullptr, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(MAP_FAILED, late);
  uffdio_register range{};
  range.range = {reinterpret_cast<uint64_t>(late), page};
  range.mode = UFFDIO_REGISTER_MODE_MISSING;
  ASSERT_EQ(0, ioctl(faults, UFFDIO_REGISTER, &range));

  OneReactor reactor;
  int back = 0;
  ForeignMemory memory(reactor, [&back] { ++back; });
  std::array<std::byte, 64> room;
  EXPECT_EQ(EBUSY, memory.read(getpid(), reinterpret_cast<uint64_t>(late), room).code());
  // Not a second time for the same task; another is served.
  const std::string here = "here";
  EXPECT_EQ(EBUSY, memory.read(getpid(), reinterpret_cast<uint64_t>(here.data()),
                               std::span(room).first(here.size()))
                       .code());
  int ends[2];
  ASSERT_EQ(0, pipe(ends));
  const pid_t other = fork();
  if (other == 0) {
    char byte;
    close(ends[1]);
    static_cast<void>(read(ends[0], &byte, 1));
    _exit(0);
  }
  EXPECT_TRUE(when_there(reactor, [&] {
    return memory.read(other, reinterpret_cast<uint64_t>(here.data()), std::span(room).first(here.size()));
  }));
  EXPECT_EQ(0, memcmp(here.data(), room.data(), here.size()));
  close(ends[0]);
  close(ends[1]);
  waitpid(other, nullptr, 0);
  const int back_before = back;

  std::thread server([&] {
    uffdio_zeropage come{};
    come.range = range.range;
    ioctl(faults, UFFDIO_ZEROPAGE, &come);
  });
  server.join();
  ASSERT_TRUE(reactor.run_once());
  EXPECT_EQ(back_before + 1, back);
  room.fill(std::byte{1});
  EXPECT_TRUE(when_there(reactor, [&] { return memory.read(getpid(), reinterpret_cast<uint64_t>(late), room); }));
  EXPECT_EQ(std::byte{0}, room[0]);
  munmap(late, page);
  close(faults);
}

}  // namespace
}  // namespace mqueuefs::seccomp
