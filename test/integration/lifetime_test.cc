// The lifetimes of Linux commit 7eafd7c74c3f ("namespaces: ipc namespaces: implement support for posix
// msqueues", 2009), sentence by sentence, on real processes. The quotations are from its message.
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "integration/program_fixture.h"
#include "support/child.h"
#include "support/expect.h"
#include "support/wait.h"

namespace mqueuefs::test {
namespace {

class Lifetime : public ProgramTest {
 protected:
  static void leave_for_a_new_ipc_namespace() { ASSERT_OK(unshare(CLONE_NEWIPC)); }

  static void enter_ipc_namespace_of(pid_t pid) {
    const UniqueFd ipc(open(("/proc/" + std::to_string(pid) + "/ns/ipc").c_str(), O_RDONLY | O_CLOEXEC));
    ASSERT_OK(ipc.get());
    ASSERT_OK(setns(ipc.get(), CLONE_NEWIPC));
  }

  static std::vector<std::string> names_in(const std::string& dir) {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(dir)) names.push_back(entry.path().filename());
    return names;
  }

  static std::string content_of(const std::string& path) {
    const UniqueFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    char text[200];
    const ssize_t size = read(file.get(), text, sizeof text);
    return size < 0 ? errno_name(errno) : std::string(text, static_cast<size_t>(size));
  }

