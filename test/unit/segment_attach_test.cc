// What is accepted as a segment: only sealed memory of the right size and identity. All else is EUCLEAN.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>

#include "segment_test_support.h"

namespace mqueuefs::testing {
namespace {

constexpr QueueAttributes kAttributes{10, 100};
constexpr int kSizeSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

int attach_code(int fd, QueueAttributes attributes = kAttributes) {
  return QueueSegment::attach(UniqueFd(fd), attributes).code();
}

// A memfd that is right in everything but what the arguments say.
int make_memfd(uint64_t size, int seals, const QueueSegment& contents) {
  const int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  MQUEUEFS_CHECK(ftruncate(fd, static_cast<off_t>(size)) == 0);
  const Intruder intruder(contents);
  MQUEUEFS_CHECK(pwrite(fd, intruder.base(), sizeof(Header), 0) == sizeof(Header));
  MQUEUEFS_CHECK(fcntl(fd, F_ADD_SEALS, seals) == 0);
  return fd;
}

class SegmentAttach : public ::testing::Test {
 protected:
  QueueSegment queue_ = make_queue(kAttributes.maxmsg, kAttributes.msgsize);
  const uint64_t size_ = Layout::of(kAttributes).size;
};

TEST_F(SegmentAttach, AcceptsWhatCreateMade) {
  ASSERT_TRUE(send(queue_, 1, "x"));
  Result<QueueSegment> same = QueueSegment::attach(UniqueFd(dup(queue_.memfd())), kAttributes);
  ASSERT_TRUE(same);
  EXPECT_TRUE(same->mapped());
  EXPECT_TRUE(same->verify());
  EXPECT_EQ(receive(*same), "1:x");
  EXPECT_EQ(receive(queue_), "EAGAIN");
}

TEST_F(SegmentAttach, AcceptsACopyWithTheSameSealsOnly) {
  EXPECT_EQ(attach_code(make_memfd(size_, kSizeSeals, queue_)), 0);
  EXPECT_EQ(attach_code(make_memfd(size_, 0, queue_)), EUCLEAN);
  for (const int missing : {F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_SEAL}) {
    EXPECT_EQ(attach_code(make_memfd(size_, kSizeSeals & ~missing, queue_)), EUCLEAN) << missing;
  }
  EXPECT_EQ(attach_code(make_memfd(size_, kSizeSeals | F_SEAL_WRITE, queue_)), EUCLEAN);
  EXPECT_EQ(attach_code(make_memfd(size_, kSizeSeals | 0x0010 /* F_SEAL_FUTURE_WRITE */, queue_)), EUCLEAN);
}

TEST_F(SegmentAttach, RejectsOtherSizes) {
  EXPECT_EQ(attach_code(make_memfd(size_ - kSegmentPage, kSizeSeals, queue_)), EUCLEAN);
  EXPECT_EQ(attach_code(make_memfd(size_ + kSegmentPage, kSizeSeals, queue_)), EUCLEAN);
  EXPECT_EQ(attach_code(make_memfd(size_ - 1, kSizeSeals, queue_)), EUCLEAN);
}

TEST_F(SegmentAttach, RejectsOtherAttributes) {
  for (const QueueAttributes& other :
       {QueueAttributes{11, 100}, {9, 100}, {10, 99}, {10, 101}, {0, 0}, {70'000, 1}}) {
    EXPECT_EQ(attach_code(dup(queue_.memfd()), other), EUCLEAN) << other.maxmsg << " " << other.msgsize;
  }
}

TEST_F(SegmentAttach, RejectsDescriptorsThatAreNotSealedMemory) {
  EXPECT_EQ(attach_code(-1), EUCLEAN);
  EXPECT_EQ(attach_code(open("/dev/null", O_RDWR | O_CLOEXEC)), EUCLEAN);
  EXPECT_EQ(attach_code(open("/", O_RDONLY | O_CLOEXEC)), EUCLEAN);
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  EXPECT_EQ(attach_code(ends[0]), EUCLEAN);
  EXPECT_EQ(attach_code(ends[1]), EUCLEAN);
  FILE* const file = tmpfile();
  ASSERT_NE(file, nullptr);
  ASSERT_EQ(ftruncate(fileno(file), static_cast<off_t>(size_)), 0);
  EXPECT_EQ(attach_code(dup(fileno(file))), EUCLEAN);
  fclose(file);
}

TEST_F(SegmentAttach, RejectsHugePages) {
  // A segment whose size is right for huge pages too: they could run out when they are touched.
  constexpr uint32_t kHugePage = 2 << 20;
  constexpr QueueAttributes kHuge{57'024, kHugePage};
  constexpr uint64_t kHugeSize = Layout::of(kHuge).size;
  static_assert(kHugeSize % kHugePage == 0);
  const int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB);
  if (fd < 0) GTEST_SKIP() << "no hugetlb memory here";
  if (ftruncate(fd, static_cast<off_t>(kHugeSize)) != 0 || fcntl(fd, F_ADD_SEALS, kSizeSeals) != 0) {
    close(fd);
    GTEST_SKIP() << "no huge pages of 2 MiB here";
  }
  EXPECT_EQ(attach_code(fd, kHuge), EUCLEAN);
}

TEST_F(SegmentAttach, RejectsAReadOnlyDescriptor) {
  const std::string path = "/proc/self/fd/" + std::to_string(queue_.memfd());
  EXPECT_EQ(attach_code(open(path.c_str(), O_RDONLY | O_CLOEXEC)), EUCLEAN);
}

TEST_F(SegmentAttach, RejectsAChangedIdentity) {
  const Intruder intruder(queue_);
  Header& header = intruder.view().header();
  const auto rejects = [&](auto& word) {
    const auto value = load_once(word);
    store(word, static_cast<std::decay_t<decltype(value)>>(value + 1));
    EXPECT_EQ(attach_code(dup(queue_.memfd())), EUCLEAN)
        << "word at " << reinterpret_cast<std::byte*>(&word) - intruder.base();
    store(word, value);
    EXPECT_EQ(attach_code(dup(queue_.memfd())), 0);
  };
  rejects(header.magic);
  rejects(header.version);
  rejects(header.maxmsg);
  rejects(header.msgsize);
  rejects(header.slots);
  rejects(header.priorities);
  rejects(header.payload_stride);
  rejects(header.leaf_offset);
  rejects(header.priority_offset);
  rejects(header.slot_offset);
  rejects(header.payload_offset);
  rejects(header.size);
  rejects(header.dead);
}

TEST_F(SegmentAttach, SealsTheSizeOfWhatItMakes) {
  EXPECT_EQ(fcntl(queue_.memfd(), F_GET_SEALS) & kSizeSeals, kSizeSeals);
  EXPECT_EQ(ftruncate(queue_.memfd(), 0), -1);
  EXPECT_EQ(ftruncate(queue_.memfd(), static_cast<off_t>(2 * size_)), -1);
  EXPECT_EQ(fcntl(queue_.memfd(), F_ADD_SEALS, F_SEAL_WRITE), -1);
  EXPECT_EQ(fcntl(queue_.memfd(), F_GETFD), FD_CLOEXEC);
}

}  // namespace
}  // namespace mqueuefs::testing
