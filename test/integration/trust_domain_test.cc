// Which daemon a user's commands use (client/address.h), and what a socket's path may do to files.
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "client/address.h"
#include "integration/program_fixture.h"
#include "support/child.h"
#include "support/expect.h"
#include "support/temp_dir.h"
#include "support/wait.h"

namespace mqueuefs::test {
namespace {

constexpr gid_t kGroup = 4711;
constexpr uid_t kUser = 4999;

class TrustDomain : public ProgramTest {
 protected:
  /// /run, /tmp and /etc/group of the test's own, the last with the group `mqueuefs`; no socket is named.
  static void in_private_system(const std::function<void()>& body) {
    const TempDir dir;
    std::ofstream(dir / "group") << "root:x:0:\nmqueuefsx:x:7:\nlong:x:9:" << std::string(5000, 'm') << "\nmqueuefs:x:"
                                 << kGroup << ":alice\n";
    ASSERT_OK(chmod((dir / "group").c_str(), 0644));
    run_in_child([&] {
      ASSERT_OK(unshare(CLONE_NEWNS | CLONE_NEWIPC));
      ASSERT_OK(mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr));
      ASSERT_OK(mount((dir / "group").c_str(), "/etc/group", nullptr, MS_BIND, nullptr));
      ASSERT_OK(mount("none", "/run", "tmpfs", 0, "mode=0755"));
      unsetenv("MQUEUEFS_SOCKET");
      unsetenv("XDG_RUNTIME_DIR");
      body();
    }, 60'000);
  }

