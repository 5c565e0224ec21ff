#include <gtest/gtest.h>
#include <unistd.h>

#include "daemon/target_identity.h"

namespace mqueuefs::daemon {
namespace {

TEST(TargetIdentity, IsReadFromTheText) {
  const auto identity = parse_identity(
      "Name:\tUid:\t9 9 9 9\nUmask:\t0027\nState:\tR (running)\nTgid:\t12\nPid:\t13\n"
      "Uid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nGroups:\t10 20 \nNStgid:\t12\nCapEff:\t0000000000200002\n");
  ASSERT_TRUE(identity.ok());
  EXPECT_EQ(12, identity->process);
  EXPECT_EQ((std::array<uid_t, 4>{1, 2, 3, 4}), identity->uids);
  EXPECT_EQ((std::array<gid_t, 4>{5, 6, 7, 8}), identity->gids);
  EXPECT_EQ((std::vector<gid_t>{10, 20}), identity->groups);
  EXPECT_EQ(0x200002u, identity->capabilities);
  EXPECT_EQ(0027u, identity->mask);
}

TEST(TargetIdentity, NoGroupsAreNone) {
  const auto identity = parse_identity("Tgid:\t1\nUid:\t1 1 1 1\nGid:\t1 1 1 1\nGroups:\t\nNSpid:\t77\n");
  ASSERT_TRUE(identity.ok());
  EXPECT_TRUE(identity->groups.empty());
}

TEST(TargetIdentity, NonsenseIsAnError) {
  for (const char* text : {"", "Tgid:\t1\n", "Tgid:\t1\nUid:\t1 2 3\nGid:\t1 2 3 4\n", "Tgid:\tx\n"})
    EXPECT_EQ(EIO, parse_identity(text).code()) << text;
}

TEST(TargetIdentity, OfOneself) {
  const auto identity = read_identity(getpid());
  ASSERT_TRUE(identity.ok());
  EXPECT_EQ(getpid(), identity->process);
  EXPECT_EQ(geteuid(), identity->uids[1]);
  EXPECT_EQ(ESRCH, read_identity(-1).code());
}

}  // namespace
}  // namespace mqueuefs::daemon
