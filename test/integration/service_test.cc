// The daemon under a service manager: what it says, what it is handed, which rights it keeps.
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "daemon/privileges.h"
#include "integration/program_fixture.h"
#include "support/expect.h"
#include "support/wait.h"

namespace mqueuefs::test {
namespace {

UniqueFd bind_socket(const std::string& path, int type) {
  UniqueFd socket(::socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  memcpy(address.sun_path, path.c_str(), path.size());
  EXPECT_OK(bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address));
  return socket;
}

/// The daemon, as a service manager starts it: `sockets` are handed over as `names`.
class Service {
 public:
  Service(const std::vector<int>& sockets, const std::string& names) {
    const std::string program = mqueuefs_program();
    pid_ = fork();
    if (pid_ != 0) return;
    // By way of high numbers, so that none is overwritten before its turn.
    std::vector<int> high;
    for (const int socket : sockets) high.push_back(fcntl(socket, F_DUPFD_CLOEXEC, 100));
    for (size_t i = 0; i < high.size(); ++i) dup2(high[i], 3 + static_cast<int>(i));
    if (!sockets.empty()) {
      setenv("LISTEN_PID", std::to_string(getpid()).c_str(), 1);
      setenv("LISTEN_FDS", std::to_string(sockets.size()).c_str(), 1);
      setenv("LISTEN_FDNAMES", names.c_str(), 1);
    }
    execlp(program.c_str(), program.c_str(), "daemon", "--foreground", "--log-level", "warn", static_cast<char*>(nullptr));
    _exit(127);
  }
  ~Service() { stop(); }
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  pid_t pid() const { return pid_; }
  /// Its exit status; -1: it goes on.
  int ended() {
    int status = 0;
    if (!wait_until([&] { return waitpid(pid_, &status, WNOHANG) == pid_; })) return -1;
    pid_ = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
  }
  int stop() {
    if (pid_ <= 0) return 0;
    kill(pid_, SIGTERM);
    int status = -1;
    if (!wait_until([&] { return waitpid(pid_, &status, WNOHANG) == pid_; })) {
      ADD_FAILURE() << "the daemon does not end";
      kill(pid_, SIGKILL);
      waitpid(pid_, &status, 0);
    }
    pid_ = 0;
    return status;
  }

 private:
  pid_t pid_ = 0;
};

uint64_t capability_set(pid_t process, const std::string& name) {
  std::ifstream status("/proc/" + std::to_string(process) + "/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(name + ":")) return std::stoull(line.substr(name.size() + 1), nullptr, 16);
  }
  ADD_FAILURE() << "no " << name;
  return 0;
}

class ServiceTest : public ProgramTest {};

TEST_F(ServiceTest, SaysThatItIsReadyAndThatItStops) {
  in_private_namespaces([](const std::string& dir) {
    const std::string path = dir + "/notify";
    const UniqueFd manager = bind_socket(path, SOCK_DGRAM);
    setenv("NOTIFY_SOCKET", path.c_str(), 1);
    Service service({}, "");
    unsetenv("NOTIFY_SOCKET");
    const auto next = [&] {
      pollfd readable{manager.get(), POLLIN, 0};
      char text[64] = {};
      EXPECT_EQ(poll(&readable, 1, 10'000), 1);
      EXPECT_GT(recv(manager.get(), text, sizeof text - 1, MSG_DONTWAIT), 0);
      return std::string(text);
    };
    EXPECT_EQ(next(), "READY=1");
    // Ready means that nobody who connects is refused.
    EXPECT_EQ(program({"list"}).status, 0);
    EXPECT_EQ(service.stop(), 0);
    EXPECT_EQ(next(), "STOPPING=1");
    unlink(path.c_str());
  });
}

TEST_F(ServiceTest, ServesTheSocketThatItIsHandedAndLeavesItThere) {
  in_private_namespaces([](const std::string&) {
    const std::string path = getenv("MQUEUEFS_SOCKET");
    const std::string containers_path = path + "-containers";
    const UniqueFd control = bind_socket(path, SOCK_SEQPACKET);
    ASSERT_OK(listen(control.get(), 10));
    const UniqueFd containers = bind_socket(containers_path, SOCK_STREAM);
    ASSERT_OK(listen(containers.get(), 10));
    for (int round = 0; round < 2; ++round) {
      // Nobody serves yet: who connects waits for whoever will.
      Service service({containers.get(), control.get()}, "mqueuefs-oci:mqueuefs");
      EXPECT_EQ(program({"create", "/q"}).status, 0);
      EXPECT_EQ(program({"send", "/q", "through a socket handed over"}).status, 0);
      EXPECT_EQ(program({"receive", "/q"}).stdout_text, "through a socket handed over\n");
      EXPECT_EQ(service.stop(), 0);
      EXPECT_OK(access(path.c_str(), F_OK));
      EXPECT_OK(access(containers_path.c_str(), F_OK));
    }
    unlink(path.c_str());
    unlink(containers_path.c_str());
  });
}

TEST_F(ServiceTest, RefusesASocketThatIsNotForIt) {
  in_private_namespaces([](const std::string& dir) {
    const UniqueFd stream = bind_socket(dir + "/stream", SOCK_STREAM);
    ASSERT_OK(listen(stream.get(), 1));
    for (const std::string names : {"mqueuefs", "something"}) {
      Service service({stream.get()}, names);
      EXPECT_EQ(service.ended(), 1) << names;
    }
    unlink((dir + "/stream").c_str());
  });
}

TEST_F(ServiceTest, KeepsTheCapabilitiesThatItUsesAndNoOthers) {
  const uint64_t own = capability_set(getpid(), "CapPrm");
  if ((own >> CAP_SYS_ADMIN & 1) == 0 || (own >> CAP_SETPCAP & 1) == 0) GTEST_SKIP() << "has few capabilities itself";
  uint64_t kept = 0;
  for (const auto& capability : daemon::kept_capabilities()) kept |= uint64_t{1} << capability.number;
  kept &= ~(uint64_t{1} << CAP_SETFCAP);  // it may mount
  in_private_namespaces([&](const std::string&) {
    Service service({}, "");
    const char* socket = getenv("MQUEUEFS_SOCKET");
    ASSERT_TRUE(wait_until([&] { return access(socket, F_OK) == 0; }));
    ASSERT_EQ(program({"list"}).status, 0);
    EXPECT_EQ(capability_set(service.pid(), "CapEff"), own & kept);
    EXPECT_EQ(capability_set(service.pid(), "CapPrm"), own & kept);
    EXPECT_EQ(capability_set(service.pid(), "CapBnd"), own & kept);
    EXPECT_EQ(capability_set(service.pid(), "CapInh"), 0U);
    EXPECT_EQ(capability_set(service.pid(), "CapAmb"), 0U);
  });
}

}  // namespace
}  // namespace mqueuefs::test
