// Probing memory, and keeping connections' descriptors apart from the program's.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "client/descriptors.h"
#include "client/queue_file.h"
#include "client/user_memory.h"

namespace mqueuefs::client {
namespace {

class UserMemory : public ::testing::Test {
 protected:
  // Three pages: read and write, read only, nothing.
  UserMemory() {
    pages_ = static_cast<char*>(mmap(nullptr, 3 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    memset(pages_, 'x', 2 * kPage);
    mprotect(pages_ + kPage, kPage, PROT_READ);
    mprotect(pages_ + 2 * kPage, kPage, PROT_NONE);
  }
  ~UserMemory() override { munmap(pages_, 3 * kPage); }

  static constexpr size_t kPage = 4096;
  char* pages_;
};

TEST_F(UserMemory, ReadableIsWhatCanBeReadToTheLastByte) {
  EXPECT_TRUE(readable(pages_, 2 * kPage));
  EXPECT_TRUE(readable(pages_ + 2 * kPage - 1, 1));
  EXPECT_FALSE(readable(pages_ + 2 * kPage - 1, 2));
  EXPECT_FALSE(readable(pages_, 3 * kPage));
  EXPECT_FALSE(readable(nullptr, 1));
  EXPECT_TRUE(readable(nullptr, 0));
  EXPECT_FALSE(readable(pages_, SIZE_MAX));
  EXPECT_FALSE(readable(reinterpret_cast<void*>(UINTPTR_MAX - 10), 5));
}

TEST_F(UserMemory, WritableIsWhatCanBeWrittenToTheLastByte) {
  EXPECT_TRUE(writable(pages_, kPage));
  EXPECT_TRUE(writable(pages_ + kPage - 1, 1));
  EXPECT_FALSE(writable(pages_ + kPage - 1, 2));
  EXPECT_FALSE(writable(pages_ + kPage, 1));
  EXPECT_FALSE(writable(pages_ + 100, 3 * kPage));
  EXPECT_FALSE(writable(nullptr, 1));
  EXPECT_FALSE(writable(pages_, SIZE_MAX));
}

TEST_F(UserMemory, ProbingChangesNothing) {
  errno = 77;
  EXPECT_TRUE(writable(pages_ + 1, kPage - 1));
  EXPECT_FALSE(readable(nullptr, 1));
  EXPECT_EQ(errno, 77);
  for (size_t i = 0; i < kPage; ++i) ASSERT_EQ(pages_[i], 'x') << i;
}

TEST_F(UserMemory, LengthOfAStringThatEndsOrNot) {
  EXPECT_EQ(readable_length("four", 100), 4);
  EXPECT_EQ(readable_length("four", 2), 2);
  EXPECT_EQ(readable_length(pages_, 3 * kPage), -1);
  EXPECT_EQ(readable_length(nullptr, 10), -1);
}

TEST(Descriptors, MoveHighLeavesTheLowestNumberFree) {
  const int lowest = dup(0);
  close(lowest);
  const UniqueFd moved = move_high(UniqueFd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)));
  EXPECT_GT(moved.get(), lowest + 10);
  EXPECT_EQ(fcntl(moved.get(), F_GETFD), FD_CLOEXEC);
  const int next = dup(0);
  EXPECT_EQ(next, lowest);
  close(next);
}

TEST(Descriptors, IdentityTellsSocketsApart) {
  const UniqueFd one(socket(AF_UNIX, SOCK_STREAM, 0));
  const UniqueFd two(socket(AF_UNIX, SOCK_STREAM, 0));
  const UniqueFd copy(dup(one.get()));
  const UniqueFd file(open("/dev/null", O_RDONLY));
  EXPECT_EQ(identity_of(one.get()), identity_of(copy.get()));
  EXPECT_NE(identity_of(one.get()), identity_of(two.get()));
  EXPECT_EQ(identity_of(file.get()), SocketIdentity{});
  EXPECT_EQ(identity_of(-1), SocketIdentity{});
}

TEST(QueueFile, WhatIsNoRegularFileOnFuseIsNotOurs) {
  const UniqueFd file(open("/proc/self/exe", O_RDONLY));
  const UniqueFd directory(open("/", O_RDONLY | O_DIRECTORY));
  const UniqueFd stream(socket(AF_UNIX, SOCK_STREAM, 0));
  errno = 77;
  for (const int fd : {file.get(), directory.get(), stream.get(), -1, 9999}) EXPECT_FALSE(may_be_queue(fd)) << fd;
  EXPECT_EQ(errno, 77);
}

}  // namespace
}  // namespace mqueuefs::client