  static void as_user(const std::vector<gid_t>& groups, const std::function<void()>& body) {
    run_in_child([&] {
      ASSERT_OK(setgroups(groups.size(), groups.data()));
      ASSERT_OK(setresgid(kUser, kUser, kUser));
      ASSERT_OK(setresuid(kUser, kUser, kUser));
      body();
    });
  }
};

TEST_F(TrustDomain, MemberOfTheGroupUsesTheSystemsDaemonAlsoWhileItDoesNotRun) {
  in_private_system([] {
    as_user({1, kGroup}, [] {
      const client::Addresses addresses = client::socket_addresses();
      EXPECT_EQ(addresses.domain, client::Domain::kSystem);
      ASSERT_EQ(addresses.count, 1u);
      EXPECT_STREQ(addresses.list[0].path, "/run/mqueuefs/mqueuefs.sock");
      EXPECT_FALSE(addresses.may_start) << "a daemon of the user's own would be another domain";
      EXPECT_NE(program({"list"}).stderr_text.find("the system's daemon"), std::string::npos);
    });
  });
}

TEST_F(TrustDomain, AnyOtherUserHasADaemonOfTheirOwnAndNoOther) {
  in_private_system([] {
    as_user({1, 7, 9}, [] {
      const client::Addresses addresses = client::socket_addresses();
      EXPECT_EQ(addresses.domain, client::Domain::kOwn);
      ASSERT_EQ(addresses.count, 1u);
      EXPECT_STREQ(addresses.list[0].path, "/tmp/mqueuefs-4999/mqueuefs.sock");
      EXPECT_EQ(addresses.list[0].rule, client::PeerRule::kRootOrOurself);
      EXPECT_STREQ(client::places_to_listen().list[0].path, addresses.list[0].path);
    });
  });
}

// A session that does not set the variable, as cron's and su's, means the same daemon.
TEST_F(TrustDomain, RuntimeDirectoryCountsIfItIsTheUsersOwn) {
  in_private_system([] {
    ASSERT_OK(mkdir("/run/user", 0755));
    as_user({}, [] {
      setenv("XDG_RUNTIME_DIR", "/", 1);
      EXPECT_STREQ(client::socket_addresses().list[0].path, "/tmp/mqueuefs-4999/mqueuefs.sock");
    });
    ASSERT_OK(mkdir("/run/user/4999", 0700));
    ASSERT_OK(chown("/run/user/4999", kUser, kUser));
    as_user({}, [] {
      EXPECT_STREQ(client::socket_addresses().list[0].path, "/run/user/4999/mqueuefs/mqueuefs.sock");
      setenv("XDG_RUNTIME_DIR", "/run/user/4999", 1);
      EXPECT_STREQ(client::socket_addresses().list[0].path, "/run/user/4999/mqueuefs/mqueuefs.sock");
    });
  });
}

TEST_F(TrustDomain, DaemonOfRootDoesNotChangeWhichOneAUserHas) {
  in_private_system([] {
    ASSERT_OK(program({"create", "/roots"}).status);
    struct stat socket {};
    ASSERT_OK(stat("/run/mqueuefs/mqueuefs.sock", &socket));
    EXPECT_EQ(socket.st_mode & 07777, 0660u);
    EXPECT_EQ(socket.st_gid, kGroup);
    as_user({}, [] {
      EXPECT_EQ(client::socket_addresses().domain, client::Domain::kOwn);
      const std::string said = program({"doctor"}).stdout_text;
      EXPECT_NE(said.find("a daemon of your own"), std::string::npos) << said;
      EXPECT_NE(said.find("another daemon: the system's daemon (/run/mqueuefs/mqueuefs.sock)"), std::string::npos) << said;
    });
    as_user({kGroup}, [] { EXPECT_EQ(program({"list"}).status, 0); });
    EXPECT_EQ(program({"stat", "/none"}).stderr_text,
              "mqueuefs: stat /none: no such queue in the system's daemon (/run/mqueuefs/mqueuefs.sock) (ENOENT)\n");
    // Opened by the administrator it is everybody's.
    ASSERT_OK(chmod("/run/mqueuefs/mqueuefs.sock", 0666));
    as_user({}, [] { EXPECT_EQ(client::socket_addresses().domain, client::Domain::kSystem); });
    ASSERT_OK(program({"remove", "/roots"}).status);
    EXPECT_TRUE(wait_until([] { return access("/run/mqueuefs/mqueuefs.sock", F_OK) != 0; }));
  });
}

// What a daemon does to a path: nothing, unless it is a socket or a lock of its own.
class SocketPath : public ProgramTest {
 protected:
  static void expect_left_alone(const std::string& path, const std::string& socket) {
    struct stat before {}, after {};
    ASSERT_OK(lstat(path.c_str(), &before));
    EXPECT_EQ(program({"daemon", "--socket", socket}).status, 1);
    setenv("MQUEUEFS_SOCKET", socket.c_str(), 1);
    EXPECT_EQ(program({"list"}).status, 1);
    unsetenv("MQUEUEFS_SOCKET");
    ASSERT_OK(lstat(path.c_str(), &after));
    EXPECT_EQ(before.st_ino, after.st_ino);
    EXPECT_EQ(before.st_mode, after.st_mode);
    EXPECT_EQ(before.st_size, after.st_size);
  }
};

TEST_F(SocketPath, OtherFilesAreLeftAlone) {
  const TempDir dir;
  std::ofstream(dir / "file") << "precious";
  expect_left_alone(dir / "file", dir / "file");
  ASSERT_OK(symlink("nowhere", (dir / "link").c_str()));
  expect_left_alone(dir / "link", dir / "link");
  ASSERT_OK(mkfifo((dir / "fifo").c_str(), 0600));
  expect_left_alone(dir / "fifo", dir / "fifo");
}

TEST_F(SocketPath, OtherFilesAtTheLocksNameAreLeftAlone) {
  const TempDir dir;
  std::ofstream(dir / "s.lock") << "precious";
  expect_left_alone(dir / "s.lock", dir / "s");
  ASSERT_OK(mkfifo((dir / "f.lock").c_str(), 0600));
  expect_left_alone(dir / "f.lock", dir / "f");
}

TEST_F(SocketPath, SocketsOfOtherProgramsAreLeftAlone) {
  const TempDir dir;
  const int listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{AF_UNIX, ""};
  strncpy(address.sun_path, (dir / "other").c_str(), sizeof address.sun_path - 1);
  ASSERT_OK(bind(listening, reinterpret_cast<const sockaddr*>(&address), sizeof address));
  ASSERT_OK(listen(listening, 1));
  expect_left_alone(dir / "other", dir / "other");
  struct stat status {};
  EXPECT_EQ(program({"daemon", "--foreground", "--socket", dir / "s", "--oci-socket", dir / "other"}).status, 1);
  EXPECT_OK(stat((dir / "other").c_str(), &status));
  close(listening);
}

}  // namespace
}  // namespace mqueuefs::test
