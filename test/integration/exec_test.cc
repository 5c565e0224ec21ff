// The daemon beside programs that execute others. execve(2) holds the process's exec_update_lock while it closes the
// descriptors that are close-on-exec; each FUSE file among them is a FLUSH that its server has to answer. A server that
// waits for this lock meanwhile, as several files under /proc/PID do, waits for itself or for somebody else's server.
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <string>

#include "base/unique_fd.h"
#include "control/messages.h"
#include "integration/program_fixture.h"
#include "support/child.h"
#include "support/expect.h"
#include "support/stalling_file.h"

namespace mqueuefs::test {
namespace {

constexpr int kPackets = 4;

class Exec : public ProgramTest {
 protected:
  static UniqueFd connect_to_daemon(pid_t& daemon) {
    UniqueFd connection(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    sockaddr_un address{AF_UNIX, ""};
    strncpy(address.sun_path, getenv("MQUEUEFS_SOCKET"), sizeof address.sun_path - 1);
    EXPECT_OK(connect(connection.get(), reinterpret_cast<sockaddr*>(&address), sizeof address));
    ucred peer{};
    socklen_t size = sizeof peer;
    EXPECT_OK(getsockopt(connection.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size));
    daemon = peer.pid;
    return connection;
  }

  // Each asks which IPC namespace its sender is in.
  static void send_packets(int connection) {
    struct {
      control::Header header;
      control::Selector selector;
    } packet{};
    packet.header.type = control::Type::kLimitsGet;
    packet.header.tid = static_cast<int>(syscall(SYS_gettid));
    packet.header.size = sizeof packet.selector;
    for (int i = 0; i < kPackets; ++i) EXPECT_OK(::send(connection, &packet, sizeof packet, 0));
  }
};

TEST_F(Exec, ProcessThatHangsInExecHoldsNobodyElse) {
  in_private_namespaces([&](const std::string& dir) {
    ASSERT_EQ(mount_program(dir), 0);
    StallingFile stalling(dir + "-stalling", Stalls::kFlush);
    Companion executing([&] {
      // Closed before the queue, since its number is lower: the daemon, stopped, is not asked yet.
      const UniqueFd stalls(open((dir + "-stalling").c_str(), O_RDONLY | O_CLOEXEC));
      ASSERT_OK(stalls.get());
      const UniqueFd queue(open((dir + "/mine").c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600));
      ASSERT_OK(queue.get());
      pid_t daemon = 0;
      const UniqueFd connection = connect_to_daemon(daemon);
      // It finds the packets when their sender hangs already.
      ASSERT_OK(kill(daemon, SIGSTOP));
      send_packets(connection.get());
      execl("/bin/true", "true", nullptr);
    });
    EXPECT_TRUE(stalling.wait_for_a_reader());
    pid_t daemon = 0;
    const UniqueFd own_connection = connect_to_daemon(daemon);
    ASSERT_OK(kill(daemon, SIGCONT));

    EXPECT_EQ(program({"create", "/other"}).status, 0);
    EXPECT_EQ(program({"list"}).status, 0);
    EXPECT_EQ(access((dir + "/mine").c_str(), F_OK), 0);
    stalling.fail();
    executing.join();
  });
}

}  // namespace
}  // namespace mqueuefs::test
