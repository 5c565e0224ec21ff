// doc/behaviour.md G: the IPC namespace is gone, its superblock lives on in mounts and descriptors.
//
// The scenario of the kernel's commit 7eafd7c74c3f: one process has the namespace and mounts it where another
// process, of another IPC namespace, sees the mount; then the first one leaves.
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/inotify.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "base/unique_fd.h"
#include "support/child.h"
#include "support/credentials.h"
#include "support/expect.h"
#include "support/files.h"
#include "support/target.h"
#include "support/temp_dir.h"
#include "support/wait.h"

namespace mqueuefs::test {
namespace {

class Lifetime : public TargetTest {
 protected:
  // `prepare` runs as a member of a namespace mounted at `dir`; `afterwards` in the same process, when it has
  // left the namespace, which thereby is gone.
  void across_the_end(const std::function<void(const std::string& dir)>& prepare,
                      const std::function<void(const std::string& dir)>& afterwards) {
    in_new_namespace([&](const std::string& dir) {
      prepare(dir);
      if (HasFailure()) return;
      ASSERT_OK(unshare(CLONE_NEWIPC));
      afterwards(dir);
    });
  }
};

UniqueFd open_file(const std::string& path, int flags = O_RDWR | O_NONBLOCK) {
  UniqueFd fd(open(path.c_str(), flags | O_CLOEXEC, 0600));
  EXPECT_OK(fd.get()) << path;
  return fd;
}

TEST_F(Lifetime, G1_NothingIsCreatedAnyMore) {
  across_the_end([](const std::string& dir) { create(dir + "/a"); },
                 [](const std::string& dir) {
                   const std::string a = dir + "/a", fresh = dir + "/fresh";
                   EXPECT_ERRNO(EACCES, open(fresh.c_str(), O_RDWR | O_CREAT, 0600));
                   EXPECT_ERRNO(EACCES, open(fresh.c_str(), O_RDWR | O_CREAT | O_EXCL, 0600));
                   EXPECT_ERRNO(EACCES, mknod(fresh.c_str(), S_IFREG | 0600, 0));
                   EXPECT_ERRNO(ENOENT, open(fresh.c_str(), O_RDWR));
                   open_file(a, O_RDWR | O_CREAT);
                   EXPECT_ERRNO(EEXIST, open(a.c_str(), O_RDWR | O_CREAT | O_EXCL, 0600));
                   EXPECT_ERRNO(EEXIST, mknod(a.c_str(), S_IFREG | 0600, 0));
                   // Not this namespace's any more:
                   EXPECT_ERRNO(ENOENT, open_queue("a", O_RDWR));
                 });
}

TEST_F(Lifetime, G1_WhenItsOnlyProcessExitsOrIsKilled) {
  for (const bool killed : {false, true}) {
    const TempDir dir;
    run_in_child([&] {
      ASSERT_OK(unshare(CLONE_NEWNS | CLONE_NEWIPC));
      ASSERT_OK(mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr));
      Gate mounted, leave;
      Companion member([&] {
        ASSERT_OK(unshare(CLONE_NEWIPC));
        Target::current().use_private_account();
        EXPECT_EQ(0, Target::current().mount(dir.path()));
        mounted.open();
        leave.wait();
      });
      mounted.wait();
      create(dir / "before");
      if (killed) {
        member.kill();
      } else {
        leave.open();
      }
      member.join();
      EXPECT_ERRNO(EACCES, open((dir / "after").c_str(), O_RDWR | O_CREAT, 0600));
      EXPECT_OK(access((dir / "before").c_str(), F_OK));
      umount2(dir.path().c_str(), MNT_DETACH);
    });
  }
}

TEST_F(Lifetime, G1_AMemberThatIsLeftKeepsItAlive) {
  in_new_namespace([](const std::string& dir) {
    Gate leave;
    Companion member([&] { leave.wait(); });
    ASSERT_OK(unshare(CLONE_NEWIPC));
    create(dir + "/while_it_lives");
    leave.open();
    member.join();
    EXPECT_ERRNO(EACCES, open((dir + "/after").c_str(), O_RDWR | O_CREAT, 0600));
  });
}

TEST_F(Lifetime, G1_ADescriptorOfTheNamespaceKeepsItAlive) {
  in_new_namespace([](const std::string& dir) {
    UniqueFd held(open("/proc/self/ns/ipc", O_RDONLY | O_CLOEXEC));
    ASSERT_OK(held.get());
    ASSERT_OK(unshare(CLONE_NEWIPC));
    create(dir + "/while_it_is_held");
    ASSERT_OK(setns(held.get(), CLONE_NEWIPC));
    EXPECT_OK(UniqueFd(open_queue("while_it_is_held", O_RDWR)).get());
    ASSERT_OK(unshare(CLONE_NEWIPC));
    held.reset();
    EXPECT_ERRNO(EACCES, open((dir + "/after").c_str(), O_RDWR | O_CREAT, 0600));
  });
}

TEST_F(Lifetime, G1_CreatingWhileTheLastProcessLeaves) {
  // Either the create comes first or the end does; nothing else may come of it.
  run_in_child([] {
    ASSERT_OK(unshare(CLONE_NEWNS | CLONE_NEWIPC));
    ASSERT_OK(mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr));
    Target::current().use_private_account();
    for (int round = 0; round < 10; ++round) {
      const TempDir dir;
      Gate mounted;
      Companion member([&] {
        ASSERT_OK(unshare(CLONE_NEWIPC));
        EXPECT_EQ(0, Target::current().mount(dir.path()));
        mounted.open();
      });
      mounted.wait();
      for (int i = 0;; ++i) {
        const std::string path = dir / std::to_string(i);
        const int created = open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (created < 0) {
          EXPECT_EQ(EACCES, errno);
          break;
        }
        close(created);
        EXPECT_OK(unlink(path.c_str()));
      }
      member.join();
      EXPECT_ERRNO(EACCES, open((dir / "after").c_str(), O_RDWR | O_CREAT, 0600));
      EXPECT_OK(umount2(dir.path().c_str(), MNT_DETACH));
    }
  });
}

