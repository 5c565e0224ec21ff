// What people are told when something is not as it should be: what happened, and what to do.
#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "integration/program_fixture.h"
#include "support/capability_check.h"
#include "support/child.h"
#include "support/credentials.h"
#include "support/expect.h"
#include "support/wait.h"

namespace mqueuefs::test {
namespace {

class Errors : public ProgramTest {
 protected:
  static void expect_says(const CommandResult& result, const std::vector<std::string>& parts) {
    EXPECT_NE(result.status, 0);
    EXPECT_EQ(std::count(result.stderr_text.begin(), result.stderr_text.end(), '\n'), 1) << result.stderr_text;
    for (const std::string& part : parts) {
      EXPECT_NE(result.stderr_text.find(part), std::string::npos) << part << " is not in: " << result.stderr_text;
    }
  }
};

TEST_F(Errors, WithoutTheDeviceItSaysWhereToGetIt) {
  in_private_namespaces([](const std::string& dir) {
    const mode_t mask = umask(0);
    ASSERT_OK(mount("none", "/dev", "tmpfs", 0, nullptr));
    ASSERT_OK(mknod("/dev/null", S_IFCHR | 0666, makedev(1, 3)));
    umask(mask);
    for (const std::vector<std::string>& command :
         {std::vector<std::string>{"mount", "none", dir}, std::vector<std::string>{"create", "/q"}}) {
      expect_says(program(command), {"there is no /dev/fuse", "modprobe fuse", "--device /dev/fuse", "(EOPNOTSUPP)"});
    }
    const CommandResult doctor = program({"doctor"});
    expect_says(doctor, {"no queues can be mounted here"});
    EXPECT_NE(doctor.stdout_text.find("no   /dev/fuse: No such file or directory (ENOENT)"), std::string::npos);
    ASSERT_OK(umount2("/dev", MNT_DETACH));
  });
}

TEST_F(Errors, WhoMayNotIsToldWhoMay) {
  in_private_namespaces([](const std::string& dir) {
    ASSERT_EQ(program({"ns", "create", "roots"}).status, 0);
    run_as(65534, [&] {
      expect_says(program({"mount", "-o", "ns=roots", "none", dir}),
                  {"in namespace roots", "only who owns the namespace", "be root, or mount one of your own", "(EPERM)"});
      expect_says(program({"limits", "--ns", "roots", "msg_max=20"}), {"only", "owner and root may", "(EPERM)"});
    });
    ASSERT_EQ(program({"ns", "remove", "roots"}).status, 0);
  });
}

TEST_F(Errors, AMountWhoseDaemonIsGoneIsNamedWithItsRemedy) {
  in_private_namespaces([](const std::string& dir) {
    const std::string path = mqueuefs_program();
    const pid_t daemon = fork();
    if (daemon == 0) {
      execlp(path.c_str(), path.c_str(), "daemon", "--foreground", "--log-level", "off", static_cast<char*>(nullptr));
      _exit(127);
    }
    const char* socket = getenv("MQUEUEFS_SOCKET");
    ASSERT_TRUE(wait_until([&] { return access(socket, F_OK) == 0; }));
    ASSERT_EQ(program({"mount", "none", dir}).status, 0);
    kill(daemon, SIGKILL);
    waitpid(daemon, nullptr, 0);
    EXPECT_ERRNO(ENOTCONN, open((dir + "/q").c_str(), O_RDONLY | O_CLOEXEC));
    const CommandResult doctor = program({"doctor"});
    EXPECT_NE(doctor.stdout_text.find("no   mount without daemon: " + dir + ": Transport endpoint is not connected (ENOTCONN)"),
              std::string::npos) << doctor.stdout_text;
    EXPECT_NE(doctor.stdout_text.find("umount " + dir + ", then mount again"), std::string::npos);
    ASSERT_OK(umount2(dir.c_str(), 0));
    EXPECT_EQ(program({"mount", "none", dir}).status, 0);
    ASSERT_OK(umount2(dir.c_str(), 0));
  });
}

TEST_F(Errors, ADaemonThatCannotListenSaysWhy) {
  in_private_namespaces([](const std::string& dir) {
    const CommandResult result = program({"daemon", "--socket", dir + "/no/such/place"});
    expect_says(result, {"mqueuefs: daemon: mkdir: No such file or directory"});
  });
}

TEST_F(Errors, WithoutADaemonThatCanBeStartedItSaysSo) {
  in_private_namespaces([](const std::string& dir) {
    setenv("MQUEUEFS_SOCKET", (dir + "/no/such/place").c_str(), 1);
    const CommandResult result = program({"list"});
    EXPECT_EQ(result.status, 1);
    EXPECT_NE(result.stderr_text.find("no daemon answers, and the one that was started ended at once (ECHILD)"), std::string::npos)
        << result.stderr_text;
  });
}

}  // namespace
}  // namespace mqueuefs::test
