// Mounting as users do it: mount(8) with the helper, its options and exit codes; remount; without privilege.
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "integration/program_fixture.h"
#include "support/capability_check.h"
#include "support/child.h"
#include "support/credentials.h"
#include "support/expect.h"
#include "support/files.h"
#include "support/temp_dir.h"

namespace mqueuefs::test {
namespace {

class Mounting : public ProgramTest {
 protected:
  static CommandResult helper(const std::vector<std::string>& arguments) {
    CommandOptions options;
    options.program = mqueuefs_program();
    std::vector<std::string> argv = {"mount.fuse.mqueuefs"};
    argv.insert(argv.end(), arguments.begin(), arguments.end());
    return run_command(argv, "", options);
  }

  // The line of /proc/self/mountinfo for `dir`; empty: nothing is mounted there.
  static std::string mount_line(const std::string& dir) {
    std::ifstream lines("/proc/self/mountinfo");
    std::string found;
    for (std::string line; std::getline(lines, line);) {
      if (line.find(" " + dir + " ") != std::string::npos) found = line;
    }
    return found;
  }

  static bool is_read_only(const std::string& dir) {
    struct statvfs status {};
    EXPECT_OK(statvfs(dir.c_str(), &status));
    return (status.f_flag & ST_RDONLY) != 0;
  }
};

TEST_F(Mounting, ShowsTypeSourceAndFlags) {
  in_private_namespaces([&](const std::string& dir) {
    ASSERT_EQ(helper({"my source", dir, "-o", "rw,nosuid"}).status, 0);
    watch_fuse_mount(dir);
    const std::string line = mount_line(dir);
    EXPECT_NE(line.find(" - fuse.mqueuefs my\\040source "), std::string::npos) << line;
    for (const char* flag : {"nosuid", "nodev", "noexec", "relatime"}) {
      EXPECT_NE(line.find(flag), std::string::npos) << line;
    }
    ASSERT_EQ(program({"create", "/q"}).status, 0);
    EXPECT_EQ(status_of(dir + "/q").st_size, 80);
    EXPECT_OK(umount(dir.c_str()));
  });
}

TEST_F(Mounting, NamedNamespaceIsMountedByItsName) {
  in_private_namespaces([&](const std::string& dir) {
    ASSERT_EQ(program({"ns", "create", "web"}).status, 0);
    ASSERT_EQ(program({"create", "--ns", "web", "/of-web"}).status, 0);
    ASSERT_EQ(mount_program(dir, "ns=web"), 0);
    EXPECT_TRUE(std::filesystem::exists(dir + "/of-web"));
    EXPECT_OK(umount(dir.c_str()));
    ASSERT_EQ(program({"ns", "remove", "web"}).status, 0);
  });
}

// doc/behaviour.md A12.
TEST_F(Mounting, RemountChangesReadOnly) {
  in_private_namespaces([&](const std::string& dir) {
    ASSERT_EQ(mount_program(dir), 0);
    ASSERT_EQ(program({"create", "/q"}).status, 0);
    ASSERT_EQ(mount_program(dir, "remount,ro"), 0);
    EXPECT_TRUE(is_read_only(dir));
    EXPECT_ERRNO(EROFS, open((dir + "/r").c_str(), O_RDWR | O_CREAT, 0600));
    EXPECT_EQ(program({"create", "/r"}).stderr_text, "mqueuefs: create /r: the file system is read-only (EROFS)\n");
    EXPECT_EQ(program({"remove", "/q"}).stderr_text, "mqueuefs: remove /q: the file system is read-only (EROFS)\n");
    ASSERT_EQ(mount_program(dir, "remount,rw"), 0);
    EXPECT_FALSE(is_read_only(dir));
    EXPECT_EQ(program({"create", "/r"}).status, 0);
    EXPECT_OK(umount(dir.c_str()));
  });
}

TEST_F(Mounting, ExitCodesAreMountsOwn) {
  in_private_namespaces([&](const std::string& dir) {
    EXPECT_EQ(helper({"none"}).status, 1);
    EXPECT_EQ(helper({"none", dir, "-o", "bogus"}).status, 1);
    EXPECT_EQ(helper({"none", dir, "-o", "bogus", "-sf"}).status, 0);
    EXPECT_EQ(mount_line(dir), "");
    EXPECT_EQ(helper({"none", dir + "/missing", "-o", "rw"}).status, 32);
    const CommandResult unknown = helper({"none", dir, "-o", "ns=nowhere"});
    EXPECT_EQ(unknown.status, 32);
    EXPECT_EQ(unknown.stderr_text,
              "mqueuefs: mount at " + dir + " in namespace nowhere: no namespace called nowhere (ENOENT)\n");
  });
}

// mount.fuse3(8), where the helper is not installed in sbin, runs `mqueuefs SOURCE DIR -o OPTIONS`.
TEST_F(Mounting, FormOfMountFuse) {
  in_private_namespaces([&](const std::string& dir) {
    ASSERT_EQ(program({"none", dir, "-o", "rw,dev,suid"}).status, 0);
    watch_fuse_mount(dir);
    EXPECT_NE(mount_line(dir).find("fuse.mqueuefs"), std::string::npos);
    EXPECT_OK(umount(dir.c_str()));
    EXPECT_EQ(program({"mount", "none", dir}).status, 0);
    EXPECT_OK(umount(dir.c_str()));
  });
}

TEST_F(Mounting, MountEightFindsTheHelper) {
  in_private_namespaces([&](const std::string& dir) {
    // A helper in sbin of this mount namespace alone.
    const TempDir layer;
    const std::string options = "lowerdir=/sbin,upperdir=" + layer / "upper" + ",workdir=" + layer / "work";
    if (access("/sbin/mount.fuse.mqueuefs", F_OK) != 0) {
      ASSERT_OK(mount("none", layer.path().c_str(), "tmpfs", 0, nullptr));  // one overlay can't lie on another
      ASSERT_OK(mkdir((layer / "upper").c_str(), 0755));
      ASSERT_OK(mkdir((layer / "work").c_str(), 0755));
      ASSERT_OK(symlink(mqueuefs_program().c_str(), (layer / "upper/mount.fuse.mqueuefs").c_str()));
      if (mount("overlay", "/sbin", "overlay", 0, options.c_str()) != 0) GTEST_SKIP() << "no overlay file system";
    }
    const CommandResult mounted = run_command({"mount", "-t", "fuse.mqueuefs", "none", dir, "-o", "nosuid"});
    ASSERT_EQ(mounted.status, 0) << mounted.stderr_text;
    watch_fuse_mount(dir);
    const CommandResult remounted = run_command({"mount", "-o", "remount,ro", dir});
    EXPECT_EQ(remounted.status, 0) << remounted.stderr_text;
    EXPECT_TRUE(is_read_only(dir));
    EXPECT_EQ(run_command({"umount", dir}).status, 0);
    umount2("/sbin", MNT_DETACH);
  });
}

// doc/behaviour.md A4.
TEST_F(Mounting, OthersNamespacesAreRefused) {
  in_private_namespaces([&](const std::string& dir) {
    ASSERT_EQ(program({"ns", "create", "roots"}).status, 0);
    run_as(kAlice, [&] {
      const CommandResult refused = helper({"none", dir, "-o", "ns=roots"});
      EXPECT_EQ(refused.status, 32);
      EXPECT_NE(refused.stderr_text.find("only who owns the namespace"), std::string::npos) << refused.stderr_text;
    });
    ASSERT_EQ(program({"ns", "remove", "roots"}).status, 0);
  });
}

// DESIGN, decision 1: in a user namespace of one's own it works without privilege.
TEST_F(Mounting, OrdinaryUserMountsInHisUserNamespace) {
  if (!CapabilityCheck::ordinary_user_can_unshare_user()) GTEST_SKIP() << "no user namespaces for ordinary users";
  in_private_namespaces([&](const std::string&) {
    ASSERT_EQ(program({"list"}).status, 0);  // the system's daemon is root's
    run_as(kAlice, [&] {
      const TempDir dir;
      ASSERT_TRUE(enter_user_namespace());
      ASSERT_OK(unshare(CLONE_NEWNS | CLONE_NEWIPC));
      ASSERT_OK(mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr));
      ASSERT_EQ(mount_program(dir.path()), 0);
      create(dir.path() + "/file");
      ASSERT_EQ(program({"create", "/command"}).status, 0);
      EXPECT_EQ(program({"send", "/file", "hello"}).status, 0);
      EXPECT_EQ(program({"receive", "/file"}).stdout_text, "hello\n");
      EXPECT_TRUE(std::filesystem::exists(dir.path() + "/command"));
      EXPECT_OK(umount(dir.path().c_str()));
    });
  });
}

TEST_F(Mounting, UnshareAndEnterMountForTheirCommand) {
  in_private_namespaces([&](const std::string& dir) {
    const std::string script = "\"$0\" create /inner && ls " + dir;
    const CommandResult inner =
        program({"unshare", "--name", "box", "--mount=" + dir, "--", "sh", "-c", script, mqueuefs_program()});
    EXPECT_EQ(inner.stdout_text, "inner\n") << inner.stderr_text;
    EXPECT_EQ(mount_line(dir), "") << "mounted outside of the command's own mount namespace";
    EXPECT_EQ(program({"enter", "box", "--mount=" + dir, "--", "ls", dir}).stdout_text, "inner\n");
    ASSERT_EQ(program({"ns", "remove", "box"}).status, 0);
  });
}

}  // namespace
}  // namespace mqueuefs::test
