// The packets of the control socket, over a socket pair.
#include "control/wire.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <string>
#include <vector>

namespace mqueuefs::control {
namespace {

class Wire : public testing::Test {
 protected:
  void SetUp() override {
    int pair[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
    near_ = UniqueFd(pair[0]);
    far_ = UniqueFd(pair[1]);
  }

  Result<ReceivedPacket> receive() { return receive_packet(far_.get(), buffer_); }

  /// Sends bytes that need not be a packet.
  void send_raw(const std::vector<std::byte>& bytes) {
    ASSERT_EQ(send(near_.get(), bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
  }

  static size_t open_descriptors() {
    size_t count = 0;
    for (int fd = 0; fd < 1024; ++fd)
      count += fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
    return count;
  }

  UniqueFd near_;
  UniqueFd far_;
  alignas(8) std::array<std::byte, 1024> buffer_{};
};

TEST_F(Wire, PacketArrivesWhole) {
  const Hello hello{kProtocolVersion, 7};
  ASSERT_TRUE(send_packet(near_.get(), {Type::kHello, 0, 42, 0}, bytes_of(hello)).ok());
  const auto packet = receive();
  ASSERT_TRUE(packet.ok());
  EXPECT_EQ(packet->header.type, Type::kHello);
  EXPECT_EQ(packet->header.tid, 42);
  EXPECT_EQ(packet->header.size, sizeof hello);
  ASSERT_EQ(packet->body_size, sizeof hello);
  EXPECT_EQ(memcmp(buffer_.data(), &hello, sizeof hello), 0);
  EXPECT_EQ(packet->fd_count, 0u);
  EXPECT_FALSE(packet->has_credentials);
}

TEST_F(Wire, EmptyBody) {
  ASSERT_TRUE(send_packet(near_.get(), {Type::kCancel, 0, 0, 99}, {}).ok());
  const auto packet = receive();
  ASSERT_TRUE(packet.ok());
  EXPECT_EQ(packet->body_size, 0u);
}

TEST_F(Wire, DescriptorsArriveCloseOnExec) {
  const UniqueFd null(open("/dev/null", O_RDONLY));
  const int fds[] = {null.get(), near_.get()};
  ASSERT_TRUE(send_packet(near_.get(), {Type::kAdoptMount}, {}, fds).ok());
  const auto packet = receive();
  ASSERT_TRUE(packet.ok());
  ASSERT_EQ(packet->fd_count, 2u);
  struct stat sent {
  }, received{};
  ASSERT_EQ(fstat(null.get(), &sent), 0);
  ASSERT_EQ(fstat(packet->fds[0].get(), &received), 0);
  EXPECT_EQ(sent.st_rdev, received.st_rdev);
  EXPECT_EQ(fcntl(packet->fds[1].get(), F_GETFD), FD_CLOEXEC);
}

TEST_F(Wire, CredentialsAreTheSenders) {
  const int on = 1;
  ASSERT_EQ(setsockopt(far_.get(), SOL_SOCKET, SO_PASSCRED, &on, sizeof on), 0);
  ASSERT_TRUE(send_packet(near_.get(), {Type::kHello}, {}, {}, Credentials::kOwn).ok());
  const auto packet = receive();
  ASSERT_TRUE(packet.ok());
  ASSERT_TRUE(packet->has_credentials);
  EXPECT_EQ(packet->credentials.pid, getpid());
  EXPECT_EQ(packet->credentials.uid, geteuid());
  EXPECT_EQ(packet->credentials.gid, getegid());
}

TEST_F(Wire, PacketLongerThanTheBufferIsRefused) {
  const std::vector<std::byte> body(buffer_.size() + 1);
  const UniqueFd null(open("/dev/null", O_RDONLY));
  const int fds[] = {null.get()};
  const size_t before = open_descriptors();
  ASSERT_TRUE(send_packet(near_.get(), {Type::kMount}, body, fds).ok());
  EXPECT_EQ(receive().code(), EPROTO);
  EXPECT_EQ(open_descriptors(), before) << "the descriptor that came with it is closed";
}

TEST_F(Wire, PacketTooLongToBeOneIsNotSent) {
  const std::vector<std::byte> body(kMaxPacketBytes + 1);
  EXPECT_EQ(send_packet(near_.get(), {Type::kMount}, body).code(), EINVAL);
  EXPECT_EQ(receive().code(), EAGAIN);
}

TEST_F(Wire, HeaderThatIsNotWholeIsRefused) {
  for (size_t size = 1; size < sizeof(Header); ++size) {
    send_raw(std::vector<std::byte>(size));
    EXPECT_EQ(receive().code(), EPROTO) << size;
  }
}

TEST_F(Wire, SizeThatIsNotTrueIsRefused) {
  for (const uint32_t claimed : {0u, 7u, 9u, 0xffffffffu}) {
    Header header{Type::kHello, 0, 0, claimed};
    std::vector<std::byte> bytes(sizeof header + 8);
    memcpy(bytes.data(), &header, sizeof header);
    send_raw(bytes);
    EXPECT_EQ(receive().code(), EPROTO) << claimed;
  }
}

TEST_F(Wire, MoreDescriptorsThanAPacketHasAreRefusedAndClosed) {
  const UniqueFd null(open("/dev/null", O_RDONLY));
  int fds[20];
  for (int& fd : fds)
    fd = null.get();
  Header header{Type::kAdoptMount};
  iovec part{&header, sizeof header};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof fds)] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* rights = CMSG_FIRSTHDR(&message);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(sizeof fds);
  memcpy(CMSG_DATA(rights), fds, sizeof fds);
  const size_t before = open_descriptors();
  ASSERT_EQ(sendmsg(near_.get(), &message, 0), static_cast<ssize_t>(sizeof header));
  EXPECT_EQ(receive().code(), EPROTO);
  EXPECT_EQ(open_descriptors(), before);
}

TEST_F(Wire, RefusedDescriptorsNeverArrive) {
  const int on = 1;
  ASSERT_EQ(setsockopt(far_.get(), SOL_SOCKET, SO_PASSCRED, &on, sizeof on), 0);
  const UniqueFd null(open("/dev/null", O_RDONLY));
  const int fds[] = {null.get(), null.get()};
  ASSERT_TRUE(send_packet(near_.get(), {Type::kCancel}, {}, fds, Credentials::kOwn).ok());
  const size_t before = open_descriptors();
  const auto packet = receive_packet(far_.get(), buffer_, 0, Descriptors::kRefuse);
  ASSERT_TRUE(packet.ok());
  EXPECT_EQ(packet->fd_count, 0u);
  EXPECT_EQ(packet->credentials.pid, getpid());
  EXPECT_EQ(open_descriptors(), before) << "not even for a moment";
}

TEST_F(Wire, NoRoomForADescriptorIsEmfile) {
  const UniqueFd null(open("/dev/null", O_RDONLY));
  const int fds[] = {null.get()};
  ASSERT_TRUE(send_packet(near_.get(), {Type::kOpenRoot}, {}, fds).ok());
  rlimit old{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &old), 0);
  rlimit none = old;
  none.rlim_cur = static_cast<rlim_t>(null.get());  // everything below is in use
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  const int code = receive().code();
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &old), 0);
  EXPECT_EQ(code, EMFILE);
}

TEST_F(Wire, EndOfThePeer) {
  near_.reset();
  EXPECT_EQ(receive().code(), ECONNRESET);
  EXPECT_EQ(send_packet(far_.get(), {Type::kHello}, {}).code(), EPIPE) << "and no SIGPIPE";
}

}  // namespace
}  // namespace mqueuefs::control
