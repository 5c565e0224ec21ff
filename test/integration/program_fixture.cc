#include "integration/program_fixture.h"

#include <fcntl.h>
#include <mqueuefs/mqueuefs.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/unique_fd.h"
#include "client/connection.h"
#include "client/transfer.h"
#include "support/capability_check.h"
#include "support/child.h"
#include "support/expect.h"
#include "support/temp_dir.h"
#include "support/wait.h"

namespace mqueuefs::test {
namespace {

// Less than the ten seconds after which the daemon looks around unasked: it is told of what matters.
constexpr int kDaemonLeavesWithinMs = 8'000;

/// A pidfd of who listens at $MQUEUEFS_SOCKET, none if nobody does.
UniqueFd find_daemon() {
  const UniqueFd connection(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  sockaddr_un address{AF_UNIX, ""};
  strncpy(address.sun_path, getenv("MQUEUEFS_SOCKET"), sizeof address.sun_path - 1);
  ucred peer{};
  socklen_t size = sizeof peer;
  if (connect(connection.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      getsockopt(connection.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) {
    return {};
  }
  return UniqueFd(static_cast<int>(syscall(SYS_pidfd_open, peer.pid, 0)));
}

void expect_daemon_leaves() {
  const UniqueFd daemon = find_daemon();
  pollfd ended{daemon.get(), POLLIN, 0};
  if (!daemon || poll(&ended, 1, kDaemonLeavesWithinMs) == 1) return;
  ADD_FAILURE() << "the daemon serves nobody and stays";
  syscall(SYS_pidfd_send_signal, daemon.get(), SIGTERM, nullptr, 0);
  if (poll(&ended, 1, 5000) == 0) syscall(SYS_pidfd_send_signal, daemon.get(), SIGKILL, nullptr, 0);
}

client::Connection& connection() {
  static auto made = client::Connection::connect(client::StartDaemon::kNever, "");
  return *made;
}

}  // namespace

void ProgramTest::SetUp() {
  if (!CapabilityCheck::has_fuse()) GTEST_SKIP() << "no /dev/fuse";
  if (!CapabilityCheck::is_root()) GTEST_SKIP() << "needs root";
  if (!CapabilityCheck::can_unshare_ipc()) GTEST_SKIP() << "needs IPC and mount namespaces";
}

void ProgramTest::in_private_namespaces(const std::function<void(const std::string& dir)>& body) {
  const TempDir socket_dir;
  const TempDir mount_dir;
  setenv("MQUEUEFS_SOCKET", (socket_dir / "mqueuefs.sock").c_str(), 1);
  run_in_child([&] {
    ASSERT_OK(unshare(CLONE_NEWNS | CLONE_NEWIPC));
    ASSERT_OK(mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr));
    body(mount_dir.path());
  }, 60'000);
  expect_daemon_leaves();
  unsetenv("MQUEUEFS_SOCKET");
}

CommandResult ProgramTest::program(std::vector<std::string> arguments, const std::string& stdin_text) {
  arguments.insert(arguments.begin(), mqueuefs_program());
  return run_command(arguments, stdin_text);
}

std::string ProgramTest::output(std::vector<std::string> arguments) {
  const CommandResult result = program(std::move(arguments));
  EXPECT_EQ(result.status, 0) << result.stderr_text;
  return result.stdout_text;
}

int ProgramTest::mount_program(const std::string& dir, const std::string& options) {
  CommandOptions command;
  command.program = mqueuefs_program();
  const CommandResult result = run_command({"mount.fuse.mqueuefs", "none", dir, "-o", options}, "", command);
  if (result.status == 0) watch_fuse_mount(dir);
  EXPECT_EQ(result.stderr_text, "");
  return result.status;
}

int ProgramTest::mapped_queue(const char* name, long maxmsg, long msgsize) {
  mq_attr attributes{};
  attributes.mq_maxmsg = maxmsg;
  attributes.mq_msgsize = msgsize;
  const int queue = mqueuefs_open(name, O_CREAT | O_RDWR, 0600, &attributes);
  EXPECT_OK(queue);
  EXPECT_OK(mqueuefs_map(queue));
  return queue;
}

int ProgramTest::send(int queue, std::string_view message, unsigned priority) {
  return client::send(connection(), queue, std::as_bytes(std::span(message)), priority, client::Deadline(0)).code();
}

std::string ProgramTest::receive(int queue) {
  std::string buffer(8192, '\0');
  const auto received = client::receive(connection(), queue, std::as_writable_bytes(std::span(buffer)),
                                        client::Deadline(0));
  if (!received) return std::string("<") + errno_name(received.code()) + ">";
  return buffer.substr(0, received->size);
}

}  // namespace mqueuefs::test