TEST_F(Lifetime, G2_MessagesKeepTheirOrder) {
  across_the_end(
      [](const std::string&) {
        const UniqueFd fd(open_queue("a", O_RDWR | O_CREAT));
        ASSERT_OK(send(fd.get(), "second", 1));
        ASSERT_OK(send(fd.get(), "first", 5));
        ASSERT_OK(send(fd.get(), "third", 1));
      },
      [](const std::string& dir) {
        const UniqueFd fd = open_file(dir + "/a");
        EXPECT_OK(send(fd.get(), "last"));
        char text[100] = {};
        EXPECT_EQ(60, read(fd.get(), text, sizeof text));
        EXPECT_EQ("QSIZE:20 ", std::string(text, 9));
        for (const char* message : {"first", "second", "third", "last", "<EAGAIN>"}) {
          EXPECT_EQ(message, receive_text(fd.get()));
        }
      });
}

TEST_F(Lifetime, G2_ADescriptorOpenedBeforeGoesOn) {
  UniqueFd fd;
  across_the_end(
      [&](const std::string&) {
        fd.reset(open_queue("a", O_RDWR | O_CREAT));
        ASSERT_OK(send(fd.get(), "before"));
      },
      [&](const std::string& dir) {
        EXPECT_EQ("before", receive_text(fd.get()));
        Companion receiver([&] { EXPECT_EQ("after", receive_text(fd.get())); });
        ASSERT_TRUE(wait_until_asleep(receiver.pid()));
        EXPECT_OK(send(open_file(dir + "/a").get(), "after"));
      });
}

