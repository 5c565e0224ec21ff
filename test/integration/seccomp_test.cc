// `mqueuefs run --via seccomp`: programs that make the system calls themselves.
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "integration/program_fixture.h"
#include "support/expect.h"

namespace mqueuefs::test {
namespace {

std::string built_program(const std::string& name) {
  return mqueuefs_program().substr(0, mqueuefs_program().rfind("/src/cli/")) + "/test/" + name;
}

std::string queue_program() {
  const char* chosen = getenv("MQUEUEFS_QUEUE_PROGRAM");
  return chosen != nullptr ? chosen : built_program("queue_program");
}

class Seccomp : public ProgramTest {
 protected:
  static CommandResult caught(std::vector<std::string> words, std::vector<std::string> before = {}) {
    std::vector<std::string> command = {mqueuefs_program(), "run", "--via", "seccomp"};
    command.insert(command.end(), before.begin(), before.end());
    command.push_back("--");
    command.push_back(queue_program());
    command.insert(command.end(), words.begin(), words.end());
    return run_command(command);
  }
};

TEST_F(Seccomp, AStaticProgramUsesTheQueues) {
  in_private_namespaces([&](const std::string& dir) {
    ASSERT_EQ(mount_program(dir), 0);
    const CommandResult result = caught({"create", "q", "send", "q", "hello", "attributes", "q", "create", "q"});
    EXPECT_EQ("ok\nok\n10 8192 1\nEEXIST\n", result.stdout_text) << result.stderr_text;
    EXPECT_EQ("hello\n", caught({"receive", "q"}).stdout_text);
    EXPECT_EQ("q \nok\nENOENT\n", caught({"list", dir, "unlink", "q", "open", "q"}).stdout_text);
  });
}

TEST_F(Seccomp, TheExitCodeIsTheProgramsAndNothingElseIsCaught) {
  in_private_namespaces([&](const std::string&) {
    EXPECT_EQ(2, caught({"nonsense"}).status);
    EXPECT_EQ("3\n", run_command({mqueuefs_program(), "run", "--via", "seccomp", "--", "sh", "-c",
                                  "echo $((1 + 2)); exit 0"})
                         .stdout_text);
    EXPECT_EQ(127, run_command({mqueuefs_program(), "run", "--via", "seccomp", "--", "/nonexistent"}).status);
  });
}

TEST_F(Seccomp, TheChildrensCallsAreCaughtToo) {
  in_private_namespaces([&](const std::string&) {
    const CommandResult result = run_command({mqueuefs_program(), "run", "--via", "seccomp", "--", "sh", "-c",
                                              queue_program() + " create a & wait; " + queue_program() + " open a"});
    EXPECT_EQ("ok\nok\n", result.stdout_text) << result.stderr_text;
  });
}

TEST_F(Seccomp, TheCallsOf32BitProgramsAreRefused) {
  // A kernel without them ends the program.
  if (run_command({queue_program(), "old-call"}).stdout_text.empty()) GTEST_SKIP() << "the kernel runs no 32-bit calls";
  in_private_namespaces([&](const std::string&) { EXPECT_EQ("ENOSYS\n", caught({"old-call"}).stdout_text); });
}

TEST_F(Seccomp, OnlyOneCanCatchThem) {
  in_private_namespaces([&](const std::string&) {
    const CommandResult result = run_command({mqueuefs_program(), "run", "--via", "seccomp", "--", mqueuefs_program(),
                                              "run", "--via", "seccomp", "--", "true"});
    EXPECT_EQ(1, result.status);
    EXPECT_NE(std::string::npos, result.stderr_text.find("EBUSY")) << result.stderr_text;
  });
}

TEST_F(Seccomp, AStaticProgramUsesSystemVIpc) {
  in_private_namespaces([&](const std::string&) {
    const CommandResult result =
        run_command({mqueuefs_program(), "run", "--via", "seccomp", "--", built_program("static_program"), "sysv"});
    EXPECT_EQ(
        "msgget: 0\nmsgsnd: 0\nmsgrcv: 5\n7 hello\nnothing there: ENOMSG\nbad text: EFAULT\nmsgctl: 0\n"
        "last sent by us\n"
        "semtimedop: EAGAIN\nsemop: 0\nwho waited: 0\nkill: 0\nundone: 0\nsemctl: 0\nremoved: EINVAL\n"
        "shmctl: 0\n5000 bytes\nshmat: ENOSYS\nshmat again: ENOSYS\nshmdt: EINVAL\nrmid: 0\nmsgctl: 0\n",
        result.stdout_text)
        << result.stderr_text;
  });
}

// The scenarios of unmodified programs (programs/sysv_program.c) that need no memory.
TEST_F(Seccomp, ProgramsThatWaitInSystemVCalls) {
  in_private_namespaces([&](const std::string&) {
    for (const char* scenario :
         {"messages", "bad_pointers", "interrupted", "stopped_and_continued", "timeouts", "removed_while_waiting",
          "cancelled", "killed_receiver", "undo_of_killed", "undo_of_one_who_waited", "undo_survives_exec"}) {
      const CommandResult result =
          run_command({mqueuefs_program(), "run", "--via", "seccomp", "--", built_program("sysv_program"), scenario});
      EXPECT_EQ(0, result.status) << scenario << (result.timed_out ? ": hangs: " : ": ") << result.stderr_text;
    }
  });
}

TEST_F(Seccomp, InANamedNamespace) {
  in_private_namespaces([&](const std::string&) {
    ASSERT_EQ(0, program({"ns", "create", "one"}).status);
    EXPECT_EQ("ok\n", caught({"create", "inside"}, {"--ns", "one"}).stdout_text);
    EXPECT_EQ("ENOENT\n", caught({"open", "inside"}).stdout_text);
    EXPECT_EQ("ok\n", caught({"open", "inside"}, {"--ns", "one"}).stdout_text);
    ASSERT_EQ(0, program({"ns", "remove", "one"}).status);
  });
}

TEST_F(Seccomp, AProgramThatUnsharesAndMountsGetsItsOwnQueues) {
  in_private_namespaces([&](const std::string& dir) {
    const CommandResult result =
        caught({"create", "outside", "unshare", "mount", dir, "create", "inside", "list", dir, "open", "outside"});
    EXPECT_EQ("ok\nok\nok\nok\ninside \nENOENT\n", result.stdout_text) << result.stderr_text;
    EXPECT_EQ("ENOENT\n", caught({"mount", dir + "/missing"}).stdout_text);
    EXPECT_EQ("ok\n", caught({"unlink", "outside"}).stdout_text);
  });
}

TEST_F(Seccomp, OtherMountsGoOn) {
  in_private_namespaces([&](const std::string& dir) {
    const CommandResult result =
        run_command({mqueuefs_program(), "run", "--via", "seccomp", "--", "sh", "-c",
                     "mount -t tmpfs hello " + dir + " && grep -c 'tmpfs hello' /proc/self/mountinfo && umount " + dir});
    EXPECT_EQ("1\n", result.stdout_text) << result.stderr_text;
  });
}

// Callers of fsopen(2) are to fall back to mount(2): what they mount is never the kernel's queues.
TEST_F(Seccomp, AContextOfQueuesIsRefused) {
  in_private_namespaces([&](const std::string& dir) {
    const CommandResult result = run_command(
        {mqueuefs_program(), "run", "--via", "seccomp", "--", built_program("loading_program"), "mount", dir});
    EXPECT_EQ(1, result.status);
    EXPECT_EQ("fsopen: Function not implemented\n", result.stderr_text);
  });
}

TEST_F(Seccomp, AnOrdinaryUsersRightsAreHisOwn) {
  in_private_namespaces([&](const std::string& dir) {
    ASSERT_EQ(mount_program(dir), 0);
    EXPECT_EQ("ok\n", caught({"create", "roots"}).stdout_text);
    const CommandResult result =
        run_command({"setpriv", "--reuid", "1000", "--regid", "1000", "--clear-groups", mqueuefs_program(), "run", "--via",
                     "seccomp", "--", queue_program(), "open", "roots", "unlink", "roots", "create", "his", "owner",
                     dir + "/his", "unlink", "his"});
    EXPECT_EQ("EACCES\nEPERM\nok\n1000 1000 100600\nok\n", result.stdout_text) << result.stderr_text;
    EXPECT_EQ("ok\n", caught({"unlink", "roots"}).stdout_text);
  });
}

}  // namespace
}  // namespace mqueuefs::test
