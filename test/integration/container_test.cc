// Containers of an OCI runtime (runc), as `mqueuefs oci-config` sets them up: nothing in the image is changed. The
// image is one static program.
#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/unique_fd.h"
#include "integration/program_fixture.h"
#include "support/child.h"
#include "support/expect.h"
#include "support/temp_dir.h"
#include "support/wait.h"

namespace mqueuefs::test {
namespace {

using Json = nlohmann::json;
using Words = std::vector<std::string>;
using Change = std::function<void(Json&)>;

std::string program_of_the_image() {
  return mqueuefs_program().substr(0, mqueuefs_program().rfind("/src/cli/")) + "/test/queue_program";
}

CommandOptions long_enough() { return {.timeout_ms = 30'000}; }

class Container : public ProgramTest {
 protected:
  void SetUp() override {
    ProgramTest::SetUp();
    if (IsSkipped()) return;
    if (run_command({"runc", "--version"}).status != 0) GTEST_SKIP() << "needs runc";
    TempDir probe;
    make_image(probe.path());
    write_config(probe.path(), {"whoami"}, [](Json&) {});
    const CommandResult tried = run_command({"runc", "--root", probe / "run", "run", "-b", probe.path(), "mqueuefs-probe"},
                                            "", long_enough());
    if (tried.status != 0) GTEST_SKIP() << "runc runs no containers here: " << tried.stderr_text;
  }

  // A daemon of the test's own, with its log beside its socket, and a place for bundles.
  void with_daemon(const std::function<void()>& body) {
    const TempDir place;
    place_ = place.path();
    chmod(place_.c_str(), 0755);
    setenv("MQUEUEFS_SOCKET", (place / "m.sock").c_str(), 1);
    run_in_child([&] {
      ASSERT_OK(unshare(CLONE_NEWNS));
      ASSERT_OK(mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr));
      const std::string log = place_ + "/log";
      daemon_ = fork();
      if (daemon_ == 0) {
        const int out = open(log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
        dup2(out, 2);
        execl(mqueuefs_program().c_str(), "mqueuefs", "daemon", "--foreground", nullptr);
        _exit(127);
      }
      EXPECT_TRUE(wait_until([&] { return access((place_ + "/m-oci.sock").c_str(), F_OK) == 0; }));
      body();
      for (const std::string& id : started_) run_command({"runc", "--root", place_ + "/run", "delete", "--force", id});
      kill(daemon_, SIGTERM);
      int status = -1;
      waitpid(daemon_, &status, 0);
      EXPECT_EQ(0, status) << "the daemon's end";
    }, 120'000);
    unsetenv("MQUEUEFS_SOCKET");
  }

  static void make_image(const std::string& bundle) {
    for (const char* dir : {"", "/proc", "/dev", "/sys", "/bin"})
      std::filesystem::create_directories(bundle + "/rootfs" + dir);
    std::filesystem::copy_file(program_of_the_image(), bundle + "/rootfs/bin/queue_program");
  }

  static void write_config(const std::string& bundle, Words words, const Change& change) {
    ASSERT_EQ(0, run_command({"runc", "spec", "--bundle", bundle}).status);
    Json config = Json::parse(std::ifstream(bundle + "/config.json"));
    words.insert(words.begin(), "/bin/queue_program");
    config["process"]["args"] = words;
    config["process"]["terminal"] = false;
    change(config);
    std::ofstream(bundle + "/config.json") << config;
  }

  // A bundle called `id` that runs `words`.
  std::string make_bundle(const std::string& id, const Words& words, Words oci_config = {},
                          const Change& change = [](Json&) {}) {
    const std::string bundle = place_ + "/" + id;
    make_image(bundle);
    write_config(bundle, words, change);
    oci_config.insert(oci_config.begin(), {"oci-config", "--in-place"});
    oci_config.push_back(bundle);
    const CommandResult patched = program(oci_config);
    EXPECT_EQ(0, patched.status) << patched.stderr_text;
    return bundle;
  }

  // Runs it to its end.
  std::string run(const std::string& id, const Words& words, const Words& oci_config = {},
                  const Change& change = [](Json&) {}) {
    const std::string bundle = make_bundle(id, words, oci_config, change);
    const CommandResult result =
        run_command({"runc", "--root", place_ + "/run", "run", "-b", bundle, id}, "", long_enough());
    EXPECT_EQ(0, result.status) << result.stderr_text;
    return result.stdout_text;
  }

  // Starts it in the background.
  void start(const std::string& id, const Words& words = {"pause"}, const Words& oci_config = {},
             const Change& change = [](Json&) {}) {
    const std::string bundle = make_bundle(id, words, oci_config, change);
    // It keeps what it is given to print to: that must not be a pipe of ours.
    const CommandResult result = run_command(
        {"sh", "-c", "runc --root " + place_ + "/run run -d -b " + bundle + " --pid-file " + bundle + "/pid " + id + " >" +
                         bundle + "/out 2>&1 </dev/null"},
        "", long_enough());
    ASSERT_EQ(0, result.status) << std::ifstream(bundle + "/out").rdbuf();
    started_.push_back(id);
  }

  std::string exec(const std::string& id, const Words& words) {
    Words command = {"runc", "--root", place_ + "/run", "exec", id, "/bin/queue_program"};
    command.insert(command.end(), words.begin(), words.end());
    const CommandResult result = run_command(command, "", long_enough());
    EXPECT_EQ(0, result.status) << result.stderr_text;
    return result.stdout_text;
  }

  pid_t process_of(const std::string& id) {
    pid_t pid = 0;
    std::ifstream(place_ + "/" + id + "/pid") >> pid;
    return pid;
  }
  std::string output_of(const std::string& id) {
    std::ifstream file(place_ + "/" + id + "/out");
    return std::string((std::istreambuf_iterator<char>(file)), {});
  }
  void end(const std::string& id) {
    EXPECT_EQ(0, run_command({"runc", "--root", place_ + "/run", "delete", "--force", id}, "", long_enough()).status);
  }
  size_t namespaces() {
    const CommandResult list = program({"ns", "list", "--json"});
    const Json document = Json::parse(list.stdout_text, nullptr, false);
    return document.is_array() ? document.size() : document.is_object() ? document.begin()->size() : 999;
  }
  size_t descriptors_of_daemon() {
    size_t count = 0;
    for ([[maybe_unused]] const auto& entry :
         std::filesystem::directory_iterator("/proc/" + std::to_string(daemon_) + "/fd"))
      ++count;
    return count;
  }

  std::string place_;
  pid_t daemon_ = 0;
  std::vector<std::string> started_;
};

TEST_F(Container, ItsQueuesAreOnesOfItsOwn) {
  with_daemon([&] {
    start("one");
    start("two");
    EXPECT_EQ("ok\nok\nq \n10 8192 1\n", exec("one", {"create", "q", "send", "q", "x", "list", "/dev/mqueue", "attributes", "q"}));
    EXPECT_EQ("ENOENT\n\n", exec("two", {"open", "q", "list", "/dev/mqueue"}));
    EXPECT_EQ("x\n", exec("one", {"receive", "q"}));
  });
}

TEST_F(Container, TwoAreGivenTheSame) {
  with_daemon([&] {
    start("one", {"pause"}, {"--ns", "shared"});
    start("two", {"pause"}, {"--ns", "shared"});
    start("other");
    EXPECT_EQ("ok\nok\n", exec("one", {"create", "q", "send", "q", "from one"}));
    EXPECT_EQ("q \nfrom one\n", exec("two", {"list", "/dev/mqueue", "receive", "q"}));
    EXPECT_EQ("ENOENT\n", exec("other", {"open", "q"}));
    EXPECT_EQ(0, program({"list", "--ns", "shared"}).status);
  });
}

TEST_F(Container, InAUserNamespaceOwnersAreMapped) {
  with_daemon([&] {
    const auto in_user_namespace = [&](Json& config) {
      config["linux"]["namespaces"].push_back({{"type", "user"}});
      config["linux"]["uidMappings"] = {{{"containerID", 0}, {"hostID", 100000}, {"size", 65536}}};
      config["linux"]["gidMappings"] = {{{"containerID", 0}, {"hostID", 100000}, {"size", 65536}}};
    };
    start("mapped", {"create", "q", "pause"}, {}, in_user_namespace);
    EXPECT_EQ("0 0 100600\n0 0 41777\n0\n",
              exec("mapped", {"owner", "/dev/mqueue/q", "owner", "/dev/mqueue"}) +
                  std::to_string(exec("mapped", {"whoami"}).find(" 0\n") == std::string::npos) + "\n");
    struct stat outside {};
    const std::string path = "/proc/" + std::to_string(process_of("mapped")) + "/root/dev/mqueue/q";
    ASSERT_OK(stat(path.c_str(), &outside));
    EXPECT_EQ(100000u, outside.st_uid);
    EXPECT_EQ("ok\nx\n", exec("mapped", {"send", "q", "x", "receive", "q"}));
  });
}

TEST_F(Container, ProcessesAreNumberedAsItNumbersThem) {
  with_daemon([&] {
    start("pids", {"create", "q", "await-signal", "q", "pause"});
    ASSERT_TRUE(wait_until([&] { return output_of("pids") == "ok\nregistered\n"; })) << output_of("pids");
    const std::string line = exec("pids", {"read", "/dev/mqueue/q"});
    EXPECT_NE(std::string::npos, line.find("NOTIFY:0")) << line;
    EXPECT_NE(std::string::npos, line.find("SIGNO:10")) << line;
    EXPECT_NE(std::string::npos, line.find("NOTIFY_PID:1 ")) << line;
    const std::string sender = exec("pids", {"fork-send", "q", "x"});
    const std::string expected = "signal from " + sender.substr(0, sender.find('\n')) + " user 0\n";
    EXPECT_TRUE(wait_until([&] { return output_of("pids").find("user") != std::string::npos; }));
    EXPECT_EQ("ok\nregistered\n" + expected, output_of("pids"));
  });
}

TEST_F(Container, AReadOnlyOneCreatesNothing) {
  with_daemon([&] {
    const auto read_only = [&](Json& config) {
      for (Json& mount : config["mounts"]) {
        if (mount["destination"] == "/dev/mqueue") mount["options"].push_back("ro");
      }
    };
    // As with the kernel's: the mount is read-only, and mq_open does not go by way of it.
    EXPECT_EQ("EROFS\nok\nq \n",
              run("readonly", {"touch", "/dev/mqueue/t", "create", "q", "list", "/dev/mqueue"}, {}, read_only));
  });
}

TEST_F(Container, LimitsOfTheConfigurationAreTheNamespaces) {
  with_daemon([&] {
    const auto limited = [&](Json& config) {
      config["linux"]["sysctl"] = {{"fs.mqueue.msg_default", "3"}, {"fs.mqueue.msgsize_default", "256"}};
    };
    EXPECT_EQ("ok\n3 256 0\n", run("limited", {"create", "q", "attributes", "q"}, {}, limited));
  });
}

TEST_F(Container, WhenItIsKilledNothingStays) {
  with_daemon([&] {
    const size_t before = namespaces();
    start("killed", {"create", "q", "create", "empty", "send", "q", "1", "send", "q", "2", "receive", "empty"});
    ASSERT_TRUE(wait_until([&] { return output_of("killed") == "ok\nok\nok\nok\n"; })) << output_of("killed");
    EXPECT_EQ(before + 1, namespaces());
    EXPECT_OK(kill(process_of("killed"), SIGKILL));
    EXPECT_TRUE(wait_until([&] { return namespaces() == before; }));
    end("killed");
    EXPECT_EQ("ok\n", run("after", {"create", "q"}));
  });
}

TEST_F(Container, ABindMountKeepsItsFilesNotItsNamespace) {
  with_daemon([&] {
    const size_t before = namespaces();
    start("ends");
    EXPECT_EQ("ok\n", exec("ends", {"create", "kept"}));
    const TempDir kept;
    // A bind mount across mount namespaces: cloned in there, attached here.
    const UniqueFd here(open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC));
    const std::string mounts = "/proc/" + std::to_string(process_of("ends")) + "/ns/mnt";
    const UniqueFd there(open(mounts.c_str(), O_RDONLY | O_CLOEXEC));
    ASSERT_OK(setns(there.get(), CLONE_NEWNS));
    const UniqueFd clone(open_tree(AT_FDCWD, "/dev/mqueue", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
    ASSERT_OK(setns(here.get(), CLONE_NEWNS));
    ASSERT_OK(clone.get());
    ASSERT_OK(move_mount(clone.get(), "", AT_FDCWD, kept.path().c_str(), MOVE_MOUNT_F_EMPTY_PATH));
    end("ends");
    EXPECT_TRUE(wait_until([&] { return namespaces() == before; }));
    EXPECT_OK(access((kept / "kept").c_str(), F_OK));
    EXPECT_ERRNO(EACCES, open((kept / "new").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    EXPECT_OK(umount2(kept.path().c_str(), MNT_DETACH));
  });
}

// The example of mqueuefs-oci(7), as it stands there.
std::string example_of_the_manual() {
  const char* source = getenv("MQUEUEFS_SOURCE_DIR");
  std::ifstream page(std::string(source != nullptr ? source : MQUEUEFS_SOURCE_DIR) + "/man/mqueuefs-oci.7");
  std::string example;
  bool inside = false;
  for (std::string line; std::getline(page, line);) {
    if (line == ".EE") inside = false;
    if (inside) {
      for (size_t at; (at = line.find("\\-")) != std::string::npos;) line.erase(at, 1);
      for (size_t at; (at = line.find("\\e")) != std::string::npos;) line.replace(at, 2, "\\");
      example += line + "\n";
    }
    if (line == ".EX") inside = true;
  }
  return example;
}

TEST_F(Container, TheManualsExampleWorks) {
  with_daemon([&] {
    const TempDir work;
    std::filesystem::copy_file(program_of_the_image(), work / "queue_program");
    CommandOptions options = long_enough();
    options.directory = work.path();
    const std::string programs = mqueuefs_program().substr(0, mqueuefs_program().rfind('/'));
    options.environment = {{"PATH", programs + ":" + getenv("PATH")}};
    const CommandResult result = run_command({"sh", "-e", "-c", example_of_the_manual()}, "", options);
    EXPECT_EQ("ok\nq \n", result.stdout_text) << result.stderr_text;
  });
}

TEST_F(Container, AHundredLeaveNothing) {
  with_daemon([&] {
    const size_t before = namespaces();
    EXPECT_EQ("ok\nok\nx\n", run("first", {"create", "q", "send", "q", "x", "receive", "q"}));
    ASSERT_TRUE(wait_until([&] { return namespaces() == before; }));
    const size_t descriptors = descriptors_of_daemon();
    const std::string bundle = make_bundle("many", {"create", "q", "send", "q", "x", "receive", "q"});
    for (int i = 0; i < 100; ++i) {
      const CommandResult result =
          run_command({"runc", "--root", place_ + "/run", "run", "-b", bundle, "many"}, "", long_enough());
      ASSERT_EQ("ok\nok\nx\n", result.stdout_text) << i << ": " << result.stderr_text;
    }
    EXPECT_TRUE(wait_until([&] { return namespaces() == before && descriptors_of_daemon() == descriptors; }))
        << descriptors << " descriptors before, now " << descriptors_of_daemon();
  });
}

}  // namespace
}  // namespace mqueuefs::test