TEST_F(Lifetime, G2_ABlockedReceiverStaysBlocked) {
  in_new_namespace([](const std::string& dir) {
    create(dir + "/a");
    Gate opened;
    Companion receiver([&] {
      // Out of the namespace, with a descriptor of it.
      const UniqueFd fd(open_queue("a", O_RDWR));
      ASSERT_OK(unshare(CLONE_NEWIPC));
      opened.open();
      EXPECT_EQ("late", receive_text(fd.get()));
    });
    opened.wait();
    ASSERT_TRUE(wait_until_asleep(receiver.pid()));
    ASSERT_OK(unshare(CLONE_NEWIPC));
    EXPECT_ERRNO(EACCES, open((dir + "/after").c_str(), O_RDWR | O_CREAT, 0600));
    EXPECT_TRUE(wait_until_asleep(receiver.pid()));
    EXPECT_OK(send(open_file(dir + "/a").get(), "late"));
  });
}

TEST_F(Lifetime, G2_NotificationPollAndAttributesWork) {
  across_the_end([](const std::string&) { EXPECT_OK(UniqueFd(create_queue("a", 3, 50)).get()); },
                 [](const std::string& dir) {
                   const UniqueFd fd = open_file(dir + "/a");
                   mq_attr attributes{};
                   ASSERT_OK(get_attributes(fd.get(), &attributes));
                   EXPECT_EQ(3, attributes.mq_maxmsg);
                   EXPECT_EQ(50, attributes.mq_msgsize);
                   sigset_t usr1;
                   sigemptyset(&usr1);
                   sigaddset(&usr1, SIGUSR1);
                   ASSERT_OK(sigprocmask(SIG_BLOCK, &usr1, nullptr));
                   sigevent event{};
                   event.sigev_notify = SIGEV_SIGNAL;
                   event.sigev_signo = SIGUSR1;
                   ASSERT_OK(notify(fd.get(), &event));
                   pollfd ready{fd.get(), POLLIN | POLLOUT, 0};
                   EXPECT_EQ(1, poll(&ready, 1, 0));
                   EXPECT_EQ(POLLOUT, ready.revents);
                   ASSERT_OK(send(fd.get(), "x"));
                   siginfo_t info{};
                   const timespec limit{10, 0};
                   EXPECT_EQ(SIGUSR1, sigtimedwait(&usr1, &info, &limit));
                   EXPECT_EQ(SI_MESGQ, info.si_code);
                   EXPECT_EQ(1, poll(&ready, 1, 0));
                   EXPECT_EQ(POLLIN | POLLOUT, ready.revents);
                 });
}

TEST_F(Lifetime, G2_FileOperationsWork) {
  const TempDir bound;
  across_the_end(
      [](const std::string& dir) {
        create(dir + "/a");
        create(dir + "/b");
      },
      [&](const std::string& dir) {
        const std::string a = dir + "/a";
        EXPECT_OK(chmod(a.c_str(), 0644));
        EXPECT_OK(chown(a.c_str(), kAlice, kAlice));
        EXPECT_OK(truncate(a.c_str(), 7));
        const timespec times[2] = {{1000, 0}, {2000, 0}};
        EXPECT_OK(utimensat(AT_FDCWD, a.c_str(), times, 0));
        const struct stat status = status_of(a);
        EXPECT_EQ(0100644u, status.st_mode);
        EXPECT_EQ(kAlice, status.st_uid);
        EXPECT_EQ(7, status.st_size);
        EXPECT_EQ(2000, status.st_mtime);
        struct statfs file_system {};
        EXPECT_OK(statfs(dir.c_str(), &file_system));
        EXPECT_EQ(80, status_of(dir).st_size);
        ASSERT_OK(mount(dir.c_str(), bound.path().c_str(), nullptr, MS_BIND, nullptr));
        EXPECT_OK(access((bound / "b").c_str(), F_OK));
        EXPECT_OK(unlink((bound / "b").c_str()));
        EXPECT_EQ(60, status_of(dir).st_size);
        DIR* directory = opendir(dir.c_str());
        ASSERT_NE(nullptr, directory);
        std::string names;
        while (const dirent* entry = readdir(directory))
          names += std::string(entry->d_name) + " ";
        closedir(directory);
        EXPECT_EQ(". .. a ", names);
        EXPECT_ERRNO(EPERM, rename(a.c_str(), (dir + "/fresh").c_str()));
        EXPECT_ERRNO(EPERM, mkdir((dir + "/fresh").c_str(), 0700));
        EXPECT_ERRNO(EPERM, mknod((dir + "/fresh").c_str(), S_IFIFO | 0600, 0));
        EXPECT_OK(umount2(dir.c_str(), 0));
        EXPECT_OK(access((bound / "a").c_str(), F_OK));
      });
}

