// mount -o view=proc: what /proc has of an IPC namespace, for an emulated one, and the distribution's tools on it.
#include <fcntl.h>
#include <sys/ipc.h>
#include <sys/mount.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>
#include <string>

#include "integration/program_fixture.h"
#include "support/child.h"
#include "support/expect.h"

namespace mqueuefs::test {
namespace {

std::string text_of(const std::string& path) {
  const std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

// As a shell does it. The errno's name, or "".
std::string write_text(const std::string& path, const std::string& text) {
  const int fd = open(path.c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC);
  if (fd < 0) return errno_name(errno);
  const ssize_t written = write(fd, text.data(), text.size());
  const std::string outcome = written < 0 ? errno_name(errno) : "";
  close(fd);
  return outcome;
}

class ProcView : public ProgramTest {
 protected:
  void in_view(const std::function<void(const std::string& dir)>& body, const std::string& options = "view=proc") {
    in_private_namespaces([&](const std::string& dir) {
      ASSERT_EQ(mount_program(dir, options), 0);
      watch_fuse_mount(dir);
      body(dir);
    });
  }
  static CommandResult in_emulation(std::vector<std::string> command) {
    command.insert(command.begin(), {"run", "--"});
    return program(command);
  }
};

TEST_F(ProcView, HasTheFilesOfProcWithTheKernelsDefaults) {
  in_view([](const std::string& dir) {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(dir)) {
      if (!entry.is_regular_file()) continue;
      const std::string below = entry.path().string().substr(dir.size());
      // The kernel's own, of this test's new IPC namespace.
      const std::string kernels = "/proc" + below;
      if (!std::filesystem::exists(kernels)) continue;  // a kernel without CONFIG_CHECKPOINT_RESTORE
      EXPECT_EQ(text_of(entry.path()), text_of(kernels)) << below;
    }
    EXPECT_TRUE(std::filesystem::exists(dir + "/sysvipc/msg"));
    EXPECT_TRUE(std::filesystem::exists(dir + "/sys/fs/mqueue/queues_max"));
    EXPECT_TRUE(std::filesystem::exists(dir + "/sys/kernel/shm_next_id"));
  });
}

TEST_F(ProcView, LimitsAreReadAndWritten) {
  in_view([](const std::string& dir) {
    EXPECT_EQ(write_text(dir + "/sys/fs/mqueue/msg_max", "20\n"), "");
    EXPECT_EQ(text_of(dir + "/sys/fs/mqueue/msg_max"), "20\n");
    EXPECT_TRUE(std::regex_search(program({"limits"}).stdout_text, std::regex("msg_max +20\n")));
    EXPECT_EQ(program({"limits", "msg_max=30"}).status, 0);
    EXPECT_EQ(text_of(dir + "/sys/fs/mqueue/msg_max"), "30\n");
    EXPECT_EQ(write_text(dir + "/sys/fs/mqueue/msg_max", "0x10"), "");
    EXPECT_EQ(text_of(dir + "/sys/fs/mqueue/msg_max"), "16\n");
    for (const char* nonsense : {"x", "12x", "", " ", "-1", "0", "99999999999999999999999"}) {
      EXPECT_EQ(write_text(dir + "/sys/fs/mqueue/msg_max", nonsense), *nonsense == '\0' ? "" : "EINVAL") << nonsense;
    }
    EXPECT_EQ(text_of(dir + "/sys/fs/mqueue/msg_max"), "16\n");
    // Fewer numbers leave the rest; a bad one leaves all.
    EXPECT_EQ(write_text(dir + "/sys/kernel/sem", "250 32000"), "");
    EXPECT_EQ(text_of(dir + "/sys/kernel/sem"), "250\t32000\t500\t32000\n");
    EXPECT_EQ(write_text(dir + "/sys/kernel/sem", "1 2 3 99999"), "ERANGE");
    EXPECT_EQ(text_of(dir + "/sys/kernel/sem"), "250\t32000\t500\t32000\n");
  });
}

TEST_F(ProcView, NothingElseCanBeChanged) {
  in_view([](const std::string& dir) {
    EXPECT_ERRNO(EPERM, open((dir + "/new").c_str(), O_CREAT | O_WRONLY, 0600));
    EXPECT_ERRNO(EPERM, mkdir((dir + "/new").c_str(), 0700));
    EXPECT_ERRNO(EPERM, unlink((dir + "/sysvipc/msg").c_str()));
    EXPECT_ERRNO(EPERM, chmod((dir + "/sysvipc/msg").c_str(), 0600));
    EXPECT_ERRNO(EPERM, rename((dir + "/sysvipc/msg").c_str(), (dir + "/new").c_str()));
    const int msg = open((dir + "/sysvipc/msg").c_str(), O_WRONLY | O_CLOEXEC);  // root may
    if (msg >= 0) {
      EXPECT_ERRNO(EPERM, write(msg, "x", 1));
      close(msg);
    }
  });
}

TEST_F(ProcView, NextIdIsTheNextObjects) {
  in_view([](const std::string& dir) {
    ASSERT_EQ(write_text(dir + "/sys/kernel/msg_next_id", "32775\n"), "");
    EXPECT_EQ(text_of(dir + "/sys/kernel/msg_next_id"), "32775\n");
    const CommandResult made = in_emulation({"ipcmk", "-Q"});
    EXPECT_EQ(made.stdout_text, "Message queue id: 32775\n") << made.stderr_text;
    EXPECT_EQ(text_of(dir + "/sys/kernel/msg_next_id"), "-1\n");
    EXPECT_EQ(write_text(dir + "/sys/kernel/msg_next_id", "-1"), "EINVAL");
  });
}

// The same objects in the kernel's namespace and in the emulated one: the same lines, but for ids, processes and times.
TEST_F(ProcView, ToolsOfTheDistributionReadIt) {
  in_view([](const std::string& dir) {
    for (const char* kind : {"-Q", "-S3", "-M5000"}) {
      const CommandResult made = in_emulation({"ipcmk", kind, "-p", "0640"});
      ASSERT_EQ(made.status, 0) << made.stderr_text;
    }
    const std::string messages = text_of(dir + "/sysvipc/msg");
    EXPECT_EQ(std::count(messages.begin(), messages.end(), '\n'), 2);
    ASSERT_OK(mount((dir + "/sysvipc").c_str(), "/proc/sysvipc", nullptr, MS_BIND, nullptr));
    const CommandResult listed = run_command({"ipcs"});
    umount("/proc/sysvipc");
    EXPECT_EQ(listed.status, 0) << listed.stderr_text;
    for (const char* part : {"640        0            0", "640        5000       0", "640        3"}) {
      EXPECT_NE(listed.stdout_text.find(part), std::string::npos) << part << "\n" << listed.stdout_text;
    }
    ASSERT_EQ(in_emulation({"ipcrm", "--all"}).status, 0);
    EXPECT_EQ(text_of(dir + "/sysvipc/sem"), text_of("/proc/sysvipc/sem"));
  });
}

TEST_F(ProcView, LinesAreAsTheKernels) {
  in_view([](const std::string& dir) {
    const key_t key = 0x1234;
    // The kernel's own objects, in the namespace of this test.
    ASSERT_OK(msgget(key, IPC_CREAT | 0600));
    ASSERT_OK(semget(key, 3, IPC_CREAT | 0600));
    ASSERT_OK(shmget(key, 5000, IPC_CREAT | 0600));
    const CommandResult made = in_emulation(
        {"python3", "-c",
         "import ctypes; c=ctypes.CDLL(None); exit(min(c.msgget(0x1234,0o1600), c.semget(0x1234,3,0o1600), "
         "c.shmget(0x1234,5000,0o1600)) < 0)"});
    ASSERT_EQ(made.status, 0) << made.stderr_text;
    for (const char* table : {"/sysvipc/msg", "/sysvipc/sem", "/sysvipc/shm"}) {
      std::istringstream ours(text_of(dir + table));
      std::istringstream kernels(text_of(std::string("/proc") + table));
      std::string our_line;
      std::string kernel_line;
      for (int line = 0; std::getline(kernels, kernel_line); ++line) {
        ASSERT_TRUE(std::getline(ours, our_line)) << table;
        EXPECT_EQ(our_line.size(), kernel_line.size()) << table;
        EXPECT_EQ(our_line.substr(0, 11), kernel_line.substr(0, 11)) << "the key";
        // Ten places of key, ten of id; up to the processes nothing depends on who made it, and when.
        EXPECT_EQ(our_line.substr(21, 20), kernel_line.substr(21, 20)) << table;
      }
    }
  });
}

TEST_F(ProcView, GoesStaleWithItsNamespace) {
  in_private_namespaces([&](const std::string& dir) {
    ASSERT_EQ(program({"ns", "create", "short"}).status, 0);
    ASSERT_EQ(mount_program(dir, "view=proc,ns=short"), 0);
    watch_fuse_mount(dir);
    EXPECT_NE(text_of(dir + "/sysvipc/msg"), "");
    ASSERT_EQ(program({"ns", "remove", "short"}).status, 0);
    char byte = 0;
    const int fd = open((dir + "/sysvipc/msg").c_str(), O_RDONLY | O_CLOEXEC);
    ASSERT_OK(fd);
    EXPECT_ERRNO(ESTALE, read(fd, &byte, 1));
    close(fd);
    EXPECT_EQ(write_text(dir + "/sys/kernel/msgmax", "1"), "ESTALE");
  });
}

// The view and the queues of one namespace beside each other.
TEST_F(ProcView, StandsBesideTheQueues) {
  in_view([](const std::string& dir) {
    const std::string queues = dir + "-queues";
    std::filesystem::create_directory(queues);
    ASSERT_EQ(mount_program(queues), 0);
    watch_fuse_mount(queues);
    ASSERT_EQ(program({"create", "/q"}).status, 0);
    EXPECT_TRUE(std::filesystem::exists(queues + "/q"));
    EXPECT_FALSE(std::filesystem::exists(queues + "/sysvipc"));
    umount(queues.c_str());
    std::filesystem::remove(queues);
    EXPECT_TRUE(std::filesystem::exists(dir + "/sysvipc"));
  });
}

}  // namespace
}  // namespace mqueuefs::test
