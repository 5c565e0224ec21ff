// What the daemon does where the kernel or its rights lack something: each fallback is forced, and has to give
// its users the same.
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

#include "base/unique_fd.h"
#include "integration/program_fixture.h"
#include "support/capability_check.h"
#include "support/child.h"
#include "support/expect.h"
#include "support/stalling_file.h"
#include "support/wait.h"

namespace mqueuefs::test {
namespace {

/// A daemon at $MQUEUEFS_SOCKET with `option`.
class PoorDaemon {
 public:
  explicit PoorDaemon(const std::string& option) {
    const std::string program = mqueuefs_program();
    pid_ = fork();
    if (pid_ == 0) {
      execlp(program.c_str(), program.c_str(), "daemon", "--foreground", "--log-level", "warn", option.c_str(),
             static_cast<char*>(nullptr));
      _exit(127);
    }
    const char* socket = getenv("MQUEUEFS_SOCKET");
    listens_ = wait_until([&] { return access(socket, F_OK) == 0; });
  }
  ~PoorDaemon() {
    kill(pid_, SIGTERM);
    if (!wait_until([&] { return waitpid(pid_, nullptr, WNOHANG) == pid_; })) {
      ADD_FAILURE() << "the daemon does not end";
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
  }
  PoorDaemon(const PoorDaemon&) = delete;
  PoorDaemon& operator=(const PoorDaemon&) = delete;
  bool listens() const { return listens_; }

 private:
  pid_t pid_;
  bool listens_;
};

// The search of /proc may be under way when it is asked for, and is then repeated later.
constexpr int kFreedWithinMs = 30'000;

class Fallback : public ProgramTest {
 protected:
  /// Queues, messages and names behave, in a named namespace and in the caller's own.
  static void use_queues() {
    for (const std::string& ns : {std::string("named"), std::string()}) {
      std::vector<std::string> in_namespace;
      if (!ns.empty()) {
        ASSERT_EQ(program({"ns", "create", ns}).status, 0);
        in_namespace = {"--ns", ns};
      }
      const auto run = [&](const std::string& command, std::vector<std::string> rest) {
        std::vector<std::string> arguments = {command};
        arguments.insert(arguments.end(), in_namespace.begin(), in_namespace.end());
        arguments.insert(arguments.end(), rest.begin(), rest.end());
        const CommandResult result = program(arguments);
        EXPECT_EQ(result.stderr_text, "");
        return result;
      };
      EXPECT_EQ(run("create", {"--maxmsg", "3", "/q"}).status, 0);
      EXPECT_EQ(run("send", {"-p", "1", "/q", "low"}).status, 0);
      EXPECT_EQ(run("send", {"-p", "2", "/q", "high"}).status, 0);
      EXPECT_EQ(run("receive", {"--all", "/q"}).stdout_text, "high\nlow\n");
      EXPECT_EQ(run("remove", {"/q"}).status, 0);
    }
    EXPECT_EQ(program({"ns", "remove", "named"}).status, 0);
  }

  /// The namespace of a member that leaves is freed: G1 on the very first try, and (G2) the rest goes on.
  static void outlive_the_namespace(const std::string& dir) {
    Gate mounted, go;
    Companion last([&] {
      ASSERT_OK(unshare(CLONE_NEWIPC));
      ASSERT_EQ(mount_program(dir), 0);
      ASSERT_EQ(program({"create", "/kept"}).status, 0);
      mounted.open();
      go.wait();
    });
    mounted.wait();
    const UniqueFd queue(open((dir + "/kept").c_str(), O_RDWR | O_CLOEXEC));
    ASSERT_OK(queue.get());
    EXPECT_OK(close(open((dir + "/more").c_str(), O_CREAT | O_RDWR, 0600)));
    go.open();
    last.join();
    EXPECT_ERRNO(EACCES, open((dir + "/late").c_str(), O_CREAT | O_RDWR, 0600));
    EXPECT_EQ(send(queue.get(), "still", 0), 0);
    EXPECT_EQ(receive(queue.get()), "still");
    EXPECT_OK(unlink((dir + "/kept").c_str()));
    ASSERT_OK(umount2(dir.c_str(), MNT_DETACH));
  }

