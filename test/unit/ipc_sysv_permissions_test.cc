// Who may do what with a System V object: ipcperms() of ipc/util.c.
#include "unit/ipc_sysv_fixture.h"

namespace mqueuefs::ipc::sysv {
namespace {

class SysvPermissions : public SysvTest {
 protected:
  static Permissions with(mode_t mode) { return {.uid = 1, .gid = 10, .cuid = 2, .cgid = 20, .mode = mode}; }
  bool may(mode_t mode, uid_t euid, unsigned flags, gid_t egid = 99) {
    return may_access(with(mode), Caller{1, 1, euid, egid, &rights}, flags);
  }
};

TEST_F(SysvPermissions, OwnerAndCreatorHaveTheUsersBits) {
  EXPECT_TRUE(may(0600, 1, kRead | kWrite));
  EXPECT_TRUE(may(0600, 2, kRead | kWrite));
  EXPECT_FALSE(may(0600, 3, kRead));
  EXPECT_FALSE(may(0077, 1, kRead));
}

TEST_F(SysvPermissions, BothGroupsHaveTheGroupsBits) {
  EXPECT_TRUE(may(0060, 3, kWrite, 10));
  EXPECT_TRUE(may(0060, 3, kWrite, 20));
  EXPECT_FALSE(may(0006, 3, kWrite, 20));
  rights.groups = {20};
  EXPECT_TRUE(may(0060, 3, kWrite));
  EXPECT_FALSE(may(0606, 3, kWrite));
}

TEST_F(SysvPermissions, OthersHaveTheRest) {
  EXPECT_TRUE(may(0004, 3, kRead));
  EXPECT_FALSE(may(0004, 3, kRead | kWrite));
  EXPECT_FALSE(may(0660, 3, kRead));
}

TEST_F(SysvPermissions, BitsAskedForInAnyPlaceAreTheSame) {
  EXPECT_TRUE(may(0400, 1, 0004));
  EXPECT_FALSE(may(0400, 1, 0002));
  EXPECT_FALSE(may(0400, 1, 0420));
  EXPECT_TRUE(may(0, 3, 0));
}

TEST_F(SysvPermissions, CapIpcOwnerPassesAll) {
  rights.ipc_owner = true;
  EXPECT_TRUE(may(0, 1, kRead | kWrite | kExecute));
  EXPECT_TRUE(may(0, 3, kWrite));
}

TEST_F(SysvPermissions, WhatDoesNotMatterIsNotAsked) {
  may(0600, 1, kRead), may(0666, 3, kRead), may(0060, 3, kRead, 10);
  EXPECT_EQ(0, rights.asked);
  may(0600, 3, kRead);
  EXPECT_EQ(1, rights.asked);  // for the capability alone: both groups and others lack the bit
}

TEST_F(SysvPermissions, OnlyOwnerCreatorAndAdministratorControl) {
  const auto control = [&](uid_t euid) { return may_control(with(0666), Caller{1, 1, euid, 10, &rights}).code(); };
  EXPECT_EQ(0, control(1));
  EXPECT_EQ(0, control(2));
  EXPECT_EQ(EPERM, control(3));
  rights.ipc_owner = true;
  EXPECT_EQ(EPERM, control(3));
  rights.administrator = true;
  EXPECT_EQ(0, control(3));
}

TEST_F(SysvPermissions, LimitsAreSetByNameInTheirRanges) {
  EXPECT_EQ(32000u, limits.msgmni);
  EXPECT_TRUE(limits.set("msgmni", 32768).ok());
  EXPECT_EQ(EINVAL, limits.set("msgmni", 32769).code());
  EXPECT_EQ(EINVAL, limits.set("semmni", 32769).code());
  EXPECT_EQ(EINVAL, limits.set("shmmni", 32769).code());
  EXPECT_TRUE(limits.set("shmmax", UINT64_MAX).ok());
  EXPECT_TRUE(limits.set("shmall", 0).ok());
  EXPECT_EQ(EINVAL, limits.set("msgmnb", uint64_t{1} << 31).code());
  EXPECT_EQ(500u, limits.semopm);
  EXPECT_TRUE(limits.set("semopm", 1).ok());
}

}  // namespace
}  // namespace mqueuefs::ipc::sysv
