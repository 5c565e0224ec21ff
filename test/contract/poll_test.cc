// doc/behaviour.md E10: readiness, level- and edge-triggered.
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "base/unique_fd.h"
#include "support/child.h"
#include "support/expect.h"
#include "support/posix_calls.h"
#include "support/target.h"
#include "support/wait.h"

namespace mqueuefs::test {
namespace {

class Poll : public TargetTest {};

constexpr short kAll =
    POLLIN | POLLRDNORM | POLLPRI | POLLRDBAND | POLLOUT | POLLWRNORM | POLLWRBAND | POLLRDHUP;
constexpr short kReadable = POLLIN | POLLRDNORM;
constexpr short kWritable = POLLOUT | POLLWRNORM;

// What poll says now.
short readiness(int fd) {
  pollfd ready{fd, kAll, 0};
  EXPECT_OK(poll(&ready, 1, 0));
  return ready.revents;
}

class EdgeTriggered {
 public:
  explicit EdgeTriggered(int fd, uint32_t events = EPOLLIN | EPOLLOUT) {
    epoll_event event{events | EPOLLET, {}};
    EXPECT_OK(epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event));
  }
  // The events since the last look, 0 if there was none.
  uint32_t take(int timeout_ms = 0) {
    epoll_event event{};
    const int n = epoll_wait(epoll_.get(), &event, 1, timeout_ms);
    EXPECT_OK(n);
    return n == 1 ? event.events : 0;
  }

