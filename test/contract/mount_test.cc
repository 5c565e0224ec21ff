// doc/behaviour.md A3, A4, A12, A13: mounts of a namespace, who may make them, read-only ones, and inotify.
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <vector>

#include "base/unique_fd.h"
#include "support/capability_check.h"
#include "support/child.h"
#include "support/credentials.h"
#include "support/expect.h"
#include "support/files.h"
#include "support/target.h"
#include "support/temp_dir.h"
#include "support/wait.h"

namespace mqueuefs::test {
namespace {

class Mount : public TargetTest {};

struct MountLine {
  std::string options, type, source, super_options;
};

MountLine mount_line_of(const std::string& dir) {
  std::ifstream mountinfo("/proc/self/mountinfo");
  MountLine found;
  for (std::string line; std::getline(mountinfo, line);) {
    std::istringstream fields(line);
    std::string id, parent, device, root, mount_point, optional;
    MountLine one;
    fields >> id >> parent >> device >> root >> mount_point >> one.options;
    while (fields >> optional && optional != "-") {
    }
    fields >> one.type >> one.source >> one.super_options;
    if (mount_point == dir) found = one;
  }
  return found;
}

TEST_F(Mount, A3_ASecondMountIsTheSameSuperblock) {
  const TempDir second;
  in_new_namespace([&](const std::string& dir) {
    create(dir + "/a");
    ASSERT_EQ(0, Target::current().mount(second.path(), {"second"}));
    EXPECT_EQ(status_of(dir).st_dev, status_of(second.path()).st_dev);
    EXPECT_EQ(status_of(dir).st_ino, status_of(second.path()).st_ino);
    EXPECT_EQ(status_of(dir + "/a").st_ino, status_of(second / "a").st_ino);
    create(second / "b");
    EXPECT_OK(access((dir + "/b").c_str(), F_OK));
    ASSERT_OK(umount2(dir.c_str(), 0));
    EXPECT_OK(access((second / "a").c_str(), F_OK));
  });
}

TEST_F(Mount, A3_TheNamespaceKeepsItsQueuesWhileNothingIsMounted) {
  in_new_namespace([](const std::string& dir) {
    const UniqueFd fd(open_queue("a", O_RDWR | O_CREAT));
    ASSERT_OK(send(fd.get(), "kept"));
    const struct stat before = status_of(dir);
    ASSERT_OK(umount2(dir.c_str(), 0));
    EXPECT_OK(unlink_queue("a"));
    const UniqueFd second(open_queue("b", O_RDWR | O_CREAT));
    EXPECT_OK(second.get());
    ASSERT_EQ(0, Target::current().mount(dir));
    EXPECT_EQ(before.st_dev, status_of(dir).st_dev);
    EXPECT_ERRNO(ENOENT, access((dir + "/a").c_str(), F_OK));
    EXPECT_OK(access((dir + "/b").c_str(), F_OK));
    EXPECT_EQ("kept", receive_text(fd.get()));
  });
}

TEST_F(Mount, A3_AnotherNamespaceIsAnotherSuperblock) {
  const TempDir second;
  in_new_namespace([&](const std::string& dir) {
    create(dir + "/a");
    ASSERT_OK(unshare(CLONE_NEWIPC));
    ASSERT_EQ(0, Target::current().mount(second.path()));
    EXPECT_NE(status_of(dir).st_dev, status_of(second.path()).st_dev);
    EXPECT_ERRNO(ENOENT, access((second / "a").c_str(), F_OK));
    EXPECT_ERRNO(ENOENT, open_queue("a", O_RDWR));
    umount2(second.path().c_str(), MNT_DETACH);
  });
}

TEST_F(Mount, A3_TheSourceIsKept) {
  const TempDir second;
  in_new_namespace([&](const std::string& dir) {
    ASSERT_EQ(0, Target::current().mount(second.path(), {"a_source"}));
    EXPECT_EQ("none", mount_line_of(dir).source);
    EXPECT_EQ("a_source", mount_line_of(second.path()).source);
    EXPECT_EQ(Target::current().file_system_type(), mount_line_of(dir).type);
    EXPECT_EQ(Target::current().file_system_type(), mount_line_of(second.path()).type);
    umount2(second.path().c_str(), MNT_DETACH);
  });
}

TEST_F(Mount, A3_NothingCanBeExecuted) {
  in_new_namespace([](const std::string& dir) {
    const std::string a = dir + "/a";
    create(a, 0755);
    char* const no_arguments[] = {nullptr};
    EXPECT_ERRNO(EACCES, execve(a.c_str(), no_arguments, no_arguments));
    const UniqueFd fd(open(a.c_str(), O_RDONLY | O_CLOEXEC));
    EXPECT_ERRNO(EPERM, mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd.get(), 0));
  });
}

TEST_F(Mount, A4_ANamespaceOfAnotherUserNamespaceIsRefused) {
  const TempDir second;
  in_new_namespace([&](const std::string&) {
    run_in_child([&] {
      if (!enter_user_namespace()) GTEST_SKIP() << "needs user namespaces";
      ASSERT_OK(unshare(CLONE_NEWNS));
      EXPECT_EQ(EPERM, Target::current().mount(second.path()));
    });
  });
}

TEST_F(Mount, A4_AnOrdinaryUserMountsANamespaceThatItOwns) {
  if (!CapabilityCheck::ordinary_user_can_unshare_user()) GTEST_SKIP() << "needs user namespaces";
  const TempDir dir;
  run_as(kNobody, [&] {
    ASSERT_TRUE(enter_user_namespace());
    ASSERT_OK(unshare(CLONE_NEWIPC | CLONE_NEWNS));
    ASSERT_EQ(0, Target::current().mount(dir.path()));
    create(dir / "a");
    EXPECT_EQ(041777u, status_of(dir.path()).st_mode);
    EXPECT_EQ(0u, status_of(dir.path()).st_uid);
    EXPECT_EQ(0u, status_of(dir / "a").st_uid);
    const UniqueFd fd(open_queue("a", O_RDWR));
    ASSERT_OK(fd.get());
    EXPECT_OK(send(fd.get(), "mine"));
    EXPECT_EQ("mine", receive_text(fd.get()));
    umount2(dir.path().c_str(), MNT_DETACH);
  });
}

TEST_F(Mount, A4_AnOrdinaryUserWithoutNamespacesMayNotMount) {
  const TempDir second;
  in_new_namespace([&](const std::string&) {
    run_as(kAlice, [&] { EXPECT_EQ(EPERM, Target::current().mount(second.path())); });
  });
}

TEST_F(Mount, A12_AReadOnlySuperblockKeepsNamesAndModesAsTheyAre) {
  in_new_namespace([](const std::string& dir) {
    UniqueFd writer(open_queue("a", O_RDWR | O_CREAT));
    ASSERT_OK(send(writer.get(), "through"));
    EXPECT_EQ(EBUSY, Target::current().remount(dir, true)) << "a queue is open for writing";
    writer.reset();
    ASSERT_EQ(0, Target::current().remount(dir, true));
    EXPECT_ERRNO(EROFS, open((dir + "/fresh").c_str(), O_RDWR | O_CREAT, 0600));
    EXPECT_ERRNO(EROFS, mknod((dir + "/fresh").c_str(), S_IFREG | 0600, 0));
    EXPECT_ERRNO(EROFS, open_queue("fresh", O_RDWR | O_CREAT));
    EXPECT_ERRNO(EROFS, unlink((dir + "/a").c_str()));
    EXPECT_ERRNO(EROFS, unlink_queue("a"));
    EXPECT_ERRNO(EROFS, chmod((dir + "/a").c_str(), 0666));
    EXPECT_ERRNO(EROFS, open((dir + "/a").c_str(), O_RDWR));
    EXPECT_ERRNO(EROFS, open_queue("a", O_WRONLY));
    EXPECT_ERRNO(EROFS, open_queue("a", O_RDWR));
    // Messages are not the file: they still come out.
    const UniqueFd reader(open_queue("a", O_RDONLY));
    ASSERT_OK(reader.get());
    EXPECT_EQ("through", receive_text(reader.get()));
    const UniqueFd opened(open((dir + "/a").c_str(), O_RDONLY | O_CLOEXEC));
    EXPECT_OK(opened.get());
    ASSERT_EQ(0, Target::current().remount(dir, false));
    EXPECT_OK(chmod((dir + "/a").c_str(), 0666));
    writer.reset(open_queue("a", O_RDWR));
    EXPECT_OK(writer.get());
    EXPECT_OK(unlink_queue("a"));
  });
}

TEST_F(Mount, A12_MountingReadOnlyBlocksOnlyThatMount) {
  const TempDir second;
  in_new_namespace([&](const std::string& dir) {
    ASSERT_EQ(0, Target::current().mount(second.path(), {"none", true}));
    EXPECT_ERRNO(EROFS, open((second / "a").c_str(), O_RDWR | O_CREAT, 0600));
    EXPECT_ERRNO(EROFS, mknod((second / "a").c_str(), S_IFREG | 0600, 0));
    create(dir + "/a");
    EXPECT_OK(UniqueFd(open_queue("a", O_RDWR)).get());
    EXPECT_ERRNO(EROFS, unlink((second / "a").c_str()));
    EXPECT_ERRNO(EROFS, chmod((second / "a").c_str(), 0666));
    EXPECT_OK(unlink_queue("a"));
    umount2(second.path().c_str(), MNT_DETACH);
  });
}

TEST_F(Mount, A12_AReadOnlyBindMountBlocksOnlyItself) {
  const TempDir bound;
  in_new_namespace([&](const std::string& dir) {
    create(dir + "/a");
    ASSERT_OK(mount(dir.c_str(), bound.path().c_str(), nullptr, MS_BIND, nullptr));
    ASSERT_OK(mount(nullptr, bound.path().c_str(), nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY, nullptr));
    EXPECT_ERRNO(EROFS, open((bound / "fresh").c_str(), O_RDWR | O_CREAT, 0600));
    EXPECT_ERRNO(EROFS, unlink((bound / "a").c_str()));
    EXPECT_ERRNO(EROFS, open((bound / "a").c_str(), O_RDWR));
    const UniqueFd read_only(open((bound / "a").c_str(), O_RDONLY | O_CLOEXEC));
    EXPECT_OK(read_only.get());
    const UniqueFd writer(open_queue("a", O_RDWR));
    EXPECT_OK(writer.get());
    create(dir + "/fresh");
    EXPECT_OK(access((bound / "fresh").c_str(), F_OK));
    EXPECT_OK(unlink((dir + "/fresh").c_str()));
  });
}

// The events so far, in order, as "name:mask" with the mask's low bits; the watch of the directory.
std::vector<std::string> events_of(int inotify) {
  std::vector<std::string> events;
  alignas(inotify_event) char buffer[8192];
  const ssize_t n = read(inotify, buffer, sizeof buffer);
  for (ssize_t at = 0; at < n;) {
    const auto* event = reinterpret_cast<const inotify_event*>(buffer + at);
    std::string text = event->len > 0 ? event->name : "";
    static constexpr std::pair<uint32_t, const char*> kNames[] = {
        {IN_CREATE, ":create"},       {IN_OPEN, ":open"},      {IN_CLOSE_WRITE, ":close_write"},
        {IN_CLOSE_NOWRITE, ":close"}, {IN_DELETE, ":delete"},  {IN_ACCESS, ":access"},
        {IN_MODIFY, ":modify"},       {IN_ATTRIB, ":attrib"},  {IN_DELETE_SELF, ":delete_self"},
        {IN_IGNORED, ":ignored"},     {IN_UNMOUNT, ":unmount"}};
    for (const auto& [bit, name] : kNames) {
      if ((event->mask & bit) != 0) text += name;
    }
    events.push_back(text);
    at += static_cast<ssize_t>(sizeof *event) + event->len;
  }
  return events;
}

using Events = std::vector<std::string>;

TEST_F(Mount, A13_InotifySeesTheFilesLives) {
  in_new_namespace([](const std::string& dir) {
    const UniqueFd inotify(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
    ASSERT_OK(inotify_add_watch(inotify.get(), dir.c_str(), IN_ALL_EVENTS));
    const std::string a = dir + "/a";
    UniqueFd fd(open(a.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    EXPECT_EQ((Events{"a:create", "a:open"}), events_of(inotify.get()));
    char text[100];
    EXPECT_EQ(60, read(fd.get(), text, sizeof text));
    EXPECT_EQ((Events{"a:access"}), events_of(inotify.get()));
    fd.reset();
    EXPECT_EQ((Events{"a:close_write"}), events_of(inotify.get()));
    fd.reset(open(a.c_str(), O_RDONLY | O_CLOEXEC));
    fd.reset();
    EXPECT_EQ((Events{"a:open", "a:close"}), events_of(inotify.get()));
    EXPECT_OK(chmod(a.c_str(), 0666));
    EXPECT_EQ((Events{"a:attrib"}), events_of(inotify.get()));
    EXPECT_OK(truncate(a.c_str(), 7));
    EXPECT_EQ((Events{"a:modify"}), events_of(inotify.get()));
    EXPECT_OK(unlink(a.c_str()));
    EXPECT_EQ((Events{"a:delete"}), events_of(inotify.get()));
    EXPECT_OK(mknod(a.c_str(), S_IFREG | 0600, 0));
    EXPECT_EQ((Events{"a:create"}), events_of(inotify.get()));
  });
}

TEST_F(Mount, A13_InotifySeesMqOpenAndMqUnlink) {
  in_new_namespace([](const std::string& dir) {
    const UniqueFd inotify(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
    ASSERT_OK(inotify_add_watch(inotify.get(), dir.c_str(), IN_ALL_EVENTS));
    UniqueFd fd(open_queue("a", O_RDWR | O_CREAT));
    ASSERT_OK(fd.get());
    EXPECT_EQ((Events{"a:create", "a:open"}), events_of(inotify.get()));
    fd.reset();
    // Who put the descriptor into this process (target seccomp) may have it for a moment longer.
    Events closed;
    EXPECT_TRUE(wait_until([&] {
      if (closed.empty()) closed = events_of(inotify.get());
      return !closed.empty();
    }));
    EXPECT_EQ((Events{"a:close_write"}), closed);
    EXPECT_OK(unlink_queue("a"));
    EXPECT_EQ((Events{"a:delete"}), events_of(inotify.get()));
  });
}

TEST_F(Mount, A13_MessagesAreNoEvents) {
  in_new_namespace([](const std::string& dir) {
    const UniqueFd fd(open_queue("a", O_RDWR | O_CREAT));
    ASSERT_OK(fd.get());
    const UniqueFd inotify(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
    ASSERT_OK(inotify_add_watch(inotify.get(), dir.c_str(), IN_ALL_EVENTS));
    ASSERT_OK(inotify_add_watch(inotify.get(), (dir + "/a").c_str(), IN_ALL_EVENTS));
    ASSERT_OK(send(fd.get(), "x"));
    EXPECT_EQ("x", receive_text(fd.get()));
    mq_attr attributes{};
    ASSERT_OK(get_attributes(fd.get(), &attributes));
    attributes.mq_flags = O_NONBLOCK;
    ASSERT_OK(set_attributes(fd.get(), &attributes));
    EXPECT_EQ(Events{}, events_of(inotify.get()));
  });
}

}  // namespace
}  // namespace mqueuefs::test
