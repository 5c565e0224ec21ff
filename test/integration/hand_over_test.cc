// What travels between the daemon and a client that waits, seen from the connection: how many requests a call is, and
// what becomes of a message whose receiver ends before it has read it.
#include <fcntl.h>
#include <mqueuefs/mqueuefs.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "client/connection.h"
#include "control/queue_ioctl.h"
#include "integration/program_fixture.h"
#include "support/child.h"
#include "support/expect.h"
#include "support/wait.h"

namespace mqueuefs::test {
namespace {

class HandOver : public ProgramTest {
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
  static std::string receive(mqd_t queue) {
    char buffer[64];
    const ssize_t size = mqueuefs_receive(queue, buffer, sizeof buffer, nullptr);
    return size < 0 ? errno_name(errno) : std::string(buffer, static_cast<size_t>(size));
  }

  /// A waiter, as a receive leaves it before it sleeps.
  static client::Connection begin_to_wait(mqd_t queue) {
    auto connection = client::Connection::connect(client::StartDaemon::kNever, nullptr);
    EXPECT_TRUE(connection.ok());
    struct {
      control::ReceiveHeader header;
      char payload[64];
    } argument{};
    argument.header.flags = control::kMayWait | control::kWithNews;
    argument.header.buffer_size = sizeof argument.payload;
    argument.header.channel = connection->channel();
    EXPECT_EQ(ioctl(queue, control::queue_ioctl(control::QueueIoctl::kReceive, sizeof argument), &argument),
              control::kWaiting);
    return std::move(*connection);
  }

  /// It has seen the end of a connection before it serves a newer one.
  static void let_the_daemon_look() {
    EXPECT_TRUE(client::Connection::connect(client::StartDaemon::kNever, nullptr).ok());
  }

  /// What the kernel has asked of this namespace's file system so far.
  static uint64_t requests() {
    uint64_t sum = 0;
    for (const auto& entry : nlohmann::json::parse(program({"ns", "list", "--json"}).stdout_text)) {
      sum += entry["requests"].get<uint64_t>();
    }
    return sum;
  }
  /// Of one call.
  static uint64_t requests_of(const std::function<void()>& call) {
    const uint64_t before = requests();
    call();
    // Who asks is a child, that closes its copy of the descriptor: a FLUSH.
    return requests() - before - 1;
  }
};

TEST_F(HandOver, MessageThatWasNotReadGoesBackToItsPlace) {
  in_namespace([] {
    const mqd_t queue = create(O_NONBLOCK);
    for (const bool closed_first : {true, false}) {
      client::Connection connection = begin_to_wait(queue);
      ASSERT_OK(mqueuefs_send(queue, "first", 5, 1));
      ASSERT_OK(mqueuefs_send(queue, "second", 6, 1));
      // Closed, or shut down while somebody else (a forked child) still has the socket.
      const UniqueFd copy(closed_first ? -1 : dup(connection.fd()));
      connection.drop();
      let_the_daemon_look();
      EXPECT_EQ(receive(queue), "first");
      EXPECT_EQ(receive(queue), "second");
      EXPECT_EQ(receive(queue), "EAGAIN");
    }
  });
}

TEST_F(HandOver, MessageThatWasReadDoesNotComeBack) {
  in_namespace([] {
    const mqd_t queue = create(O_NONBLOCK);
    {
      client::Connection connection = begin_to_wait(queue);
      char buffer[64];
      connection.begin_wait(std::as_writable_bytes(std::span(buffer)));
      ASSERT_OK(mqueuefs_send(queue, "first", 5, 1));
      const auto done = connection.wait();
      ASSERT_TRUE(done.ok());
      EXPECT_EQ(done->enclosed, 1u);
      EXPECT_EQ(std::string(buffer, done->total), "first");
    }
    let_the_daemon_look();
    EXPECT_EQ(receive(queue), "EAGAIN");
  });
}

TEST_F(HandOver, OneRequestForEachOperation) {
  in_namespace([] {
    const mqd_t queue = create();
    char buffer[64];
    EXPECT_EQ(requests_of([] {}), 0u);
    ASSERT_OK(mqueuefs_send(queue, "", 0, 0));  // the first one in the long form asks what this mount is
    ASSERT_EQ(receive(queue), "");
    EXPECT_EQ(requests_of([&] { ASSERT_OK(mqueuefs_send(queue, "x", 1, 0)); }), 1u);
    EXPECT_EQ(requests_of([&] { ASSERT_EQ(1, mqueuefs_receive(queue, buffer, sizeof buffer, nullptr)); }), 1u);
    EXPECT_EQ(requests_of([&] { ASSERT_OK(mqueuefs_send(queue, "", 0, 32767)); }), 1u) << "the long form";
    EXPECT_EQ(requests_of([&] { ASSERT_EQ(0, mqueuefs_receive(queue, buffer, sizeof buffer, nullptr)); }), 1u);
    const timespec deadline{1, 0};
    EXPECT_EQ(requests_of([&] { ASSERT_OK(mqueuefs_timedsend(queue, "x", 1, 0, &deadline)); }), 1u);
    EXPECT_EQ(requests_of([&] { ASSERT_EQ(1, mqueuefs_timedreceive(queue, buffer, sizeof buffer, nullptr, &deadline)); }),
              1u);

    mq_attr attributes{};
    EXPECT_EQ(requests_of([&] { ASSERT_OK(mqueuefs_getattr(queue, &attributes)); }), 1u) << "curmsgs";
    attributes.mq_flags = O_NONBLOCK;
    EXPECT_EQ(requests_of([&] { ASSERT_OK(mqueuefs_setattr(queue, &attributes, nullptr)); }), 1u) << "the times";
    EXPECT_EQ(requests_of([&] { EXPECT_EQ(fcntl(queue, F_GETFL) & O_NONBLOCK, O_NONBLOCK); }), 0u) << "the flag";
    EXPECT_EQ(requests_of([&] { EXPECT_ERRNO(EAGAIN, mqueuefs_receive(queue, buffer, sizeof buffer, nullptr)); }), 1u);
    EXPECT_EQ(requests_of([&] { EXPECT_ERRNO(EMSGSIZE, mqueuefs_receive(queue, buffer, 1, nullptr)); }), 1u);
    EXPECT_EQ(requests_of([&] { EXPECT_ERRNO(EMSGSIZE, mqueuefs_send(queue, buffer, 65, 0)); }), 1u);
  });
}

TEST_F(HandOver, WhoHadToWaitAsksOnceTheNextTime) {
  in_namespace([] {
    const mqd_t queue = create();
    const auto wait_and_be_served = [&] {
      return requests_of([&] {
        Companion receiver([&] {
          char buffer[64];
          for (int i = 0; i < 2; ++i) {
            if (mqueuefs_receive(queue, buffer, sizeof buffer, nullptr) != 1) _exit(1);
          }
        });
        for (int i = 0; i < 2; ++i) {
          ASSERT_TRUE(wait_until_asleep(receiver.pid()));
          ASSERT_OK(mqueuefs_send(queue, "x", 1, 0));
        }
        receiver.join();
      });
    };
    ASSERT_OK(mqueuefs_send(queue, "", 0, 0));
    ASSERT_EQ(receive(queue), "");
    // Two sends; the first receive tries, then waits; the second waits at once; the child's close is a FLUSH.
    EXPECT_EQ(wait_and_be_served(), 2u + 2u + 1u + 1u);
  });
}

}  // namespace
}  // namespace mqueuefs::test
