// doc/behaviour.md C8: mq_unlink; and what libc makes of the system call's answer.
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "base/unique_fd.h"
#include "support/child.h"
#include "support/credentials.h"
#include "support/expect.h"
#include "support/posix_calls.h"
#include "support/target.h"

namespace mqueuefs::test {
namespace {

class Unlink : public TargetTest {};

void create_plain(const char* name, mode_t mode = 0666) {
  EXPECT_OK(UniqueFd(mq().open(name, O_RDWR | O_CREAT | O_EXCL, mode, nullptr)).get()) << name;
}

TEST_F(Unlink, C8_Names) {
  in_new_namespace([](const std::string&) {
    create_plain("/a");
    for (const char* name : {"", "a", "a/b", "."})
      EXPECT_ERRNO(EINVAL, mq().unlink(name)) << name;
    for (const char* name : {"/", "/b", "/a "})
      EXPECT_ERRNO(ENOENT, mq().unlink(name)) << name;
    for (const char* name : {"//", "//a", "/a/b", "/a/", "/.", "/.."})
      EXPECT_ERRNO(EACCES, mq().unlink(name)) << name;
    EXPECT_ERRNO(ENAMETOOLONG, mq().unlink(("/" + std::string(256, 'n')).c_str()));
    EXPECT_ERRNO(ENAMETOOLONG, mq().unlink(("/" + std::string(5000, 'n')).c_str()));
    EXPECT_ERRNO(ENOENT, mq().unlink(("/" + std::string(255, 'n')).c_str()));
    EXPECT_OK(mq().unlink("/a"));
    EXPECT_ERRNO(ENOENT, mq().unlink("/a"));
  });
}

TEST_F(Unlink, C8_StickyDirectoryIsEaccesInLibc) {
  in_new_namespace([](const std::string&) {
    create_plain("/of_root");
    run_as(kAlice, [] {
      EXPECT_ERRNO(EACCES, mq().unlink("/of_root"));
      EXPECT_ERRNO(ENOENT, mq().unlink("/missing"));
      create_plain("/of_alice");
    });
    run_as(kBob, [] { EXPECT_ERRNO(EACCES, mq().unlink("/of_alice")); });
    run_as(kAlice, [] { EXPECT_OK(mq().unlink("/of_alice")); });
    EXPECT_OK(mq().unlink("/of_root"));
  });
}

TEST_F(Unlink, C8_TheQueuesOwnModeDoesNotMatter) {
  in_new_namespace([](const std::string&) {
    run_as(kAlice, [] {
      create_plain("/a", 0);
      EXPECT_OK(mq().unlink("/a"));
    });
  });
}

TEST_F(Unlink, C8_DirectoryWithoutPermission) {
  in_new_namespace([](const std::string& dir) {
    create_plain("/a");
    ASSERT_OK(chown(dir.c_str(), kAlice, kAlice));
    for (const mode_t mode : {0500, 0600, 0400}) {
      ASSERT_OK(chmod(dir.c_str(), mode));
      run_as(kAlice, [] { EXPECT_ERRNO(EACCES, mq().unlink("/a")); });
    }
    ASSERT_OK(chmod(dir.c_str(), 0300));
    run_as(kAlice, [] { EXPECT_OK(mq().unlink("/a")); });
  });
}

TEST_F(Unlink, C8_ReadOnly) {
  in_new_namespace([](const std::string& dir) {
    create_plain("/a");
    ASSERT_EQ(0, Target::current().remount(dir, true));
    EXPECT_ERRNO(EROFS, mq().unlink("/a"));
    EXPECT_ERRNO(EROFS, mq().unlink("/missing"));
    ASSERT_EQ(0, Target::current().remount(dir, false));
    EXPECT_OK(mq().unlink("/a"));
  });
}

TEST_F(Unlink, C8_TheRawCallAnswersEpermAndTakesTheNameAsItIs) {
  in_new_namespace([](const std::string&) {
    const UniqueFd queue(mq().open("/a", O_RDWR | O_CREAT, 0666, nullptr));
    EXPECT_ERRNO(ENOENT, unlink_queue(""));
    for (const char* name : {"/", "/a", "a/b", ".", ".."})
      EXPECT_ERRNO(EACCES, unlink_queue(name)) << name;
    run_as(kAlice, [] { EXPECT_ERRNO(EPERM, unlink_queue("a")); });
    EXPECT_OK(unlink_queue("a"));
  });
}

TEST_F(Unlink, C8_ANameIsFreeAtOnceAndTheQueueLivesOn) {
  in_new_namespace([](const std::string&) {
    const UniqueFd old(mq().open("/a", O_RDWR | O_CREAT | O_EXCL | O_NONBLOCK, 0600, nullptr));
    ASSERT_OK(mq().send(old.get(), "old", 3, 0));
    ASSERT_OK(mq().unlink("/a"));
    EXPECT_ERRNO(ENOENT, mq().open("/a", O_RDWR, 0, nullptr));
    const UniqueFd anew(mq().open("/a", O_RDWR | O_CREAT | O_EXCL | O_NONBLOCK, 0600, nullptr));
    EXPECT_EQ("<EAGAIN>", receive_text(anew.get()));
    EXPECT_EQ("old", receive_text(old.get()));
  });
}

}  // namespace
}  // namespace mqueuefs::test