 private:
  const UniqueFd epoll_{epoll_create1(EPOLL_CLOEXEC)};
};

TEST_F(Poll, E10_ReadableWithMessagesWritableWithRoom) {
  in_new_namespace([](const std::string&) {
    const UniqueFd fd(create_queue("a", 2, 10));
    EXPECT_EQ(kWritable, readiness(fd.get()));
    ASSERT_OK(send(fd.get(), "1"));
    EXPECT_EQ(kReadable | kWritable, readiness(fd.get()));
    ASSERT_OK(send(fd.get(), ""));
    EXPECT_EQ(kReadable, readiness(fd.get()));
    receive_text(fd.get());
    EXPECT_EQ(kReadable | kWritable, readiness(fd.get()));
    receive_text(fd.get());
    EXPECT_EQ(kWritable, readiness(fd.get()));
  });
}

TEST_F(Poll, E10_TheAccessModeDoesNotMatter) {
  in_new_namespace([](const std::string&) {
    const UniqueFd fd(create_queue("a", 2, 10));
    ASSERT_OK(send(fd.get(), "1"));
    const UniqueFd reader(mq().open("/a", O_RDONLY, 0, nullptr)),
        writer(mq().open("/a", O_WRONLY, 0, nullptr));
    const UniqueFd neither(mq().open("/b", O_WRONLY | O_RDWR | O_CREAT, 0600, nullptr));
    EXPECT_EQ(kReadable | kWritable, readiness(reader.get()));
    EXPECT_EQ(kReadable | kWritable, readiness(writer.get()));
    EXPECT_EQ(kWritable, readiness(neither.get()));
  });
}

TEST_F(Poll, E10_NeverHangUpOrErrorAfterUnlinkAndLastOtherClose) {
  in_new_namespace([](const std::string&) {
    UniqueFd other(create_queue("a", 2, 10));
    const UniqueFd fd(mq().open("/a", O_RDONLY, 0, nullptr));
    ASSERT_OK(mq().unlink("/a"));
    other.reset();
    EXPECT_EQ(kWritable, readiness(fd.get()));
  });
}

TEST_F(Poll, E10_SelectAgrees) {
  in_new_namespace([](const std::string&) {
    const UniqueFd fd(create_queue("a", 1, 10));
    const auto look = [&] {
      fd_set readable, writable, exceptional;
      for (fd_set* set : {&readable, &writable, &exceptional}) {
        FD_ZERO(set);
        FD_SET(fd.get(), set);
      }
      timeval at_once{};
      EXPECT_OK(select(fd.get() + 1, &readable, &writable, &exceptional, &at_once));
      return std::string(FD_ISSET(fd.get(), &readable) ? "r" : "") +
             (FD_ISSET(fd.get(), &writable) ? "w" : "") + (FD_ISSET(fd.get(), &exceptional) ? "e" : "");
    };
    EXPECT_EQ("w", look());
    ASSERT_OK(send(fd.get(), "1"));
    EXPECT_EQ("r", look());
  });
}

TEST_F(Poll, E10_PollSleepsUntilAMessageComes) {
  in_new_namespace([](const std::string&) {
    const UniqueFd fd(create_queue("a", 1, 10));
    Companion reader([&] {
      pollfd ready{fd.get(), POLLIN, 0};
      EXPECT_EQ(1, poll(&ready, 1, -1));
      EXPECT_EQ(POLLIN, ready.revents);
    });
    ASSERT_TRUE(wait_until_asleep(reader.pid()));
    ASSERT_OK(send(fd.get(), "1"));
    reader.join();
    Companion writer([&] {
      pollfd ready{fd.get(), POLLOUT, 0};
      EXPECT_EQ(1, poll(&ready, 1, -1));
      EXPECT_EQ(POLLOUT, ready.revents);
    });
    ASSERT_TRUE(wait_until_asleep(writer.pid()));
    receive_text(fd.get());
  });
}

TEST_F(Poll, E10_EachEnqueueAndDequeueIsAnEdge) {
  in_new_namespace([](const std::string&) {
    const UniqueFd fd(create_queue("a", 3, 10, O_RDWR | O_CREAT | O_NONBLOCK));
    const UniqueFd other(mq().open("/a", O_RDWR, 0, nullptr));
    EdgeTriggered edges(fd.get());
    EXPECT_EQ(EPOLLOUT, edges.take());
    EXPECT_EQ(0u, edges.take());
    ASSERT_OK(send(other.get(), "1"));
    EXPECT_EQ(EPOLLIN | EPOLLOUT, edges.take(5000));
    EXPECT_EQ(0u, edges.take());
    ASSERT_OK(send(other.get(), "2"));
    EXPECT_EQ(EPOLLIN | EPOLLOUT, edges.take(5000));
    ASSERT_OK(send(other.get(), "3"));
    EXPECT_EQ(EPOLLIN, edges.take(5000));
    EXPECT_EQ(0u, edges.take());
    for (const uint32_t expected : {EPOLLIN | EPOLLOUT, EPOLLIN | EPOLLOUT, 0u | EPOLLOUT}) {
      receive_text(other.get());
      EXPECT_EQ(expected, edges.take(5000));
      EXPECT_EQ(0u, edges.take());
    }
    EXPECT_EQ("<EAGAIN>", receive_text(fd.get()));
    EXPECT_EQ(0u, edges.take()) << "a refusal is no edge";
    mq_attr attributes{};
    ASSERT_OK(mq().getattr(other.get(), &attributes));
    ASSERT_OK(mq().setattr(other.get(), &attributes, nullptr));
    const sigevent event = event_of(SIGEV_NONE);
    ASSERT_OK(mq().notify(other.get(), &event));
    EXPECT_EQ(0u, edges.take()) << "nor is anything else";
  });
}

TEST_F(Poll, E10_EveryDescriptorHasItsEdges) {
  in_new_namespace([](const std::string&) {
    const UniqueFd one(create_queue("a", 3, 10));
    const UniqueFd two(mq().open("/a", O_RDONLY, 0, nullptr));
    EdgeTriggered edges_of_one(one.get(), EPOLLIN), edges_of_two(two.get(), EPOLLIN);
    ASSERT_OK(send(one.get(), "1"));
    EXPECT_EQ(EPOLLIN, edges_of_one.take(5000));
    EXPECT_EQ(EPOLLIN, edges_of_two.take(5000));
    EXPECT_EQ(0u, edges_of_one.take());
    EXPECT_EQ(0u, edges_of_two.take());
  });
}

TEST_F(Poll, E10_OneShotAndRearming) {
  in_new_namespace([](const std::string&) {
    const UniqueFd fd(create_queue("a", 3, 10));
    const UniqueFd epoll(epoll_create1(EPOLL_CLOEXEC));
    epoll_event event{EPOLLIN | EPOLLONESHOT, {}};
    ASSERT_OK(epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd.get(), &event));
    ASSERT_OK(send(fd.get(), "1"));
    EXPECT_EQ(1, epoll_wait(epoll.get(), &event, 1, 5000));
    ASSERT_OK(send(fd.get(), "2"));
    EXPECT_EQ(0, epoll_wait(epoll.get(), &event, 1, 0));
    event = {EPOLLIN | EPOLLONESHOT, {}};
    ASSERT_OK(epoll_ctl(epoll.get(), EPOLL_CTL_MOD, fd.get(), &event));
    EXPECT_EQ(1, epoll_wait(epoll.get(), &event, 1, 5000));
  });
}

}  // namespace
}  // namespace mqueuefs::test