  /// A kernel namespace with the queue /kept, no member, and a descriptor that holds it.
  static UniqueFd held_namespace() {
    Gate made, go;
    Companion first([&] {
      ASSERT_OK(unshare(CLONE_NEWIPC));
      EXPECT_EQ(program({"create", "/kept"}).status, 0);
      EXPECT_EQ(program({"send", "/kept", "survives"}).status, 0);
      made.open();
      go.wait();
    });
    made.wait();
    UniqueFd held(open(("/proc/" + std::to_string(first.pid()) + "/ns/ipc").c_str(), O_RDONLY | O_CLOEXEC));
    go.open();
    first.join();
    return held;
  }

  static CommandResult program_in(int ipc_namespace, const std::vector<std::string>& arguments) {
    CommandResult result;
    const UniqueFd own(open("/proc/self/ns/ipc", O_RDONLY | O_CLOEXEC));
    EXPECT_OK(setns(ipc_namespace, CLONE_NEWIPC));
    result = program(arguments);
    EXPECT_OK(setns(own.get(), CLONE_NEWIPC));
    return result;
  }

  static size_t namespaces() {
    const std::string list = output({"ns", "list", "--json"});
    size_t count = 0;
    for (size_t at = 0; (at = list.find("\"id\"", at)) != std::string::npos; ++at) ++count;
    return count;
  }

  /// Each list has the daemon ask about every namespace.
  static bool stays(size_t count) {
    return !wait_until([&] { return namespaces() != count; }, 1500);
  }

  /// Held by a descriptor, and by a bind mount, asked about several times: then it goes.
  static void hold_a_namespace(const std::string& dir) {
    UniqueFd held = held_namespace();
    ASSERT_OK(held.get());
    const size_t before = namespaces();
    EXPECT_TRUE(stays(before));
    EXPECT_EQ(program_in(held.get(), {"receive", "--all", "/kept"}).stdout_text, "survives\n");
    EXPECT_EQ(program_in(held.get(), {"send", "/kept", "again"}).status, 0);

    const std::string pin = dir + "-pin";
    ASSERT_OK(close(open(pin.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600)));
    ASSERT_OK(mount(("/proc/self/fd/" + std::to_string(held.get())).c_str(), pin.c_str(), nullptr, MS_BIND, nullptr));
    held.reset();
    EXPECT_TRUE(stays(before));
    held = UniqueFd(open(pin.c_str(), O_RDONLY | O_CLOEXEC));
    EXPECT_EQ(program_in(held.get(), {"receive", "--all", "/kept"}).stdout_text, "again\n");
    EXPECT_EQ(namespaces(), before);

    held.reset();
    ASSERT_OK(umount2(pin.c_str(), MNT_DETACH));
    ASSERT_OK(unlink(pin.c_str()));
    EXPECT_TRUE(wait_until([&] { return namespaces() < before; }, kFreedWithinMs));
  }

