#include "support/target_mqueuefs.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>

#include "base/check.h"
#include "base/unique_fd.h"
#include "support/capability_check.h"
#include "support/child.h"
#include "support/posix_calls.h"
#include "support/temp_dir.h"
#include "support/time_scale.h"

namespace mqueuefs::test {
namespace {

// How long a daemon that serves nobody may take to leave.
constexpr int kDaemonLeavesWithinMs = 15'000;

// The exit status of a command that can't read its arguments: "-1" is no value of a limit.
constexpr int kUsage = 2;

class MqueuefsTarget : public Target {
 public:
  explicit MqueuefsTarget(std::unique_ptr<QueueCalls> queue_calls) : queue_calls_(std::move(queue_calls)) {}

  bool is_kernel() const override { return false; }
  const char* file_system_type() const override { return "fuse.mqueuefs"; }

  std::string missing() const override {
    if (!CapabilityCheck::has_fuse()) return "no /dev/fuse";
    if (!CapabilityCheck::is_root()) return "needs root";
    if (!CapabilityCheck::can_unshare_ipc()) return "needs IPC and mount namespaces";
    return "";
  }

  int mount(const std::string& dir, const MountRequest& request) override {
    return run_mount_helper(dir, request.source, request.read_only ? "ro" : "rw");
  }

  int remount(const std::string& dir, bool read_only) override {
    return run_mount_helper(dir, "none", read_only ? "remount,ro" : "remount,rw");
  }

  long limit(const std::string& key) override {
    const CommandResult result = run_command({mqueuefs_program(), "limits", "--json"});
    const size_t at = result.stdout_text.find("\"" + key + "\"");
    const size_t colon = result.stdout_text.find(':', at);
    if (result.status != 0 || at == std::string::npos || colon == std::string::npos) return -1;
    return static_cast<long>(strtoull(result.stdout_text.c_str() + colon + 1, nullptr, 10));
  }

  int set_limit(const std::string& key, long value) override {
    const CommandResult result =
        run_command({mqueuefs_program(), "limits", key + "=" + std::to_string(value)});
    return result.status == kUsage ? EINVAL : errno_of(result);
  }

  QueueCalls& queue_calls() override { return *queue_calls_; }

  void start() override {
    if (!missing().empty()) return;
    if (getenv("MQUEUEFS_SOCKET") == nullptr) {
      socket_dir_ = std::make_unique<TempDir>();
      setenv("MQUEUEFS_SOCKET", (*socket_dir_ / "mqueuefs.sock").c_str(), 1);
    }
  }

  std::string stop() override {
    std::string left_behind;
    std::ifstream mountinfo("/proc/self/mountinfo");
    for (std::string line; std::getline(mountinfo, line);) {
      if (line.find(" fuse.mqueuefs ") != std::string::npos &&
          line.find("/mqueuefs-test-") != std::string::npos) {
        left_behind += "mounted: " + line + "\n";
      }
    }
    // This very process is one whom it serves.
    if (system_calls_are_caught()) return left_behind;
    const UniqueFd daemon = find_daemon();
    pollfd ended{daemon.get(), POLLIN, 0};
    if (daemon && poll(&ended, 1, scaled_ms(kDaemonLeavesWithinMs)) == 0) {
      left_behind += "the daemon serves nobody and stays\n";
      syscall(SYS_pidfd_send_signal, daemon.get(), SIGTERM, nullptr, 0);
      if (poll(&ended, 1, 5000) == 0) syscall(SYS_pidfd_send_signal, daemon.get(), SIGKILL, nullptr, 0);
    }
    if (socket_dir_ != nullptr) {
      unsetenv("MQUEUEFS_SOCKET");
      socket_dir_.reset();
    }
    return left_behind;
  }

 private:
  static int run_mount_helper(const std::string& dir, const std::string& source, const std::string& options) {
    CommandOptions command;
    command.program = mqueuefs_program();
    const CommandResult result =
        run_command({"mount.fuse.mqueuefs", source, dir, "-o", options}, "", command);
    if (result.status != 0)
      fprintf(stderr, "mount.fuse.mqueuefs: %d: %s", result.status, result.stderr_text.c_str());
    if (result.status == 0) watch_fuse_mount(dir);
    return errno_of(result);
  }

  // A pidfd of who listens at the socket; none if nobody does.
  static UniqueFd find_daemon() {
    const char* path = getenv("MQUEUEFS_SOCKET");
    if (path == nullptr) return {};
    const UniqueFd connection(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    sockaddr_un address{AF_UNIX, ""};
    strncpy(address.sun_path, path, sizeof address.sun_path - 1);
    ucred peer{};
    socklen_t size = sizeof peer;
    if (connect(connection.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
        getsockopt(connection.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) {
      return {};
    }
    return UniqueFd(static_cast<int>(syscall(SYS_pidfd_open, peer.pid, 0)));
  }

  const std::unique_ptr<QueueCalls> queue_calls_;
  std::unique_ptr<TempDir> socket_dir_;
};

}  // namespace

std::unique_ptr<Target> make_mqueuefs_target(std::unique_ptr<QueueCalls> queue_calls) {
  return std::make_unique<MqueuefsTarget>(std::move(queue_calls));
}

}  // namespace mqueuefs::test
