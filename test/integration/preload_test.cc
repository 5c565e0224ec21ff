// `mqueuefs run` and the preload library, on a real program (programs/mq_program.c) that knows nothing of them. The
// same scenarios pass on the kernel's message queues.
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "integration/program_fixture.h"
#include "support/capability_check.h"
#include "support/child.h"
#include "support/expect.h"
#include "support/run_command.h"
#include "support/temp_dir.h"

namespace mqueuefs::test {
namespace {

constexpr int kScenarioMs = 60'000;

// What was built beside the program under test, by its place in the build directory; empty: it was not.
std::string built(const std::string& place) {
  const auto build = std::filesystem::absolute(mqueuefs_program()).parent_path().parent_path().parent_path();
  const auto path = build / place;
  return std::filesystem::exists(path) ? path.string() : "";
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

class Preload : public ProgramTest {
 protected:
  void SetUp() override {
    ProgramTest::SetUp();
    if (mq_program().empty()) GTEST_SKIP() << "no test/mq_program";
  }
  static std::string mq_program() { return built("test/mq_program"); }
  static std::string library() { return built("src/preload/libmqueuefs-preload.so"); }

  static CommandResult run(const std::vector<std::string>& command, const std::vector<std::string>& options = {}) {
    std::vector<std::string> words = {mqueuefs_program(), "run"};
    words.insert(words.end(), options.begin(), options.end());
    words.push_back("--");
    words.insert(words.end(), command.begin(), command.end());
    return run_command(words, "", {.timeout_ms = kScenarioMs});
  }

  void scenarios(const std::vector<std::string>& names) {
    in_private_namespaces([&](const std::string&) {
      ASSERT_EQ(program({"limits", "msgsize_max=400000"}).status, 0);
      for (const std::string& name : names) {
        const CommandResult result = run({mq_program(), name});
        EXPECT_EQ(result.status, 0) << name << (result.timed_out ? ": hangs: " : ": ") << result.stderr_text;
        EXPECT_EQ(result.stderr_text, "") << name;
      }
    });
  }
};

TEST_F(Preload, NamesAttributesAndChecksAreTheKernels) { scenarios({"names", "attributes", "checks"}); }
TEST_F(Preload, BadPointerIsAnErrorAndKeepsTheMessage) { scenarios({"bad_pointers", "bad_pointer_keeps_message"}); }
TEST_F(Preload, LongMessagesTravelInPieces) { scenarios({"large"}); }
TEST_F(Preload, ChildrenOfAnyKindUseTheQueue) { scenarios({"fork_shares", "raw_clone", "vfork_child", "exec_child"}); }
TEST_F(Preload, DescriptorsAreTheKernelsOwn) {
  scenarios({"replaced_descriptor", "passed_descriptor", "close_all", "polls"});
}
TEST_F(Preload, SignalsInterruptOrNotAsTheHandlerSays) { scenarios({"interrupted", "restarted", "stopped_and_continued"}); }
TEST_F(Preload, KilledReceiverTakesNoMessage) { scenarios({"killed_receiver"}); }
TEST_F(Preload, BlockedCallsAreCancellationPoints) { scenarios({"cancelled", "cancelled_without_blocking"}); }
TEST_F(Preload, WaiterIsServedThoughItsDescriptorIsAnother) { scenarios({"closed_while_waiting"}); }
TEST_F(Preload, NotifiesBySignalAndByThread) { scenarios({"notified_by_signal", "notified_by_thread"}); }
TEST_F(Preload, NoThreadsWhereNobodyAsksForThem) { scenarios({"single_threaded"}); }
TEST_F(Preload, NamespaceIsTheThreadsAndCanBeMounted) { scenarios({"unshared_thread", "mounted"}); }
TEST_F(Preload, KernelsOwnQueuesStayTheKernels) {
  if (!CapabilityCheck::has_kernel_mqueue()) GTEST_SKIP() << "no mqueue in this kernel";
  scenarios({"kernel_descriptors"});
}

// The oracle: the program's expectations are the kernel's behaviour.
TEST_F(Preload, ScenariosPassOnTheKernel) {
  if (!CapabilityCheck::has_kernel_mqueue()) GTEST_SKIP() << "no mqueue in this kernel";
  // Longer messages need a limit that is not ours to raise; the last ones say themselves what differs.
  const std::set<std::string> ours = {"large", "bad_pointer_keeps_message", "kernel_descriptors", "no_daemon"};
  run_in_child([&] {
    ASSERT_OK(unshare(CLONE_NEWNS | CLONE_NEWIPC));
    ASSERT_OK(mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr));
    const auto names = lines_of(run_command({mq_program(), "list"}).stdout_text);
    ASSERT_GT(names.size(), 20u);
    for (const std::string& name : names) {
      if (ours.contains(name)) continue;
      const CommandResult result = run_command({mq_program(), name}, "", {.timeout_ms = kScenarioMs});
      EXPECT_EQ(result.status, 0) << name << ": " << result.stderr_text;
    }
  }, 2 * kScenarioMs);
}

TEST_F(Preload, RunsInANamedNamespace) {
  in_private_namespaces([&](const std::string&) {
    ASSERT_EQ(program({"ns", "create", "shared"}).status, 0);
    const CommandResult result = run({mq_program(), "leaves_a_queue"}, {"--ns", "shared"});
    EXPECT_EQ(result.status, 0) << result.stderr_text;
    EXPECT_EQ(program({"receive", "--ns", "shared", "/left"}).stdout_text, "left behind\n");
    EXPECT_NE(program({"stat", "/left"}).status, 0);
    ASSERT_EQ(program({"ns", "remove", "shared"}).status, 0);
  });
}

TEST_F(Preload, ExitCodeIsTheCommands) {
  in_private_namespaces([&](const std::string&) {
    EXPECT_EQ(run({"sh", "-c", "exit 7"}).status, 7);
    EXPECT_EQ(run({"/no/such/program"}).status, 127);
    EXPECT_EQ(run_command({mqueuefs_program(), "run"}).status, 2);
  });
}

TEST_F(Preload, ProgramsThatCanNotBePreloadedAreRefused) {
  in_private_namespaces([&](const std::string& dir) {
    const std::string program = built("test/static_program");
    CommandResult result = run({program});
    EXPECT_EQ(result.status, 1);
    EXPECT_NE(result.stderr_text.find("it is statically linked; use mqueuefs run --via seccomp"), std::string::npos) << result.stderr_text;
    EXPECT_EQ(lines_of(result.stderr_text).size(), 1u);

    const std::string setuid = dir + "/setuid";
    ASSERT_EQ(run_command({"cp", "/bin/true", setuid}).status, 0);
    ASSERT_OK(chown(setuid.c_str(), 65534, 65534));
    ASSERT_OK(chmod(setuid.c_str(), 04755));
    result = run({setuid});
    EXPECT_EQ(result.status, 1);
    EXPECT_NE(result.stderr_text.find("changes its user, group or capabilities when it starts; run it as that user already"), std::string::npos) << result.stderr_text;

    const std::string script = dir + "/script";
    std::ofstream(script) << "#! " << program << "\n";
    ASSERT_OK(chmod(script.c_str(), 0755));
    EXPECT_EQ(run({script}).status, 1);

    // A script of a program that asks for musl's loader, as a machine without musl can make one: true(1) with another
    // name in its PT_INTERP.
    const std::string musl = dir + "/musl";
    std::ostringstream bytes;
    bytes << std::ifstream("/bin/true").rdbuf();
    std::string image = bytes.str();
    const size_t interpreter = image.find("/ld-linux");
    ASSERT_NE(interpreter, std::string::npos);
    image.replace(interpreter, 9, "/ld-musl-");
    std::ofstream(musl) << image;
    ASSERT_OK(chmod(musl.c_str(), 0755));
    const std::string musl_script = dir + "/musl-script";
    std::ofstream(musl_script) << "#! " << musl << "\n";
    ASSERT_OK(chmod(musl_script.c_str(), 0755));
    for (const std::string& command : {musl, musl_script}) {
      result = run({command});
      EXPECT_EQ(result.status, 1);
      EXPECT_NE(result.stderr_text.find("it is linked with another C library (ld-musl-"), std::string::npos) << result.stderr_text;
      EXPECT_EQ(lines_of(result.stderr_text).size(), 1u) << result.stderr_text;
    }
  });
}

TEST_F(Preload, WithoutDaemonSaysSoOnceAndAnswersENOSYS) {
  const TempDir dir;
  const CommandResult result = run_command({mq_program(), "no_daemon"}, "",
                                           {.environment = {{"LD_PRELOAD", library()},
                                                            {"MQUEUEFS_PROGRAM", "/no/such/program"},
                                                            {"MQUEUEFS_SOCKET", dir / "nobody.sock"}}});
  EXPECT_EQ(result.status, 0) << result.stderr_text;
  EXPECT_EQ("mqueuefs: no message queues: no daemon answers, and a new one failed: /no/such/program: No such file or "
            "directory\n",
            result.stderr_text);
}

// PHP loads its extensions so: the C library's functions would come before the preloaded ones.
TEST_F(Preload, PluginLoadedWithDeepBindUsesTheQueues) {
  const std::string program = built("test/loading_program");
  const std::string plugin = built("test/loading_plugin.so");
  ASSERT_NE(program, "");
  ASSERT_NE(plugin, "");
  in_private_namespaces([&](const std::string&) {
    const CommandResult result = run({program, "deepbind", plugin});
    EXPECT_EQ(result.stdout_text, "ours\n") << result.stderr_text;
    EXPECT_EQ(result.stderr_text, "");
    EXPECT_EQ(result.status, 0);
  });
}

// As mount(8) of util-linux 2.39 does it.
TEST_F(Preload, MountByContextShowsOurQueues) {
  if (!CapabilityCheck::has_kernel_mqueue()) GTEST_SKIP() << "no mqueue in this kernel";
  const std::string program = built("test/loading_program");
  in_private_namespaces([&](const std::string& dir) {
    const CommandResult result = run({program, "mount", dir});
    ASSERT_EQ(result.status, 0) << result.stderr_text;
    std::ostringstream mounts;
    mounts << std::ifstream("/proc/self/mountinfo").rdbuf();
    const std::string text = mounts.str();
    const size_t at = text.find(" " + dir + " ro,");
    ASSERT_NE(at, std::string::npos) << text;
    const std::string line = text.substr(at, text.find('\n', at) - at);
    EXPECT_NE(line.find(" - fuse"), std::string::npos) << line;
    EXPECT_NE(line.find(" the-source "), std::string::npos) << line;
    EXPECT_EQ(umount(dir.c_str()), 0);
  });
}

// By itself, without `mqueuefs run`: so it is the library that starts the daemon.
TEST_F(Preload, ProgramMayHaveFunctionsOfTheNamesOfSystemCalls) {
  const std::string program = built("test/own_names_program");
  ASSERT_NE(program, "");
  in_private_namespaces([&](const std::string&) {
    const CommandResult result = run_command({program}, "",
                                             {.timeout_ms = kScenarioMs,
                                              .environment = {{"LD_PRELOAD", library()},
                                                              {"MQUEUEFS_PROGRAM", mqueuefs_program()}}});
    EXPECT_EQ(result.status, 0) << result.stderr_text;
    if (!CapabilityCheck::has_kernel_mqueue()) return;
    EXPECT_EQ(run_command({program}).status, 0) << "on the kernel's";
  });
}

// Those that a program may have as well are our own (own_calls.cc): what is left is ISO C's, the implementation's, and
// what no program defines by chance.
TEST(PreloadLibrary, CallsNothingThatAProgramMayDefine) {
  static const std::set<std::string> others = {
      "abort",  "calloc",       "free",   "malloc",  "realloc",        "memchr",          "memcmp",      "memcpy",
      "memmove", "memset",      "signal", "snprintf", "strchr",         "strcmp",          "strerror",    "strlen",
      "strncmp", "strtol",      "vsnprintf", "dlsym", "getauxval",     "posix_spawnp",    "secure_getenv",
      "strerrordesc_np", "syscall", "time", "timespec_get", "fileno_unlocked",
      "environ"};  // the linker names it beside __environ, whose other name it is; nothing refers to it
  for (const char* place : {"src/preload/libmqueuefs-preload.so", "src/client/libmqueuefs.so.0"}) {
    const std::string library = built(place);
    if (library.empty()) GTEST_SKIP() << "no " << place;
    for (const std::string& line : lines_of(run_command({"nm", "-D", "--undefined-only", library}).stdout_text)) {
      const std::string name = line.substr(line.rfind(' ') + 1);
      const std::string bare = name.substr(0, name.find('@'));
      EXPECT_TRUE(bare.starts_with('_') || bare.starts_with("pthread_") || others.contains(bare)) << place << ": " << bare;
    }
  }
}

// What is loaded into other people's programs brings nothing along.
TEST(PreloadLibrary, NeedsLibcAloneAndExportsOnlyItsNames) {
  for (const char* place : {"src/preload/libmqueuefs-preload.so", "src/client/libmqueuefs.so.0"}) {
    const std::string library = built(place);
    if (library.empty()) GTEST_SKIP() << "no " << place;
    for (const std::string& line : lines_of(run_command({"readelf", "-dW", library}).stdout_text)) {
      if (line.find("(NEEDED)") == std::string::npos) continue;
      EXPECT_TRUE(line.find("[libc.so.6]") != std::string::npos || line.find("[ld-linux") != std::string::npos) << line;
    }
    const auto symbols = lines_of(run_command({"nm", "-D", "--defined-only", library}).stdout_text);
    EXPECT_GT(symbols.size(), 10u);
    static const std::set<std::string> others = {"__mq_open_2", "mount", "umount", "umount2", "MQUEUEFS_0",
                                                "dlopen", "dlmopen", "fsopen", "fsconfig", "fsmount", "close", "closefrom", "close_range", "dup2", "dup3", "fclose", "mmap",
                                                "mmap64", "mprotect", "mremap", "munmap", "setns", "unshare",
                                                "msgget", "msgsnd", "msgrcv", "msgctl", "semget", "semop",
                                                "semtimedop", "semctl", "shmget", "shmat", "shmdt", "shmctl"};
    for (const std::string& line : symbols) {
      const std::string name = line.substr(line.rfind(' ') + 1);
      const std::string bare = name.substr(0, name.find('@'));
      EXPECT_TRUE(bare.starts_with("mq") || others.contains(bare)) << line;
    }
  }
}

}  // namespace
}  // namespace mqueuefs::test