  void with_daemon_lacking(const std::string& features, const std::function<void(const std::string&)>& body) {
    in_private_namespaces([&](const std::string& dir) {
      const PoorDaemon daemon("--without=" + features);
      ASSERT_TRUE(daemon.listens());
      body(dir);
    });
  }
};

TEST_F(Fallback, WithoutNamespaceHandlesTheNamespaceIsProbed) {
  with_daemon_lacking("nsfs-handles", [](const std::string& dir) {
    use_queues();
    outlive_the_namespace(dir);
  });
}

TEST_F(Fallback, AHeldNamespaceIsKeptByHandle) {
  in_private_namespaces([](const std::string& dir) {
    const PoorDaemon daemon("--max-namespaces=1024");
    ASSERT_TRUE(daemon.listens());
    hold_a_namespace(dir);
  });
}

TEST_F(Fallback, AHeldNamespaceIsKeptByProbe) {
  if (!CapabilityCheck::has_kernel_mqueue()) GTEST_SKIP() << "needs the kernel's mqueue";
  with_daemon_lacking("nsfs-handles", hold_a_namespace);
}

TEST_F(Fallback, AHeldNamespaceIsKeptBySearch) {
  with_daemon_lacking("nsfs-handles,namespace-probe", [](const std::string& dir) {
    use_queues();
    hold_a_namespace(dir);
  });
}

// fs/namei.c:may_create answers EOVERFLOW to ids without a name in the superblock's user namespace: the daemon's.
TEST_F(Fallback, ANamespaceOfAUserNamespaceIsProbedFromWithin) {
  if (!CapabilityCheck::has_kernel_mqueue()) GTEST_SKIP() << "needs the kernel's mqueue";
  with_daemon_lacking("nsfs-handles", [](const std::string&) {
    Gate made, mapped, used, go;
    Companion container([&] {
      ASSERT_OK(unshare(CLONE_NEWUSER));
      made.open();
      mapped.wait();
      ASSERT_OK(setresgid(0, 0, 0));
      ASSERT_OK(setresuid(0, 0, 0));
      ASSERT_OK(unshare(CLONE_NEWIPC));
      EXPECT_EQ(program({"create", "/kept"}).status, 0);
      used.open();
      go.wait();
    });
    made.wait();
    const std::string process = "/proc/" + std::to_string(container.pid());
    for (const char* map : {"/uid_map", "/gid_map"}) {
      const UniqueFd file(open((process + map).c_str(), O_WRONLY | O_CLOEXEC));
      ASSERT_OK(static_cast<int>(write(file.get(), "0 100000 1000", 13)));
    }
    mapped.open();
    used.wait();
    UniqueFd held(open((process + "/ns/ipc").c_str(), O_RDONLY | O_CLOEXEC));
    const size_t before = namespaces();
    go.open();
    container.join();
    EXPECT_TRUE(stays(before));
    held.reset();
    EXPECT_TRUE(wait_until([&] { return namespaces() < before; }));
  });
}

// getdents(2) holds the lock of the directory that the probe asks, for as long as the memory that it writes to takes.
TEST_F(Fallback, AMemberThatHoldsTheProbeUpKeepsItsNamespaceAndNobodyWaits) {
  if (!CapabilityCheck::has_kernel_mqueue()) GTEST_SKIP() << "needs the kernel's mqueue";
  with_daemon_lacking("nsfs-handles", [](const std::string& dir) {
    UniqueFd held = held_namespace();
    const size_t before = namespaces();
    StallingFile stalling(dir + ".stalling");
    const UniqueFd file(open((dir + ".stalling").c_str(), O_RDONLY | O_CLOEXEC));
    void* const page = mmap(nullptr, kStallingFileSize, PROT_READ | PROT_WRITE, MAP_PRIVATE, file.get(), 0);
    ASSERT_NE(page, MAP_FAILED);
    UniqueFd queues;
    {
      const UniqueFd own(open("/proc/self/ns/ipc", O_RDONLY | O_CLOEXEC));
      ASSERT_OK(setns(held.get(), CLONE_NEWIPC));
      ASSERT_OK(mount("none", dir.c_str(), "mqueue", 0, nullptr));
      ASSERT_OK(setns(own.get(), CLONE_NEWIPC));
      queues = UniqueFd(open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
      ASSERT_OK(umount2(dir.c_str(), MNT_DETACH));
    }
    Companion stuck([&] { syscall(SYS_getdents64, queues.get(), page, kStallingFileSize); });
    EXPECT_TRUE(stalling.wait_for_a_reader());
    held.reset();
    EXPECT_TRUE(stays(before));
    stalling.fail();
    stuck.join();
    munmap(page, kStallingFileSize);
    EXPECT_TRUE(wait_until([&] { return namespaces() < before; }, kFreedWithinMs));
  });
}

TEST_F(Fallback, WithoutPidfdsInMessagesTheyAreOpenedByNumber) {
  with_daemon_lacking("pidfd-messages", [](const std::string& dir) {
    use_queues();
    outlive_the_namespace(dir);
  });
}

TEST_F(Fallback, WithoutTheRightToMountAUserNamespaceHasIt) {
  if (!CapabilityCheck::can_unshare_user()) GTEST_SKIP() << "needs user namespaces";
  with_daemon_lacking("mount-privilege", [](const std::string& dir) {
    use_queues();
    outlive_the_namespace(dir);
  });
}

TEST_F(Fallback, WithoutUserNamespacesFusermountMounts) {
  if (!CapabilityCheck::has_fusermount()) GTEST_SKIP() << "needs fusermount3";
  with_daemon_lacking("mount-privilege,user-namespaces", [](const std::string&) { use_queues(); });
}

TEST_F(Fallback, WithoutAnyWayToMountItSaysSo) {
  with_daemon_lacking("mount-privilege,user-namespaces,fusermount", [](const std::string&) {
    const CommandResult result = program({"create", "/q"});
    EXPECT_EQ(result.status, 1);
    EXPECT_NE(result.stderr_text.find("EOPNOTSUPP"), std::string::npos) << result.stderr_text;
  });
}

TEST_F(Fallback, CeilingsBindWhoIsNotRoot) {
  in_private_namespaces([](const std::string&) {
    const PoorDaemon daemon("--max-limit=msg_max=20");
    ASSERT_TRUE(daemon.listens());
    run_as(65534, [] {
      ASSERT_EQ(program({"ns", "create", "his"}).status, 0);
      EXPECT_EQ(program({"limits", "--ns", "his", "msg_max=20"}).status, 0);
      const CommandResult over = program({"limits", "--ns", "his", "msg_max=21"});
      EXPECT_EQ(over.status, 1);
      EXPECT_NE(over.stderr_text.find("msg_max 21 is over the daemon's ceiling"), std::string::npos) << over.stderr_text;
    });
    EXPECT_EQ(program({"limits", "--ns", "his", "msg_max=21"}).status, 0);
    EXPECT_EQ(program({"ns", "remove", "his"}).status, 0);
  });
}

// DESIGN, decision 1: `umount -f` of one mount ends the superblock for all; the namespace gets a new one over
// the same queues.
TEST_F(Fallback, ForcedUnmountGivesTheNamespaceANewSuperblockOverTheSameQueues) {
  in_private_namespaces([](const std::string& dir) {
    ASSERT_EQ(program({"ns", "create", "kept"}).status, 0);
    ASSERT_EQ(program({"create", "--ns", "kept", "/q"}).status, 0);
    ASSERT_EQ(program({"send", "--ns", "kept", "/q", "message"}).status, 0);
    ASSERT_EQ(mount_program(dir, "ns=kept"), 0);
    const UniqueFd queue(open((dir + "/q").c_str(), O_RDWR | O_CLOEXEC));
    ASSERT_OK(queue.get());
    umount2(dir.c_str(), MNT_FORCE);  // EBUSY, but the connection is cut
    struct stat status {};
    EXPECT_ERRNO(ENOTCONN, open((dir + "/q").c_str(), O_RDWR | O_CLOEXEC));
    ASSERT_OK(umount2(dir.c_str(), MNT_DETACH));
    ASSERT_EQ(mount_program(dir, "ns=kept"), 0);
    EXPECT_OK(stat((dir + "/q").c_str(), &status));
    EXPECT_EQ(program({"receive", "--ns", "kept", "--all", "/q"}).stdout_text, "message\n");
    ASSERT_OK(umount2(dir.c_str(), 0));
    ASSERT_EQ(program({"ns", "remove", "kept"}).status, 0);
  });
}

// A client that is killed with a message on its way leaves the queue as if it had never called.
TEST_F(Fallback, KilledReceiverAndSenderLeaveNothing) {
  in_private_namespaces([](const std::string&) {
    ASSERT_EQ(program({"ns", "create", "n"}).status, 0);
    ASSERT_EQ(program({"create", "--ns", "n", "--maxmsg", "1", "/q"}).status, 0);
    const auto list_has = [](const std::string& text) {
      return program({"list", "--ns", "n"}).stdout_text.find(text) != std::string::npos;
    };
    const auto killed_while_waiting = [&](std::vector<std::string> arguments, const std::string& shown) {
      Companion caller([&] { program(std::move(arguments)); });
      EXPECT_TRUE(wait_until([&] { return list_has(shown); }));
      caller.kill();
      EXPECT_TRUE(wait_until([&] { return !list_has(shown); }));
    };
    killed_while_waiting({"receive", "--ns", "n", "/q"}, "1 receiver");
    ASSERT_EQ(program({"send", "--ns", "n", "/q", "first"}).status, 0);
    killed_while_waiting({"send", "--ns", "n", "/q", "second"}, "1 sender");
    EXPECT_EQ(program({"receive", "--ns", "n", "--all", "/q"}).stdout_text, "first\n");
    ASSERT_EQ(program({"ns", "remove", "n"}).status, 0);
  });
}

}  // namespace
}  // namespace mqueuefs::test
