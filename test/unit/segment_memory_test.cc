// Memory is touched only for messages that are there, and given back when a large queue drains.

#include "segment_test_support.h"

namespace mqueuefs::testing {
namespace {

constexpr uint64_t kKiB = 1024;

TEST(SegmentMemory, AnEmptyQueueCostsPagesNotMaxmsg) {
  const QueueSegment queue = make_queue(kMaxMessages, kMaxMessageSize);
  EXPECT_LE(queue.memory_bytes(), 8 * kKiB);
}

TEST(SegmentMemory, OneMessageInTheLargestQueueCostsPages) {
  QueueSegment queue = make_queue(kMaxMessages, kMaxMessageSize);
  ASSERT_TRUE(send(queue, 32767, "x"));
  EXPECT_LE(queue.memory_bytes(), 32 * kKiB);
}

TEST(SegmentMemory, ShortQueuesStayInFewPagesHoweverMuchPassesThrough) {
  QueueSegment queue = make_queue(kMaxMessages, 8192);
  for (int i = 0; i < 2000; ++i) {
    ASSERT_TRUE(send(queue, 0, "x"));
    ASSERT_TRUE(send(queue, 0, "y"));
    receive(queue);
    receive(queue);
  }
  EXPECT_LE(queue.memory_bytes(), 64 * kKiB);
}

void fill_and_drain(QueueSegment& queue, const std::string& payload) {
  const uint32_t maxmsg = queue.attributes().maxmsg;
  for (uint32_t i = 0; i < maxmsg; ++i)
    ASSERT_TRUE(send(queue, 0, payload));
  EXPECT_GE(queue.memory_bytes(), uint64_t{maxmsg} * payload.size());
  for (uint32_t i = 0; i < maxmsg; ++i)
    ASSERT_EQ(receive(queue).size(), payload.size() + 2);
}

TEST(SegmentMemory, IsGivenBackWhenALargeQueueDrains) {
  QueueSegment queue = make_queue(4096, 8192);
  fill_and_drain(queue, std::string(8192, 'p'));
  EXPECT_LE(queue.memory_bytes(), 128 * kKiB);
  EXPECT_TRUE(queue.verify());
  EXPECT_FALSE(queue.trim()) << "nothing is left to give";
}

TEST(SegmentMemory, OfAQueueThatFillsAndDrainsAllTheTimeIsGivenBackOnDemand) {
  QueueSegment queue = make_queue(500, 8192);
  for (int round = 0; round < 4; ++round) {
    fill_and_drain(queue, std::string(8192, 'p'));
    queue.trim();
    EXPECT_LE(queue.memory_bytes(), 128 * kKiB);
    ASSERT_TRUE(queue.verify());
  }
  ASSERT_TRUE(send(queue, 0, "x"));
  EXPECT_FALSE(queue.trim());
  EXPECT_EQ(receive(queue), "0:x");
}

TEST(SegmentMemory, IsGivenBackWhenOneLargeMessageWasTaken) {
  QueueSegment queue = make_queue(4, kMaxMessageSize);
  ASSERT_TRUE(send(queue, 0, std::string(kMaxMessageSize, 'x')));
  receive(queue);
  EXPECT_LE(queue.memory_bytes(), 128 * kKiB);
  ASSERT_TRUE(send(queue, 0, "again"));
  EXPECT_EQ(receive(queue), "0:again");
}

TEST(SegmentMemory, IsGivenBackForManySmallMessagesInLargeSlots) {
  QueueSegment queue = make_queue(1000, 1 << 20);
  for (int i = 0; i < 1000; ++i)
    ASSERT_TRUE(send(queue, 0, "x"));
  EXPECT_GE(queue.memory_bytes(), 4000 * kKiB);
  std::byte byte[1];
  for (int i = 0; i < 1000; ++i)
    ASSERT_TRUE(queue.try_receive(byte));
  EXPECT_LE(queue.memory_bytes(), 128 * kKiB);
}

TEST(SegmentMemory, IsGivenBackForTheCellsOfManyPriorities) {
  QueueSegment queue = make_queue(kPriorities, 8);
  for (uint32_t priority = 0; priority < kPriorities; ++priority)
    ASSERT_TRUE(send(queue, priority, "x"));
  EXPECT_GE(queue.memory_bytes(), (256 + 1024 + 2048) * kKiB);
  std::byte byte[8];
  for (uint32_t priority = 0; priority < kPriorities; ++priority)
    ASSERT_TRUE(queue.try_receive(byte));
  EXPECT_LE(queue.memory_bytes(), 128 * kKiB);
  EXPECT_TRUE(queue.verify());
}

TEST(SegmentMemory, StaysWhileMessagesAreThere) {
  QueueSegment queue = make_queue(1000, 8192);
  const std::string payload(8192, 'p');
  for (int i = 0; i < 1000; ++i)
    ASSERT_TRUE(send(queue, 0, payload));
  std::vector<std::byte> buffer(8192);
  for (int i = 0; i < 999; ++i)
    ASSERT_TRUE(queue.try_receive(buffer));
  EXPECT_EQ(receive(queue), "0:" + payload);
}

}  // namespace
}  // namespace mqueuefs::testing