TEST_F(Lifetime, G3_ItCannotBeMountedAnew) {
  const TempDir second;
  across_the_end([](const std::string& dir) { create(dir + "/a"); },
                 [&](const std::string& dir) {
                   ASSERT_EQ(0, Target::current().mount(second.path()));
                   EXPECT_NE(status_of(dir).st_dev, status_of(second.path()).st_dev);
                   EXPECT_ERRNO(ENOENT, access((second / "a").c_str(), F_OK));
                   create(second / "b");
                   EXPECT_ERRNO(ENOENT, access((dir + "/b").c_str(), F_OK));
                   umount2(second.path().c_str(), MNT_DETACH);
                 });
}

// IN_UNMOUNT comes when the superblock ends; a watch does not keep it.
bool superblock_ended(int inotify) {
  alignas(inotify_event) char buffer[8192];
  const ssize_t n = read(inotify, buffer, sizeof buffer);
  for (ssize_t at = 0; at < n;) {
    const auto* event = reinterpret_cast<const inotify_event*>(buffer + at);
    if ((event->mask & IN_UNMOUNT) != 0) return true;
    at += static_cast<ssize_t>(sizeof *event) + event->len;
  }
  return false;
}

TEST_F(Lifetime, G3_ItEndsWithItsLastMountAndLastDescriptor) {
  const UniqueFd inotify(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  UniqueFd fd;
  across_the_end(
      [&](const std::string& dir) {
        fd.reset(open_queue("a", O_RDWR | O_CREAT));
        ASSERT_OK(fd.get());
        ASSERT_OK(inotify_add_watch(inotify.get(), dir.c_str(), IN_DELETE));
      },
      [&](const std::string& dir) {
        ASSERT_OK(umount2(dir.c_str(), MNT_DETACH));
        EXPECT_OK(send(fd.get(), "the descriptor keeps it"));
        EXPECT_EQ("the descriptor keeps it", receive_text(fd.get()));
        EXPECT_FALSE(superblock_ended(inotify.get()));
        fd.reset();
        EXPECT_TRUE(wait_until([&] { return superblock_ended(inotify.get()); }));
      });
}

TEST_F(Lifetime, G3_TheNamespaceAloneKeepsIt) {
  in_new_namespace([](const std::string& dir) {
    const UniqueFd inotify(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
    ASSERT_OK(inotify_add_watch(inotify.get(), dir.c_str(), IN_DELETE));
    ASSERT_OK(UniqueFd(open_queue("a", O_RDWR | O_CREAT)).get());
    ASSERT_OK(umount2(dir.c_str(), MNT_DETACH));
    EXPECT_OK(UniqueFd(open_queue("a", O_RDWR)).get());
    EXPECT_FALSE(superblock_ended(inotify.get()));
    ASSERT_OK(unshare(CLONE_NEWIPC));
    EXPECT_TRUE(wait_until([&] { return superblock_ended(inotify.get()); }));
  });
}

}  // namespace
}  // namespace mqueuefs::test