  static dev_t device_of(const std::string& path) {
    struct stat status {};
    EXPECT_OK(stat(path.c_str(), &status));
    return status.st_dev;
  }
};

// "Any usage of mq_open() and friends will work with the acting task's ipc namespace. Any actions through the
// VFS will work with the mqueuefs in which the file was created. So if a user doesn't remount mqueuefs after
// unshare(CLONE_NEWIPC), mq_open("/ab") will not be reflected in "ls /dev/mqueue"."
TEST_F(Lifetime, CreateInAnotherNamespaceThanTheMountedOneShowsAfterRemounting) {
  in_private_namespaces([&](const std::string& dir) {
    ASSERT_EQ(mount_program(dir), 0);
    ASSERT_EQ(program({"create", "/before"}).status, 0);
    ASSERT_EQ(names_in(dir), std::vector<std::string>{"before"});
    const dev_t first = device_of(dir);
    Gate finished;
    Companion member_of_the_first([&] { finished.wait(); });

    leave_for_a_new_ipc_namespace();
    ASSERT_EQ(program({"create", "/ab"}).status, 0);
    EXPECT_EQ(names_in(dir), std::vector<std::string>{"before"});
    EXPECT_OK(close(open((dir + "/through-the-mount").c_str(), O_CREAT | O_RDWR, 0600)));

    ASSERT_OK(umount(dir.c_str()));
    ASSERT_EQ(mount_program(dir), 0);
    EXPECT_EQ(names_in(dir), std::vector<std::string>{"ab"});
    EXPECT_NE(device_of(dir), first);
    ASSERT_OK(umount(dir.c_str()));
    finished.open();
  });
}

// "If task a mounts mqueue for ipc_ns:1, then clones task b with a new ipcns, ipcns:2, and then task a is the
// last task in ipc_ns:1 to exit, then (1) ipc_ns:1 will be freed, (2) it's superblock will live on until task b
// umounts the corresponding mqueuefs, and vfs actions will continue to succeed, but (3) sb->s_fs_info will be
// NULL for the sb corresponding to the deceased ipc_ns:1."
TEST_F(Lifetime, SuperblockOutlivesItsNamespaceUntilTaskBUnmountsIt) {
  in_private_namespaces([&](const std::string& dir) {
    const std::string one = dir + "/one";
    Gate mounted, cloned, a_is_gone;

    Companion a([&] {
      leave_for_a_new_ipc_namespace();
      ASSERT_EQ(mount_program(dir), 0);
      ASSERT_EQ(program({"create", "--maxmsg", "5", "/one"}).status, 0);
      ASSERT_EQ(program({"send", "-p", "1", "/one", "low"}).status, 0);
      ASSERT_EQ(program({"send", "-p", "9", "/one", "high"}).status, 0);
      mounted.open();
      cloned.wait();
    });
    Companion b([&, a_pid = a.pid()] {
      mounted.wait();
      enter_ipc_namespace_of(a_pid);
      const UniqueFd queue(open(one.c_str(), O_RDWR | O_CLOEXEC));
      ASSERT_OK(queue.get());
      leave_for_a_new_ipc_namespace();
      cloned.open();
      a_is_gone.wait();

      // (1) freed, (3) nothing new can be made in it
      EXPECT_ERRNO(EACCES, open((dir + "/two").c_str(), O_CREAT | O_RDWR, 0600));
      EXPECT_ERRNO(EACCES, mknod((dir + "/two").c_str(), S_IFREG | 0600, 0));
      EXPECT_ERRNO(EEXIST, open(one.c_str(), O_CREAT | O_EXCL | O_RDWR, 0600));
      EXPECT_OK(close(open(one.c_str(), O_CREAT | O_RDWR, 0600)));

      // (2) vfs actions continue to succeed
      EXPECT_EQ(names_in(dir), std::vector<std::string>{"one"});
      struct stat status {};
      EXPECT_OK(stat(one.c_str(), &status));
      EXPECT_EQ(status.st_size, 80);
      EXPECT_NE(content_of(one).find("QSIZE:7 "), std::string::npos) << content_of(one);
      EXPECT_OK(chmod(one.c_str(), 0640));
      EXPECT_EQ(receive(queue.get()), "high");
      EXPECT_EQ(send(queue.get(), "last", 5), 0);
      EXPECT_EQ(receive(queue.get()), "last");
      EXPECT_EQ(receive(queue.get()), "low");
      EXPECT_OK(unlink(one.c_str()));
      EXPECT_EQ(names_in(dir), std::vector<std::string>{});
      EXPECT_EQ(send(queue.get(), "unlinked", 0), 0);
      EXPECT_EQ(receive(queue.get()), "unlinked");

      // It can't be mounted anew: what b mounts is its own namespace's.
      const dev_t old_device = device_of(dir);
      ASSERT_EQ(mount_program(dir), 0);
      EXPECT_NE(device_of(dir), old_device);
      ASSERT_OK(umount(dir.c_str()));
      EXPECT_EQ(device_of(dir), old_device);
      ASSERT_OK(umount2(dir.c_str(), MNT_DETACH));  // busy: b has a descriptor in it
      EXPECT_EQ(send(queue.get(), "still", 0), 0) << "the descriptor keeps it";
    });
    a.join();
    a_is_gone.open();
    b.join();
  });
}

// "To make this happen, we must protect the ipc reference count when a) a task exits and drops its
// ipcns->count, since it might be dropping it to 0 and freeing the ipcns; b) a task accesses the ipcns through
// its mqueuefs interface, since it bumps the ipcns refcount and might race with the last task in the ipcns
// exiting."
TEST_F(Lifetime, LastTaskLeavesWhileAnotherComesInThroughTheMount) {
  constexpr int kRounds = 40;
  in_private_namespaces([&](const std::string& dir) {
    int created_before = 0;
    for (int round = 0; round < kRounds; round++) {
      Gate mounted, go;
      Companion last([&] {
        leave_for_a_new_ipc_namespace();
        ASSERT_EQ(mount_program(dir), 0);
        mounted.open();
        go.wait();
      });
      mounted.wait();
      go.open();
      // Names made while it goes: success until the namespace is gone, EACCES from then on, nothing else.
      bool gone = false;
      int made = 0;
      for (int i = 0; !gone && i < 100'000; i++) {
        const std::string path = dir + "/q" + std::to_string(i % 8);
        const UniqueFd queue(open(path.c_str(), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600));
        if (queue) {
          made++;
          ASSERT_OK(unlink(path.c_str()));
        } else {
          ASSERT_EQ(errno, EACCES);
          gone = true;
        }
      }
      ASSERT_TRUE(gone);
      last.join();
      EXPECT_ERRNO(EACCES, open((dir + "/q").c_str(), O_CREAT | O_RDWR, 0600)) << "no stale answer";
      EXPECT_EQ(names_in(dir), std::vector<std::string>{});
      created_before += made > 0 ? 1 : 0;
      ASSERT_OK(umount(dir.c_str()));
    }
    EXPECT_GT(created_before, 0) << "not one round was a race";
    // A superblock that leaked would keep the daemon: the fixture waits for it to leave.
  });
}

}  // namespace
}  // namespace mqueuefs::test
