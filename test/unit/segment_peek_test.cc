// Looking at messages without taking them, also while others take and send.

#include "segment_test_support.h"

namespace mqueuefs::testing {
namespace {

TEST(SegmentPeek, WalksInOrderOfReceipt) {
  QueueSegment queue = make_queue(8, 8);
  for (const auto& [priority, text] :
       {std::pair{1, "a"}, {5000, "b"}, {0, "c"}, {1, "d"}, {63, "e"}, {64, "f"}}) {
    ASSERT_TRUE(send(queue, static_cast<uint32_t>(priority), text));
  }
  PeekPosition position;
  for (const char* expected : {"5000:b", "64:f", "63:e", "1:a", "1:d", "0:c", "EAGAIN", "EAGAIN"}) {
    EXPECT_EQ(peek(queue, position), expected);
  }
  EXPECT_EQ(queue.messages(), 6u);
}

TEST(SegmentPeek, EmptyQueue) {
  QueueSegment queue = make_queue(8, 8);
  PeekPosition position;
  EXPECT_EQ(peek(queue, position), "EAGAIN");
  EXPECT_EQ(position.priority, kPriorities) << "still before the first";
}

TEST(SegmentPeek, CopiesAWindowOfThePayload) {
  QueueSegment queue = make_queue(1, 16);
  ASSERT_TRUE(send(queue, 0, "0123456789"));
  const auto window = [&](uint32_t offset, size_t size) {
    std::string text(size, '.');
    PeekPosition position;
    const Result<MessageInfo> info = queue.peek(position, offset, std::as_writable_bytes(std::span(text)));
    EXPECT_EQ(info->size, 10u);
    return text;
  };
  EXPECT_EQ(window(0, 4), "0123");
  EXPECT_EQ(window(8, 4), "89..");
  EXPECT_EQ(window(10, 2), "..");
  EXPECT_EQ(window(UINT32_MAX, 2), "..");
  EXPECT_EQ(window(3, 0), "");
}

TEST(SegmentPeek, GoesOnAfterTheMessageAtThePositionWasTaken) {
  QueueSegment queue = make_queue(8, 8);
  for (const char* text : {"a", "b", "c"})
    ASSERT_TRUE(send(queue, 4, text));
  ASSERT_TRUE(send(queue, 2, "low"));
  PeekPosition position;
  EXPECT_EQ(peek(queue, position), "4:a");
  receive(queue);
  receive(queue);
  EXPECT_EQ(peek(queue, position), "4:c") << "b was taken too";
  receive(queue);
  EXPECT_EQ(peek(queue, position), "2:low") << "the whole priority was";
}

TEST(SegmentPeek, IsNotMisledWhenItsSlotIsUsedAgain) {
  QueueSegment queue = make_queue(8, 8);
  ASSERT_TRUE(send(queue, 4, "a"));
  ASSERT_TRUE(send(queue, 3, "b"));
  PeekPosition position;
  EXPECT_EQ(peek(queue, position), "4:a");
  receive(queue);
  ASSERT_TRUE(send(queue, 9, "above"));  // in the slot that a had
  EXPECT_EQ(peek(queue, position), "3:b");
  EXPECT_EQ(peek(queue, position), "EAGAIN");
}

TEST(SegmentPeek, SeesWhatIsSentBehindItAndNotWhatIsPutBackBefore) {
  QueueSegment queue = make_queue(8, 8);
  const MessageInfo first = *send(queue, 4, "a");
  ASSERT_TRUE(send(queue, 4, "b"));
  receive(queue);
  PeekPosition position;
  EXPECT_EQ(peek(queue, position), "4:b");
  ASSERT_TRUE(queue.put_back(first, bytes_of("a")));
  ASSERT_TRUE(send(queue, 4, "c"));
  ASSERT_TRUE(send(queue, 5, "above"));
  EXPECT_EQ(peek(queue, position), "4:c");
  EXPECT_EQ(peek(queue, position), "EAGAIN");
}

TEST(SegmentPeek, SearchesWhenTheHintIsWrongAndOlderOnesWerePutBack) {
  QueueSegment queue = make_queue(8, 8);
  const MessageInfo a = *send(queue, 4, "a");
  const MessageInfo b = *send(queue, 4, "b");
  ASSERT_TRUE(send(queue, 4, "c"));
  PeekPosition position{4, b.sequence, 0xffffffff};
  EXPECT_EQ(peek(queue, position), "4:c");
  receive(queue);
  receive(queue);
  ASSERT_TRUE(queue.put_back(a, bytes_of("a")));
  position = PeekPosition{4, b.sequence, 2};
  EXPECT_EQ(peek(queue, position), "4:c") << "b is gone, a is back";
}

TEST(SegmentPeek, PositionsFromNowhere) {
  QueueSegment queue = make_queue(8, 8);
  ASSERT_TRUE(send(queue, 4, "a"));
  PeekPosition beyond{kPriorities + 1, 0, 0};
  EXPECT_EQ(peek(queue, beyond), "EINVAL");
  PeekPosition between{20'000, 17, 3};
  EXPECT_EQ(peek(queue, between), "4:a");
  PeekPosition below{3, 17, 1};
  EXPECT_EQ(peek(queue, below), "EAGAIN");
}

}  // namespace
}  // namespace mqueuefs::testing
