// Order, limits and putting back: what a queue does when nobody tampers with it.

#include <sys/wait.h>

#include <algorithm>
#include <random>

#include "segment_test_support.h"

namespace mqueuefs::testing {
namespace {

TEST(SegmentQueue, ReceivesByPriorityAndThenFirstInFirstOut) {
  QueueSegment queue = make_queue(10, 16);
  for (const auto& [priority, text] :
       {std::pair{1, "a"}, {32767, "b"}, {0, "c"}, {1, "d"}, {32767, "e"}, {64, "f"}}) {
    ASSERT_TRUE(send(queue, static_cast<uint32_t>(priority), text));
    ASSERT_TRUE(queue.verify());
  }
  for (const char* expected : {"32767:b", "32767:e", "64:f", "1:a", "1:d", "0:c", "EAGAIN"}) {
    EXPECT_EQ(receive(queue), expected);
    ASSERT_TRUE(queue.verify());
  }
}

TEST(SegmentQueue, OrdersAllPriorities) {
  QueueSegment queue = make_queue(kPriorities, 4);
  std::vector<uint32_t> priorities(kPriorities);
  for (uint32_t i = 0; i < kPriorities; ++i)
    priorities[i] = i;
  std::shuffle(priorities.begin(), priorities.end(), std::mt19937(1));
  for (const uint32_t priority : priorities)
    ASSERT_TRUE(send(queue, priority, "x"));
  ASSERT_TRUE(queue.verify());
  for (uint32_t priority = kPriorities; priority-- > 0;) {
    ASSERT_EQ(queue.front()->priority, priority);
    ASSERT_EQ(receive(queue), std::to_string(priority) + ":x");
  }
  EXPECT_EQ(queue.front().code(), EAGAIN);
}

TEST(SegmentQueue, SequencesCountArrivals) {
  QueueSegment queue = make_queue(4, 8);
  EXPECT_EQ(send(queue, 3, "a")->sequence, 1u);
  EXPECT_EQ(queue.take_sequence(), 2u);
  EXPECT_EQ(send(queue, 3, "b")->sequence, 3u);
  EXPECT_TRUE(queue.verify());
}

TEST(SegmentQueue, FullQueueRejectsAndTakesAgainAfterAReceive) {
  QueueSegment queue = make_queue(3, 8);
  for (int i = 0; i < 3; ++i)
    ASSERT_TRUE(send(queue, 0, "x"));
  EXPECT_EQ(send(queue, 5, "y").code(), EAGAIN);
  EXPECT_EQ(queue.messages(), 3u);
  EXPECT_EQ(receive(queue), "0:x");
  EXPECT_TRUE(send(queue, 5, "y"));
  EXPECT_EQ(receive(queue), "5:y");
}

TEST(SegmentQueue, RejectsBadArgumentsAndChangesNothing) {
  QueueSegment queue = make_queue(1, 4);
  EXPECT_EQ(send(queue, kPriorities, "a").code(), EINVAL);
  EXPECT_EQ(send(queue, kPriorities, "too long").code(), EINVAL);
  EXPECT_EQ(send(queue, 0, "12345").code(), EMSGSIZE);
  ASSERT_TRUE(send(queue, 0, "1234"));
  EXPECT_EQ(send(queue, 0, "12345").code(), EMSGSIZE) << "before EAGAIN, as in SPEC E2";
  std::byte small[3];
  EXPECT_EQ(queue.try_receive(small).code(), EMSGSIZE);
  EXPECT_EQ(queue.payload_bytes(), 4u);
  EXPECT_EQ(receive(queue), "0:1234");
  EXPECT_TRUE(queue.verify());
}

TEST(SegmentQueue, RejectsAttributesOutOfRange) {
  for (const QueueAttributes& bad :
       {QueueAttributes{0, 1}, {1, 0}, {kMaxMessages + 1, 1}, {1, kMaxMessageSize + 1}}) {
    EXPECT_EQ(QueueSegment::create(bad).code(), EINVAL) << bad.maxmsg << " " << bad.msgsize;
  }
}

TEST(SegmentQueue, ZeroLengthIsAMessage) {
  QueueSegment queue = make_queue(2, 1);
  ASSERT_TRUE(queue.try_send(7, {}));
  EXPECT_EQ(queue.messages(), 1u);
  EXPECT_EQ(queue.payload_bytes(), 0u);
  PeekPosition position;
  EXPECT_EQ(peek(queue, position), "7:");
  const Result<MessageInfo> info = queue.try_receive({});
  ASSERT_TRUE(info);
  EXPECT_EQ(info->size, 0u);
}

TEST(SegmentQueue, CountsMessagesAndPayloadBytes) {
  QueueSegment queue = make_queue(4, 8);
  ASSERT_TRUE(send(queue, 0, "123"));
  ASSERT_TRUE(send(queue, 1, "45678"));
  EXPECT_EQ(queue.messages(), 2u);
  EXPECT_EQ(queue.payload_bytes(), 8u);
  receive(queue);
  EXPECT_EQ(queue.payload_bytes(), 3u);
}

TEST(SegmentQueue, PutBackReturnsAMessageToItsPlace) {
  QueueSegment queue = make_queue(8, 8);
  std::vector<MessageInfo> infos;
  for (const char* text : {"a", "b", "c", "d"})
    infos.push_back(*send(queue, 2, text));
  for (int i = 0; i < 3; ++i)
    receive(queue);
  ASSERT_TRUE(queue.put_back(infos[1], bytes_of("b")));  // before d
  ASSERT_TRUE(queue.put_back(infos[0], bytes_of("a")));  // at the front
  ASSERT_TRUE(queue.put_back(infos[2], bytes_of("c")));  // in the middle
  ASSERT_TRUE(queue.verify());
  for (const char* expected : {"2:a", "2:b", "2:c", "2:d", "EAGAIN"})
    EXPECT_EQ(receive(queue), expected);
}

TEST(SegmentQueue, PutBackOfAMessageThatNeverEntered) {
  QueueSegment queue = make_queue(2, 8);
  const uint64_t handed_over = queue.take_sequence();
  ASSERT_TRUE(send(queue, 2, "later"));
  ASSERT_TRUE(queue.put_back({2, 5, handed_over}, bytes_of("first")));
  EXPECT_EQ(receive(queue), "2:first");
  EXPECT_EQ(receive(queue), "2:later");
}

TEST(SegmentQueue, PutBackFillsAnEmptyQueueWithSequencesOfAnEarlierOne) {
  QueueSegment queue = make_queue(4, 8);
  ASSERT_TRUE(queue.put_back({1, 1, 40}, bytes_of("a")));
  ASSERT_TRUE(queue.put_back({1, 1, 41}, bytes_of("b")));
  ASSERT_TRUE(queue.verify());
  EXPECT_EQ(send(queue, 1, "c")->sequence, 42u);
}

TEST(SegmentQueue, PutBackMayExceedMaxmsgUntilTheSpareSlotsAreUsedUp) {
  QueueSegment queue = make_queue(2, 8);
  ASSERT_TRUE(send(queue, 0, "x"));
  ASSERT_TRUE(send(queue, 0, "x"));
  uint64_t sequence = 100;
  for (uint32_t i = 0; i < kSpareSlots; ++i)
    ASSERT_TRUE(queue.put_back({0, 1, ++sequence}, bytes_of("y")));
  EXPECT_EQ(queue.put_back({0, 1, ++sequence}, bytes_of("y")).code(), EAGAIN);
  EXPECT_EQ(queue.messages(), 2 + kSpareSlots);
  EXPECT_TRUE(queue.verify());
  EXPECT_EQ(send(queue, 0, "z").code(), EAGAIN);
}

TEST(SegmentQueue, PutBackRejectsWhatCannotHaveBeenTaken) {
  QueueSegment queue = make_queue(4, 4);
  const MessageInfo queued = *send(queue, 0, "x");
  ASSERT_TRUE(send(queue, 0, "y"));
  EXPECT_EQ(queue.put_back(queued, bytes_of("x")).code(), EINVAL) << "it is there";
  EXPECT_EQ(queue.put_back({kPriorities, 1, 1}, bytes_of("x")).code(), EINVAL);
  EXPECT_EQ(queue.put_back({0, 1, 0}, bytes_of("x")).code(), EINVAL);
  EXPECT_EQ(queue.put_back({0, 1, kLastSequence}, bytes_of("x")).code(), EINVAL);
  EXPECT_EQ(queue.put_back({0, 2, 1}, bytes_of("x")).code(), EINVAL) << "size and payload differ";
  EXPECT_EQ(queue.put_back({0, 5, 1}, bytes_of("12345")).code(), EMSGSIZE);
  EXPECT_EQ(queue.messages(), 2u);
  EXPECT_TRUE(queue.verify());
}

TEST(SegmentQueue, MessagesOutliveTheMapping) {
  QueueSegment queue = make_queue(4, 8);
  ASSERT_TRUE(send(queue, 9, "kept"));
  queue.unmap();
  EXPECT_FALSE(queue.mapped());
  queue.unmap();
  ASSERT_TRUE(queue.map());
  EXPECT_TRUE(queue.mapped());
  ASSERT_TRUE(queue.map());
  EXPECT_EQ(receive(queue), "9:kept");
}

TEST(SegmentQueue, MovesKeepTheQueue) {
  QueueSegment first = make_queue(4, 8);
  ASSERT_TRUE(send(first, 9, "kept"));
  QueueSegment second(std::move(first));
  EXPECT_FALSE(first.mapped());
  QueueSegment third = make_queue(1, 1);
  third = std::move(second);
  EXPECT_EQ(third.attributes().msgsize, 8u);
  EXPECT_EQ(receive(third), "9:kept");
}

TEST(SegmentQueue, LargestAttributesWork) {
  QueueSegment queue = make_queue(kMaxMessages, kMaxMessageSize);
  EXPECT_GT(Layout::of(queue.attributes()).size, uint64_t{1} << 40);
  const std::string large(kMaxMessageSize, 'z');
  ASSERT_TRUE(send(queue, 0, "small"));
  ASSERT_TRUE(send(queue, 1, large));
  ASSERT_TRUE(queue.verify());
  EXPECT_EQ(receive(queue), "1:" + large);
  EXPECT_EQ(receive(queue), "0:small");
}

TEST(SegmentQueue, AnotherProcessSeesTheMessages) {
  QueueSegment queue = make_queue(4, 8);
  ASSERT_TRUE(send(queue, 3, "ours"));
  const pid_t child = fork();
  if (child == 0) {
    Result<QueueSegment> same = QueueSegment::attach(UniqueFd(dup(queue.memfd())), queue.attributes());
    _exit(same && receive(*same) == "3:ours" && send(*same, 4, "theirs") ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(receive(queue), "4:theirs");
}

}  // namespace
}  // namespace mqueuefs::testing
