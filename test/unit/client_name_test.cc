// The rules that the client applies before it asks anybody: names, deadlines, where the daemon may be.
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <string>

#include "client/address.h"
#include "client/queue.h"
#include "client/transfer.h"

namespace mqueuefs::client {
namespace {

TEST(QueueName, OneLeadingSlashIsStripped) {
  EXPECT_STREQ(file_name_of("/q").value(), "q");
  EXPECT_STREQ(file_name_of("q").value(), "q");
}

// doc/behaviour.md C1.
TEST(QueueName, FollowsTheKernelsRules) {
  EXPECT_EQ(file_name_of("").code(), ENOENT);
  EXPECT_EQ(file_name_of("/").code(), ENOENT);
  EXPECT_EQ(file_name_of("//a").code(), EACCES);
  EXPECT_EQ(file_name_of("/a/b").code(), EACCES);
  EXPECT_EQ(file_name_of("/.").code(), EACCES);
  EXPECT_EQ(file_name_of("..").code(), EACCES);
  EXPECT_STREQ(file_name_of("...").value(), "...");
  const std::string longest(255, 'x');
  EXPECT_TRUE(file_name_of(longest.c_str()).ok());
  EXPECT_TRUE(file_name_of(("/" + longest).c_str()).ok());
  EXPECT_EQ(file_name_of((longest + "x").c_str()).code(), ENAMETOOLONG);
}

// doc/behaviour.md E1.
TEST(DeadlineOf, ChecksItsRange) {
  EXPECT_FALSE(*deadline_of(nullptr));
  const timespec good{2, 5};
  EXPECT_EQ(**deadline_of(&good), 2'000'000'005);
  for (const timespec bad : {timespec{-1, 0}, timespec{0, -1}, timespec{0, 1'000'000'000}}) {
    EXPECT_EQ(deadline_of(&bad).code(), EINVAL);
  }
  const timespec never{INT64_MAX, 0};
  EXPECT_FALSE(*deadline_of(&never)) << "a time beyond counting is for ever";
}

class SocketAddresses : public testing::Test {
 protected:
  void SetUp() override {
    unsetenv("MQUEUEFS_SOCKET");
    unsetenv("XDG_RUNTIME_DIR");
  }
};

TEST_F(SocketAddresses, ChosenOneIsTheOnlyOne) {
  setenv("MQUEUEFS_SOCKET", "/x/y.sock", 1);
  const Addresses addresses = socket_addresses();
  ASSERT_EQ(addresses.count, 1u);
  EXPECT_STREQ(addresses.list[0].path, "/x/y.sock");
  unsetenv("MQUEUEFS_SOCKET");
}

bool in_initial_user_namespace() {
  struct stat status {};
  return stat("/proc/self/ns/user", &status) == 0 && status.st_ino == 0xEFFFFFFD;
}

TEST_F(SocketAddresses, RootUsesTheSystemsAndMayStartIt) {
  if (geteuid() != 0 || !in_initial_user_namespace()) GTEST_SKIP() << "needs root";
  const Addresses addresses = socket_addresses();
  EXPECT_EQ(addresses.domain, Domain::kSystem);
  EXPECT_STREQ(addresses.list[0].path, "/run/mqueuefs/mqueuefs.sock");
  EXPECT_TRUE(addresses.may_start);
  EXPECT_STREQ(places_to_listen().list[0].path, "/run/mqueuefs/mqueuefs.sock");
}

TEST_F(SocketAddresses, PathTooLongForASocketIsNoPlace) {
  setenv("MQUEUEFS_SOCKET", std::string(200, 'x').c_str(), 1);
  EXPECT_EQ(socket_addresses().count, 0u);
  unsetenv("MQUEUEFS_SOCKET");
}

TEST(SetName, PadsAndBounds) {
  char field[control::kNameBytes];
  memset(field, 'x', sizeof field);
  ASSERT_TRUE(set_name(field, "web").ok());
  EXPECT_STREQ(field, "web");
  EXPECT_EQ(field[255], '\0');
  EXPECT_TRUE(set_name(field, std::string(255, 'n').c_str()).ok());
  EXPECT_EQ(set_name(field, std::string(256, 'n').c_str()).code(), ENAMETOOLONG);
}

}  // namespace
}  // namespace mqueuefs::client
