// doc/behaviour.md E1..E4, E6, E12: sending and receiving where nothing blocks: the order of the checks, of the messages,
// and what a bad pointer does.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstddef>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "support/expect.h"
#include "support/posix_calls.h"
#include "support/target.h"

namespace mqueuefs::test {
namespace {

class SendReceive : public TargetTest {};

constexpr size_t kMsgsize = 16;
constexpr unsigned kTooHighPriority = 32768;

// Not mapped; mapped for nobody; the kernel's half; reaching from a good page into a bad one.
struct BadPointers {
  char* const page_pair =
      static_cast<char*>(mmap(nullptr, 2 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  char* const straddling = page_pair + 4096 - 4;
  BadPointers() { mprotect(page_pair + 4096, 4096, PROT_NONE); }
  ~BadPointers() { munmap(page_pair, 2 * 4096); }
  template <typename T>
  std::vector<T*> all() const {
    std::vector<T*> pointers;
    for (const uintptr_t address : {uintptr_t{8}, reinterpret_cast<uintptr_t>(page_pair + 4096),
                                    UINTPTR_MAX - 4095, reinterpret_cast<uintptr_t>(straddling)}) {
      pointers.push_back(reinterpret_cast<T*>(address));
    }
    return pointers;
  }
};

struct Descriptor {
  const char* what;
  int fd;
  bool may_send = false;
  bool may_receive = false;
};

// Every kind of thing a descriptor can be: of a queue in each access mode, and of other files.
class Descriptors {
 public:
  Descriptors(const std::string& dir, const char* name) {
    add("read and write", mq().open(name, O_RDWR, 0, nullptr), true, true);
    add("read only", mq().open(name, O_RDONLY, 0, nullptr), false, true);
    add("write only", mq().open(name, O_WRONLY, 0, nullptr), true, false);
    add("O_PATH", open((dir + name).c_str(), O_PATH | O_CLOEXEC));
    add("the directory", open(dir.c_str(), O_RDONLY | O_CLOEXEC));
    add("/dev/null", open("/dev/null", O_RDWR | O_CLOEXEC));
    int ends[2];
    EXPECT_OK(pipe2(ends, O_CLOEXEC));
    add("a pipe", ends[1]);
    owned_.emplace_back(ends[0]);
    all_.push_back({"-1", -1});
    all_.push_back({"INT_MAX", INT_MAX});
    all_.push_back({"nothing", 777});
  }
  const std::vector<Descriptor>& all() const { return all_; }

 private:
  void add(const char* what, int fd, bool may_send = false, bool may_receive = false) {
    EXPECT_OK(fd) << what;
    owned_.emplace_back(fd);
    all_.push_back({what, fd, may_send, may_receive});
  }
  std::vector<UniqueFd> owned_;
  std::vector<Descriptor> all_;
};

struct Timeout {
  const char* what;
  const timespec* value;
  int error;  // of the value itself
  bool is_past = false;
};

// All that a deadline can be, but one in the future, which would block.
std::vector<Timeout> timeouts() {
  static const timespec past{0, 0}, just_past{0, 999'999'999}, too_many{1, 1'000'000'000}, negative{1, -1},
      before_the_epoch{-1, 0}, worst{LONG_MIN, LONG_MIN};
  return {{"past", &past, 0, true},
          {"nearly a second", &just_past, 0, true},
          {"1e9 nanoseconds", &too_many, EINVAL},
          {"negative nanoseconds", &negative, EINVAL},
          {"negative seconds", &before_the_epoch, EINVAL},
          {"the least", &worst, EINVAL},
          {"not mapped", reinterpret_cast<const timespec*>(8), EFAULT}};
}

int errno_of_call(ssize_t result) {
  return result < 0 ? errno : 0;
}

TEST_F(SendReceive, E1_TheTimeoutIsCheckedFirst) {
  in_new_namespace([](const std::string& dir) {
    const UniqueFd queue(create_queue("a", 1, kMsgsize));
    const Descriptors descriptors(dir, "/a");
    char buffer[kMsgsize];
    for (const Timeout& timeout : timeouts()) {
      if (timeout.error == 0) continue;
      for (const bool full : {false, true}) {
        if (full) {
          ASSERT_OK(send(queue.get(), "full"));
        }
        for (const Descriptor& descriptor : descriptors.all()) {
          EXPECT_ERRNO(timeout.error, mq().timedsend(descriptor.fd, "x", 1, 0, timeout.value))
              << timeout.what << ", " << descriptor.what;
          EXPECT_ERRNO(timeout.error,
                       mq().timedsend(descriptor.fd, "x", 1000, kTooHighPriority, timeout.value));
          EXPECT_ERRNO(timeout.error, mq().timedreceive(descriptor.fd, buffer, 0, nullptr, timeout.value))
              << timeout.what << ", " << descriptor.what;
        }
        if (full) {
          EXPECT_EQ("full", receive_text(queue.get()));
        }
      }
    }
  });
}

TEST_F(SendReceive, E2_SendChecksInThisOrder) {
  in_new_namespace([](const std::string& dir) {
    const UniqueFd queue(create_queue("a", 1, kMsgsize));
    const Descriptors descriptors(dir, "/a");
    const char* bad_data = reinterpret_cast<const char*>(8);
    const char good_data[32] = {};
    for (const bool full : {false, true}) {
      for (const Timeout& timeout : timeouts()) {
        for (const Descriptor& descriptor : descriptors.all()) {
          for (const unsigned priority : {0u, 32767u, kTooHighPriority, UINT_MAX}) {
            for (const size_t size : {size_t{0}, size_t{1}, kMsgsize, kMsgsize + 1, SIZE_MAX}) {
              for (const char* data : {good_data, bad_data}) {
                if (full) {
                  ASSERT_OK(send(queue.get(), "full"));
                }
                const int expected = timeout.error != 0             ? timeout.error
                                     : priority >= kTooHighPriority ? EINVAL
                                     : !descriptor.may_send         ? EBADF
                                     : size > kMsgsize              ? EMSGSIZE
                                     : data == bad_data && size > 0 ? EFAULT
                                     : full                         ? ETIMEDOUT
                                                                    : 0;
                const int result =
                    errno_of_call(mq().timedsend(descriptor.fd, data, size, priority, timeout.value));
                ASSERT_EQ(expected, result) << timeout.what << ", " << descriptor.what << ", priority "
                                            << priority << ", size " << size << (full ? ", full" : "");
                if (full) {
                  ASSERT_EQ("full", receive_text(queue.get()));
                }
                if (result == 0) {
                  ASSERT_EQ(std::string(size, '\0'), receive_text(queue.get()));
                }
              }
            }
          }
        }
      }
    }
  });
}

TEST_F(SendReceive, E2_FullAndNonblockingIsEagainAfterAllOtherChecks) {
  in_new_namespace([](const std::string&) {
    const UniqueFd fd(create_queue("a", 2, kMsgsize, O_RDWR | O_CREAT | O_NONBLOCK));
    ASSERT_OK(send(fd.get(), "1"));
    ASSERT_OK(send(fd.get(), "2"));
    const timespec past{0, 0}, future = deadline_in_ms(1'000'000);
    EXPECT_ERRNO(EAGAIN, mq().send(fd.get(), "3", 1, 0));
    EXPECT_ERRNO(EAGAIN, mq().timedsend(fd.get(), "3", 1, 0, nullptr));
    EXPECT_ERRNO(EAGAIN, mq().timedsend(fd.get(), "3", 1, 0, &past));
    EXPECT_ERRNO(EAGAIN, mq().timedsend(fd.get(), "3", 1, 0, &future));
    EXPECT_ERRNO(EAGAIN, mq().send(fd.get(), nullptr, 0, 0)) << "no bytes: no pointer is looked at";
    EXPECT_ERRNO(EMSGSIZE, mq().send(fd.get(), nullptr, kMsgsize + 1, 0));
    EXPECT_ERRNO(EFAULT, mq().send(fd.get(), nullptr, 1, 0));
    EXPECT_ERRNO(EINVAL, mq().send(fd.get(), nullptr, kMsgsize + 1, kTooHighPriority));
  });
}

TEST_F(SendReceive, E2_AnEmptyMessageIsAMessage) {
  in_new_namespace([](const std::string&) {
    const UniqueFd fd(create_queue("a", 2, kMsgsize, O_RDWR | O_CREAT | O_NONBLOCK));
    ASSERT_OK(mq().send(fd.get(), "", 0, 5));
    ASSERT_OK(mq().send(fd.get(), nullptr, 0, 6));
    mq_attr attributes{};
    ASSERT_OK(mq().getattr(fd.get(), &attributes));
    EXPECT_EQ(2, attributes.mq_curmsgs);
    char buffer[kMsgsize];
    unsigned priority = 0;
    EXPECT_EQ(0, mq().receive(fd.get(), buffer, sizeof buffer, &priority));
    EXPECT_EQ(6u, priority);
    EXPECT_EQ(0, mq().receive(fd.get(), buffer, sizeof buffer, &priority));
    EXPECT_EQ(5u, priority);
  });
}

TEST_F(SendReceive, E3_ReceiveChecksInThisOrder) {
  in_new_namespace([](const std::string& dir) {
    const UniqueFd queue(create_queue("a", 1, kMsgsize));
    const Descriptors descriptors(dir, "/a");
    char buffer[100];
    for (const bool empty : {false, true}) {
      for (const Timeout& timeout : timeouts()) {
        for (const Descriptor& descriptor : descriptors.all()) {
          for (const size_t size : {size_t{0}, size_t{1}, kMsgsize - 1, kMsgsize, sizeof buffer}) {
            if (!empty) {
              ASSERT_OK(send(queue.get(), "m", 7));
            }
            const int expected = timeout.error != 0        ? timeout.error
                                 : !descriptor.may_receive ? EBADF
                                 : size < kMsgsize         ? EMSGSIZE
                                 : empty                   ? ETIMEDOUT
                                                           : 0;
            unsigned priority = 99;
            const ssize_t n = mq().timedreceive(descriptor.fd, buffer, size, &priority, timeout.value);
            ASSERT_EQ(expected, errno_of_call(n))
                << timeout.what << ", " << descriptor.what << ", size " << size << (empty ? ", empty" : "");
            ASSERT_EQ(n >= 0 ? 7u : 99u, priority) << "untouched by a failure";
            if (n < 0 && !empty) {
              ASSERT_EQ("m", receive_text(queue.get()));
            }
          }
        }
      }
    }
  });
}

TEST_F(SendReceive, E3_EmptyAndNonblockingIsEagainAfterAllOtherChecks) {
  in_new_namespace([](const std::string&) {
    const UniqueFd fd(create_queue("a", 2, kMsgsize, O_RDWR | O_CREAT | O_NONBLOCK));
    char buffer[kMsgsize];
    const timespec past{0, 0}, future = deadline_in_ms(1'000'000);
    EXPECT_ERRNO(EAGAIN, mq().receive(fd.get(), buffer, sizeof buffer, nullptr));
    EXPECT_ERRNO(EAGAIN, mq().timedreceive(fd.get(), buffer, sizeof buffer, nullptr, nullptr));
    EXPECT_ERRNO(EAGAIN, mq().timedreceive(fd.get(), buffer, sizeof buffer, nullptr, &past));
    EXPECT_ERRNO(EAGAIN, mq().timedreceive(fd.get(), buffer, sizeof buffer, nullptr, &future));
    EXPECT_ERRNO(EMSGSIZE, mq().receive(fd.get(), buffer, kMsgsize - 1, nullptr));
    EXPECT_ERRNO(EAGAIN, mq().receive(fd.get(), nullptr, kMsgsize, nullptr)) << "the buffer was not needed";
    EXPECT_ERRNO(EAGAIN, mq().receive(fd.get(), buffer, SIZE_MAX, nullptr));
  });
}

TEST_F(SendReceive, E3_OnlyTheMessagesBytesAreWritten) {
  in_new_namespace([](const std::string&) {
    const UniqueFd fd(create_queue("a", 2, kMsgsize));
    ASSERT_OK(send(fd.get(), "abc"));
    char buffer[100];
    memset(buffer, '#', sizeof buffer);
    EXPECT_EQ(3, mq().receive(fd.get(), buffer, sizeof buffer, nullptr));
    EXPECT_EQ("abc" + std::string(97, '#'), std::string(buffer, sizeof buffer));
  });
}

TEST_F(SendReceive, E3_ABadBufferLosesTheMessageInTheKernelOnly) {
  in_new_namespace([](const std::string&) {
    const UniqueFd fd(create_queue("a", 2, kMsgsize, O_RDWR | O_CREAT | O_NONBLOCK));
    ASSERT_OK(send(fd.get(), "first", 1));
    ASSERT_OK(send(fd.get(), "second"));
    EXPECT_ERRNO(EFAULT, mq().receive(fd.get(), reinterpret_cast<char*>(8), kMsgsize, nullptr));
    if (MQ_DIFFERENCE("a message that could not be delivered is kept")) {
      EXPECT_EQ("first", receive_text(fd.get()));
    }
    EXPECT_EQ("second", receive_text(fd.get()));
    EXPECT_EQ("<EAGAIN>", receive_text(fd.get()));
  });
}

TEST_F(SendReceive, E4_APastDeadlineIsLookedAtOnlyWhereTheCallWouldBlock) {
  in_new_namespace([](const std::string&) {
    const UniqueFd fd(create_queue("a", 1, kMsgsize));
    char buffer[kMsgsize];
    for (const timespec& deadline : {timespec{0, 0}, deadline_in_ms(-1), timespec{1, 999'999'999}}) {
      EXPECT_ERRNO(ETIMEDOUT, mq().timedreceive(fd.get(), buffer, sizeof buffer, nullptr, &deadline));
      EXPECT_OK(mq().timedsend(fd.get(), "x", 1, 0, &deadline));
      EXPECT_ERRNO(ETIMEDOUT, mq().timedsend(fd.get(), "y", 1, 0, &deadline));
      EXPECT_EQ(1, mq().timedreceive(fd.get(), buffer, sizeof buffer, nullptr, &deadline));
      EXPECT_EQ('x', buffer[0]);
    }
    const timespec never{LONG_MAX, 999'999'999};
    EXPECT_OK(mq().timedsend(fd.get(), "x", 1, 0, &never));
    EXPECT_EQ(1, mq().timedreceive(fd.get(), buffer, sizeof buffer, nullptr, &never));
  });
}

TEST_F(SendReceive, E4_TheDeadlineIsAbsoluteRealTime) {
  in_new_namespace([](const std::string&) {
    const UniqueFd fd(create_queue("a", 1, kMsgsize));
    char buffer[kMsgsize];
    const auto has_passed = [](const timespec& deadline) {
      timespec now{};
      clock_gettime(CLOCK_REALTIME, &now);
      return now.tv_sec > deadline.tv_sec ||
             (now.tv_sec == deadline.tv_sec && now.tv_nsec >= deadline.tv_nsec);
    };
    timespec deadline = deadline_in_ms(60);
    EXPECT_ERRNO(ETIMEDOUT, mq().timedreceive(fd.get(), buffer, sizeof buffer, nullptr, &deadline));
    EXPECT_TRUE(has_passed(deadline));
    ASSERT_OK(send(fd.get(), "full"));
    deadline = deadline_in_ms(60);
    EXPECT_ERRNO(ETIMEDOUT, mq().timedsend(fd.get(), "x", 1, 0, &deadline));
    EXPECT_TRUE(has_passed(deadline));
    EXPECT_EQ("full", receive_text(fd.get()));
    deadline = deadline_in_ms(1);
    EXPECT_ERRNO(ETIMEDOUT, mq().timedreceive(fd.get(), buffer, sizeof buffer, nullptr, &deadline))
        << "the sender that gave up left nothing";
  });
}

TEST_F(SendReceive, E6_HighestPriorityFirstThenOldest) {
  in_new_namespace([](const std::string&) {
    const UniqueFd fd(create_queue("a", 10, kMsgsize, O_RDWR | O_CREAT | O_NONBLOCK));
    const std::pair<const char*, unsigned> sent[] = {{"a", 5}, {"b", 0},     {"c", 32767}, {"d", 5}, {"e", 0},
                                                     {"f", 1}, {"g", 32767}, {"h", 32766}, {"i", 5}};
    for (const auto& [text, priority] : sent)
      ASSERT_OK(send(fd.get(), text, priority));
    std::string order;
    for (size_t i = 0; i < std::size(sent); ++i)
      order += receive_text(fd.get());
    EXPECT_EQ("cghadifbe", order);
  });
}

TEST_F(SendReceive, E6_AgreesWithAModel) {
  in_new_namespace([](const std::string&) {
    constexpr size_t kMaxmsg = 10;
    const UniqueFd fd(create_queue("a", kMaxmsg, kMsgsize, O_RDWR | O_CREAT | O_NONBLOCK));
    std::mt19937 random(20'240'117);
    std::vector<std::pair<unsigned, std::string>> model;  // in the order in which they will come
    for (int step = 0; step < 3000; ++step) {
      if (random() % 2 == 0) {
        const unsigned priority = random() % 4 == 0 ? random() % 32768 : random() % 3;
        const std::string text = std::to_string(step);
        const int result = send(fd.get(), text, priority);
        if (model.size() == kMaxmsg) {
          ASSERT_ERRNO(EAGAIN, result);
          continue;
        }
        ASSERT_OK(result);
        const auto place = std::find_if(model.begin(), model.end(),
                                        [&](const auto& message) { return message.first < priority; });
        model.insert(place, {priority, text});
      } else {
        char buffer[kMsgsize];
        unsigned priority = 0;
        const ssize_t n = receive(fd.get(), buffer, sizeof buffer, &priority);
        if (model.empty()) {
          ASSERT_ERRNO(EAGAIN, n);
          continue;
        }
        ASSERT_OK(n);
        ASSERT_EQ(model.front(), std::make_pair(priority, std::string(buffer, static_cast<size_t>(n))));
        model.erase(model.begin());
      }
    }
  });
}

TEST_F(SendReceive, E12_ABadPointerIsEfaultInEveryArgument) {
  in_new_namespace([](const std::string&) {
    const UniqueFd fd(create_queue("a", 2, kMsgsize, O_RDWR | O_CREAT | O_NONBLOCK));
    const BadPointers bad;
    for (const mq_attr* pointer : bad.all<const mq_attr>()) {
      EXPECT_ERRNO(EFAULT, mq().open("/new", O_RDWR | O_CREAT, 0600, pointer));
      EXPECT_ERRNO(EFAULT, mq().open("/a", O_RDWR | O_CREAT | O_EXCL, 0600, pointer)) << "before EEXIST";
      EXPECT_ERRNO(EFAULT, mq().open("//", O_RDWR | O_CREAT, 0600, pointer)) << "before the name";
      EXPECT_ERRNO(EFAULT, mq().open("/", O_RDWR | O_CREAT, 0600, pointer));
      EXPECT_ERRNO(EINVAL, mq().open("", O_RDWR | O_CREAT, 0600, pointer)) << "libc wants its slash first";
      EXPECT_ERRNO(EINVAL, mq().open("a", O_RDWR | O_CREAT, 0600, pointer));
      EXPECT_OK(UniqueFd(mq().open("/a", O_RDWR, 0600, pointer)).get()) << "not looked at";
      EXPECT_ERRNO(EFAULT, mq().setattr(fd.get(), pointer, nullptr));
      EXPECT_ERRNO(EFAULT, mq().setattr(-1, pointer, nullptr)) << "before the descriptor";
    }
    EXPECT_ERRNO(ENOENT, mq().unlink("/new"));
    for (mq_attr* pointer : bad.all<mq_attr>()) {
      EXPECT_ERRNO(EFAULT, mq().getattr(fd.get(), pointer));
      EXPECT_ERRNO(EBADF, mq().getattr(-1, pointer));
      EXPECT_ERRNO(EFAULT, mq().setattr(fd.get(), nullptr, pointer));
    }
    for (const char* pointer : bad.all<const char>()) {
      EXPECT_ERRNO(EFAULT, mq().send(fd.get(), pointer, kMsgsize, 0));
      EXPECT_ERRNO(EFAULT, mq().timedsend(fd.get(), pointer, kMsgsize, 0, nullptr));
    }
    for (const timespec* pointer : bad.all<const timespec>()) {
      char buffer[kMsgsize];
      EXPECT_ERRNO(EFAULT, mq().timedsend(fd.get(), "x", 1, 0, pointer));
      EXPECT_ERRNO(EFAULT, mq().timedreceive(fd.get(), buffer, sizeof buffer, nullptr, pointer));
    }
    // libc reads the type itself, and crashes where it can't: only what the kernel is left to read.
    auto* event =
        reinterpret_cast<sigevent*>(bad.straddling + 4 - offsetof(sigevent, sigev_notify) - sizeof(int));
    event->sigev_notify = SIGEV_SIGNAL;
    EXPECT_ERRNO(EFAULT, mq().notify(fd.get(), event));
    EXPECT_ERRNO(EFAULT, mq().notify(-1, event)) << "before the descriptor";
    EXPECT_EQ("<EAGAIN>", receive_text(fd.get())) << "nothing was sent";
  });
}

TEST_F(SendReceive, E12_ABadReceiveBufferIsEfaultNotACrash) {
  in_new_namespace([](const std::string&) {
    const UniqueFd fd(create_queue("a", 2, kMsgsize, O_RDWR | O_CREAT | O_NONBLOCK));
    const BadPointers bad;
    char* const read_only =
        static_cast<char*>(mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    std::vector<char*> buffers = bad.all<char>();
    buffers.push_back(read_only);
    for (char* buffer : buffers) {
      ASSERT_OK(send(fd.get(), std::string(kMsgsize, 'x')));
      EXPECT_ERRNO(EFAULT, mq().receive(fd.get(), buffer, kMsgsize, nullptr)) << static_cast<void*>(buffer);
      EXPECT_ERRNO(EMSGSIZE, mq().receive(fd.get(), buffer, kMsgsize - 1, nullptr));
      while (receive_text(fd.get()) != "<EAGAIN>") {
      }
    }
    char good[kMsgsize];
    for (unsigned* priority : {reinterpret_cast<unsigned*>(8), reinterpret_cast<unsigned*>(read_only)}) {
      ASSERT_OK(send(fd.get(), "x", 1));
      EXPECT_ERRNO(EFAULT, mq().receive(fd.get(), good, kMsgsize, priority));
      while (receive_text(fd.get()) != "<EAGAIN>") {
      }
    }
    munmap(read_only, 4096);
  });
}

TEST_F(SendReceive, E12_ABufferThatIsGoodAsFarAsTheMessageReachesIsGood) {
  in_new_namespace([](const std::string&) {
    const UniqueFd fd(create_queue("a", 2, kMsgsize, O_RDWR | O_CREAT | O_NONBLOCK));
    const BadPointers bad;
    ASSERT_OK(send(fd.get(), "abcd"));
    EXPECT_EQ(4, mq().receive(fd.get(), bad.straddling, kMsgsize, nullptr));
    EXPECT_EQ("abcd", std::string(bad.straddling, 4));
    EXPECT_OK(mq().send(fd.get(), bad.straddling, 4, 0));
    EXPECT_EQ("abcd", receive_text(fd.get()));
  });
}

}  // namespace
}  // namespace mqueuefs::test
