// Connection against a server that says what the test wants.
#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <string>
#include <thread>

#include "client/connection.h"
#include "control/wire.h"

namespace mqueuefs::client {
namespace {

using control::Type;

// Answers one connection in a thread of its own.
class FakeServer {
 public:
  explicit FakeServer(std::function<void(int)> serve) : serve_(std::move(serve)) {
    char dir[] = "/tmp/mqueuefs-client-test-XXXXXX";
    dir_ = mkdtemp(dir);
    path_ = dir_ + "/socket";
    listener_.reset(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    strcpy(name.sun_path, path_.c_str());
    EXPECT_EQ(bind(listener_.get(), reinterpret_cast<sockaddr*>(&name), sizeof name), 0);
    EXPECT_EQ(listen(listener_.get(), 4), 0);
    setenv("MQUEUEFS_SOCKET", path_.c_str(), 1);
    thread_ = std::thread([this] {
      const UniqueFd peer(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (peer) serve_(peer.get());
    });
  }
  ~FakeServer() {
    shutdown(listener_.get(), SHUT_RDWR);
    thread_.join();
    unlink(path_.c_str());
    rmdir(dir_.c_str());
    unsetenv("MQUEUEFS_SOCKET");
  }

 private:
  std::function<void(int)> serve_;
  std::string dir_, path_;
  UniqueFd listener_;
  std::thread thread_;
};

Type expect_request(int peer) {
  std::byte body[8192];
  const auto packet = control::receive_packet(peer, body);
  return packet ? packet->header.type : Type{};
}

template <typename Body>
void answer(int peer, Type type, const Body& body, int status = 0) {
  control::Header header{};
  header.type = type;
  header.status = status;
  EXPECT_TRUE(control::send_packet(peer, header, control::bytes_of(body)).ok());
}

void greet(int peer, uint32_t version = control::kProtocolVersion) {
  EXPECT_EQ(expect_request(peer), Type::kHello);
  answer(peer, Type::kHello, control::HelloReply{version, 42, 77});
}

Connection connect() {
  auto connection = Connection::connect(StartDaemon::kNever, "/proc/self/exe");
  EXPECT_TRUE(connection.ok());
  return std::move(*connection);
}

TEST(ConnectionTest, GreetsAndLearnsItsChannel) {
  FakeServer server([](int peer) { greet(peer); });
  const Connection connection = connect();
  EXPECT_EQ(connection.channel(), 77u);
  EXPECT_EQ(connection.daemon_pid(), 42);
}

TEST(ConnectionTest, AnotherVersionIsRefused) {
  FakeServer server([](int peer) { greet(peer, control::kProtocolVersion + 1); });
  EXPECT_EQ(Connection::connect(StartDaemon::kNever, "").code(), EPROTONOSUPPORT);
}

TEST(ConnectionTest, NobodyThereIsSaidSo) {
  setenv("MQUEUEFS_SOCKET", "/tmp/mqueuefs-nobody-is-here.sock", 1);
  EXPECT_EQ(Connection::connect(StartDaemon::kNever, "").code(), ECONNREFUSED);
  unsetenv("MQUEUEFS_SOCKET");
}

TEST(ConnectionTest, UnaskedPacketsDoNotDisturbARequest) {
  FakeServer server([](int peer) {
    greet(peer);
    EXPECT_EQ(expect_request(peer), Type::kLimitsGet);
    answer(peer, Type::kNotifyThread, control::NotifyThread{5, 1, 0});
    answer(peer, Type::kWaitDone, control::WaitDone{0, 3, 9, 0});
    control::LimitsReply limits{};
    limits.msg_max = 10;
    answer(peer, Type::kLimitsGet, limits);
  });
  Connection connection = connect();
  uint64_t notified = 0;
  connection.set_notify_handler(
      [](const control::NotifyThread& event, void* context) { *static_cast<uint64_t*>(context) = event.value; },
      &notified);
  const auto limits = connection.call<control::LimitsReply>(Type::kLimitsGet, control::Selector{});
  ASSERT_TRUE(limits.ok());
  EXPECT_EQ(limits->msg_max, 10u);
  EXPECT_EQ(notified, 5u);
  const auto done = connection.wait();  // came in passing
  ASSERT_TRUE(done.ok());
  EXPECT_EQ(done->priority, 9u);
}

TEST(ConnectionTest, DaemonsErrorIsHandedUp) {
  FakeServer server([](int peer) {
    greet(peer);
    expect_request(peer);
    control::Header header{};
    header.type = Type::kMount;
    header.status = EPERM;
    EXPECT_TRUE(control::send_packet(peer, header, {}).ok());
  });
  Connection connection = connect();
  EXPECT_EQ(connection.request(Type::kMount, {}).code(), EPERM);
}

TEST(ConnectionTest, AnswerToSomethingElseIsAProtocolError) {
  FakeServer server([](int peer) {
    greet(peer);
    expect_request(peer);
    answer(peer, Type::kRemount, control::WaitDone{});
  });
  Connection connection = connect();
  EXPECT_EQ(connection.request(Type::kMount, {}).code(), EPROTO);
}

TEST(ConnectionTest, DeadDaemonEndsAWait) {
  FakeServer server([](int peer) { greet(peer); });
  Connection connection = connect();
  connection.begin_wait();
  EXPECT_EQ(connection.wait().code(), ECONNRESET);
}

// A thread that sleeps in wait() and gets a signal; `serve` plays the daemon after that.
class InterruptedWait : public testing::Test {
 protected:
  void SetUp() override {
    struct sigaction action {};
    action.sa_handler = [](int) {};
    sigaction(SIGUSR1, &action, nullptr);  // no SA_RESTART
  }

  // The server interrupts the waiting thread until it asks to cancel, and then answers.
  Result<control::WaitDone> wait_interrupted(std::function<void(int)> answer_cancel) {
    const pthread_t waiting = pthread_self();
    FakeServer server([&, waiting](int peer) {
      greet(peer);
      std::byte body[64];
      for (;;) {
        pthread_kill(waiting, SIGUSR1);
        usleep(1000);
        const auto packet = control::receive_packet(peer, body, MSG_DONTWAIT);
        if (!packet && packet.code() == EAGAIN) continue;
        EXPECT_TRUE(packet.ok() && packet->header.type == Type::kCancel);
        break;
      }
      answer_cancel(peer);
    });
    Connection connection = connect();
    connection.begin_wait();
    return connection.wait();
  }
};

TEST_F(InterruptedWait, CancelledIsEintr) {
  const auto done = wait_interrupted([](int peer) { answer(peer, Type::kCancel, control::CancelReply{}); });
  EXPECT_EQ(done.code(), EINTR);
}

TEST_F(InterruptedWait, ServedBeforeTheCancelIsServed) {
  const auto done = wait_interrupted([](int peer) {
    answer(peer, Type::kCancel, control::CancelReply{1, 0, control::WaitDone{0, 4, 2, 0}});
  });
  ASSERT_TRUE(done.ok());
  EXPECT_EQ(done->total, 4u);
}

TEST_F(InterruptedWait, CrossingWaitDoneCountsOnce) {
  const auto done = wait_interrupted([](int peer) {
    answer(peer, Type::kWaitDone, control::WaitDone{0, 4, 2, 0});
    answer(peer, Type::kCancel, control::CancelReply{1, 0, control::WaitDone{0, 4, 2, 0}});
  });
  ASSERT_TRUE(done.ok());
  EXPECT_EQ(done->priority, 2u);
}

TEST_F(InterruptedWait, SaRestartGoesUnnoticed) {
  struct sigaction action {};
  action.sa_handler = [](int) {};
  action.sa_flags = SA_RESTART;
  sigaction(SIGUSR1, &action, nullptr);
  const pthread_t waiting = pthread_self();
  FakeServer server([waiting](int peer) {
    greet(peer);
    for (int i = 0; i < 20; ++i) {
      pthread_kill(waiting, SIGUSR1);
      usleep(1000);
    }
    answer(peer, Type::kWaitDone, control::WaitDone{0, 1, 1, 0});
  });
  Connection connection = connect();
  connection.begin_wait();
  EXPECT_TRUE(connection.wait().ok());
}

TEST_F(InterruptedWait, SignalBeforeTheSleepIsEintr) {
  FakeServer server([](int peer) {
    greet(peer);
    EXPECT_EQ(expect_request(peer), Type::kCancel);
    answer(peer, Type::kCancel, control::CancelReply{});
  });
  Connection connection = connect();
  connection.begin_wait();
  connection.interrupt_wait();
  EXPECT_EQ(connection.wait().code(), EINTR);
}

TEST_F(InterruptedWait, StoppedIsBegunAnew) {
  FakeServer server([](int peer) {
    greet(peer);
    answer(peer, Type::kWaitDone, control::WaitDone{ERESTART, 0, 0, 0});
  });
  Connection connection = connect();
  connection.begin_wait();
  EXPECT_EQ(connection.wait().code(), ERESTART);
}

TEST_F(InterruptedWait, StoppedAndThenInterruptedIsEintr) {
  const auto done = wait_interrupted([](int peer) {
    answer(peer, Type::kWaitDone, control::WaitDone{ERESTART, 0, 0, 0});
    answer(peer, Type::kCancel, control::CancelReply{1, 0, control::WaitDone{ERESTART, 0, 0, 0}});
  });
  EXPECT_EQ(done.code(), EINTR);
}

}  // namespace
}  // namespace mqueuefs::client
