// A table of corruptions: verify() finds each one, and the segment is dead for everybody from then on.

#include "segment_test_support.h"

namespace mqueuefs::testing {
namespace {

// The queue that is corrupted: slot 1 free, slots 2, 3, 4 at priority 70 (in this order), slot 5 at
// priority 3.
constexpr uint32_t kHigh = 70;
constexpr uint32_t kLow = 3;

struct Corruption {
  const char* name;
  void (*apply)(const SegmentView&);
};

template <typename T, typename V>
void set(std::atomic<T>& word, V value) {
  store(word, static_cast<T>(value));
}

const Corruption kCorruptions[] = {
    {"Magic", [](const SegmentView& v) { set(v.header().magic, 0); }},
    {"Version", [](const SegmentView& v) { set(v.header().version, 2); }},
    {"Maxmsg", [](const SegmentView& v) { set(v.header().maxmsg, 65536); }},
    {"Msgsize", [](const SegmentView& v) { set(v.header().msgsize, 1 << 24); }},
    {"Slots", [](const SegmentView& v) { set(v.header().slots, 1); }},
    {"Offset", [](const SegmentView& v) { set(v.header().payload_offset, 0); }},
    {"Dead", [](const SegmentView& v) { set(v.header().dead, 1); }},
    {"Zeroed", [](const SegmentView& v) { memset(static_cast<void*>(&v.header()), 0, sizeof(Header)); }},
    {"SequenceBehind", [](const SegmentView& v) { set(v.header().last_sequence, 4); }},
    {"SequenceTooLarge", [](const SegmentView& v) { set(v.header().last_sequence, UINT64_MAX); }},
    {"FewerMessages", [](const SegmentView& v) { set(v.header().messages, 3); }},
    {"MoreMessages", [](const SegmentView& v) { set(v.header().messages, 5); }},
    {"NoMessages", [](const SegmentView& v) { set(v.header().messages, 0); }},
    {"ManyMessages", [](const SegmentView& v) { set(v.header().messages, UINT32_MAX); }},
    {"PayloadBytes", [](const SegmentView& v) { set(v.header().payload_bytes, 5); }},
    {"FewerUsedSlots", [](const SegmentView& v) { set(v.header().used_slots, 4); }},
    {"MoreUsedSlots", [](const SegmentView& v) { set(v.header().used_slots, 6); }},
    {"UsedSlotsOutside", [](const SegmentView& v) { set(v.header().used_slots, UINT32_MAX); }},
    {"NoFreeSlot", [](const SegmentView& v) { set(v.header().free_slot, kNoSlot); }},
    {"FreeSlotOutside", [](const SegmentView& v) { set(v.header().free_slot, UINT32_MAX); }},
    {"FreeSlotNeverUsed", [](const SegmentView& v) { set(v.header().free_slot, 6); }},
    {"FreeSlotQueued", [](const SegmentView& v) { set(v.header().free_slot, 2); }},
    {"FreeListCycle", [](const SegmentView& v) { set(v.slot(1).next, 1); }},
    {"FreeListGoesOn", [](const SegmentView& v) { set(v.slot(1).next, 2); }},
    {"FreeSlotMarkedQueued", [](const SegmentView& v) { set(v.slot(1).state, kSlotQueued); }},
    {"TopEmpty", [](const SegmentView& v) { set(v.header().index_top, 0); }},
    {"TopTooMuch", [](const SegmentView& v) { set(v.header().index_top, 3); }},
    {"TopOutside", [](const SegmentView& v) { set(v.header().index_top, 1 | 1ull << 63); }},
    {"MiddleLacksOne", [](const SegmentView& v) { set(v.header().index_middle[0], 1); }},
    {"MiddleTooMuch", [](const SegmentView& v) { set(v.header().index_middle[0], 7); }},
    {"MiddleWithoutTop", [](const SegmentView& v) { set(v.header().index_middle[7], 1); }},
    {"LeafLacksOne", [](const SegmentView& v) { set(v.leaf(1), 0); }},
    {"LeafTooMuch", [](const SegmentView& v) { set(v.leaf(0), 1ull << kLow | 1ull << 60); }},
    {"LowLeafEmpty", [](const SegmentView& v) { set(v.leaf(0), 0); }},
    {"LeafOtherPriority", [](const SegmentView& v) { set(v.leaf(0), 1ull << (kLow + 1)); }},
    {"LeafWithoutMiddle", [](const SegmentView& v) { set(v.leaf(511), 1); }},
    {"HeadNone", [](const SegmentView& v) { set(v.priority(kHigh).head, kNoSlot); }},
    {"HeadOutside", [](const SegmentView& v) { set(v.priority(kHigh).head, UINT32_MAX); }},
    {"HeadNeverUsed", [](const SegmentView& v) { set(v.priority(kHigh).head, 6); }},
    {"HeadFree", [](const SegmentView& v) { set(v.priority(kHigh).head, 1); }},
    {"HeadSecond", [](const SegmentView& v) { set(v.priority(kHigh).head, 3); }},
    {"HeadOfOtherPriority", [](const SegmentView& v) { set(v.priority(kHigh).head, 5); }},
    {"TailNone", [](const SegmentView& v) { set(v.priority(kHigh).tail, kNoSlot); }},
    {"TailNotLast", [](const SegmentView& v) { set(v.priority(kHigh).tail, 3); }},
    {"TailOutside", [](const SegmentView& v) { set(v.priority(kLow).tail, UINT32_MAX); }},
    {"NextOutside", [](const SegmentView& v) { set(v.slot(3).next, UINT32_MAX); }},
    {"NextNone", [](const SegmentView& v) { set(v.slot(3).next, kNoSlot); }},
    {"NextSelf", [](const SegmentView& v) { set(v.slot(3).next, 3); }},
    {"NextCycle", [](const SegmentView& v) { set(v.slot(4).next, 2); }},
    {"NextOtherList", [](const SegmentView& v) { set(v.slot(4).next, 5); }},
    {"NextFree", [](const SegmentView& v) { set(v.slot(4).next, 1); }},
    {"SizeTooLarge", [](const SegmentView& v) { set(v.slot(3).size, 17); }},
    {"SizeHuge", [](const SegmentView& v) { set(v.slot(3).size, UINT32_MAX); }},
    {"SizeOther", [](const SegmentView& v) { set(v.slot(3).size, 1); }},
    {"PriorityOther", [](const SegmentView& v) { set(v.slot(3).priority, kLow); }},
    {"PriorityOutside", [](const SegmentView& v) { set(v.slot(3).priority, UINT32_MAX); }},
    {"StateFree", [](const SegmentView& v) { set(v.slot(3).state, kSlotFree); }},
    {"StateUnknown", [](const SegmentView& v) { set(v.slot(3).state, 7); }},
    {"SequenceNone", [](const SegmentView& v) { set(v.slot(2).sequence, 0); }},
    {"SequenceTwice", [](const SegmentView& v) { set(v.slot(3).sequence, 2); }},
    {"SequenceOutOfOrder", [](const SegmentView& v) { set(v.slot(2).sequence, 4); }},
    {"SequenceOfTheFuture", [](const SegmentView& v) { set(v.slot(5).sequence, 6); }},
};

class SegmentVerify : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(send(queue_, kPriorities - 1, "first"));
    for (const char* text : {"high", "middle", "last"})
      ASSERT_TRUE(send(queue_, kHigh, text));
    ASSERT_TRUE(send(queue_, kLow, "low"));
    ASSERT_EQ(receive(queue_), "32767:first");
    ASSERT_TRUE(queue_.verify());
  }

  QueueSegment queue_ = make_queue(20, 16);
};

class SegmentCorruption : public SegmentVerify, public ::testing::WithParamInterface<Corruption> {};

TEST_P(SegmentCorruption, IsFoundByVerify) {
  const Intruder intruder(queue_);
  Result<QueueSegment> peer = QueueSegment::attach(UniqueFd(dup(queue_.memfd())), queue_.attributes());
  ASSERT_TRUE(peer);
  GetParam().apply(intruder.view());
  ASSERT_EQ(queue_.verify().code(), EUCLEAN);

  // Dead for this process even if the memory is mended, and for others through the mark.
  for (QueueSegment* const user : {&queue_, &*peer}) {
    EXPECT_EQ(user->messages(), 0u);
    EXPECT_EQ(user->payload_bytes(), 0u);
    EXPECT_EQ(user->take_sequence(), 0u);
    EXPECT_EQ(user->front().code(), EUCLEAN);
    EXPECT_EQ(send(*user, 1, "x").code(), EUCLEAN);
    EXPECT_EQ(receive(*user), "EUCLEAN");
    EXPECT_EQ(user->put_back({1, 1, 1}, bytes_of("x")).code(), EUCLEAN);
    PeekPosition position;
    EXPECT_EQ(peek(*user, position), "EUCLEAN");
    EXPECT_EQ(user->verify().code(), EUCLEAN);
    store(intruder.view().header().dead, uint32_t{1});
  }
  store(intruder.view().header().dead, uint32_t{0});
  EXPECT_EQ(receive(queue_), "EUCLEAN");
}

// Without verify() a corruption may go unnoticed for a while, but every loop ends and no answer is
// impossible.
TEST_P(SegmentCorruption, OperationsSurvive) {
  GetParam().apply(Intruder(queue_).view());
  PeekPosition position;
  std::string answer;
  for (int steps = 0; answer != "EAGAIN" && answer != "EUCLEAN"; ++steps) {
    ASSERT_LT(steps, 100);
    answer = peek(queue_, position);
  }
  for (const uint32_t priority : {kHigh, kLow, 0u, kPriorities - 1}) {
    EXPECT_TRUE(send(queue_, priority, "x").code() != EAGAIN || queue_.messages() == 20);
    const int code = queue_.put_back({priority, 1, 1}, bytes_of("y")).code();
    EXPECT_TRUE(code == 0 || code == EUCLEAN) << strerrorname_np(code);
  }
  answer.clear();
  for (int steps = 0; answer != "EAGAIN" && answer != "EUCLEAN"; ++steps) {
    ASSERT_LT(steps, 100);
    answer = receive(queue_);
  }
}

TEST_F(SegmentVerify, SendFindsATailThatIsNotTheLast) {
  store(Intruder(queue_).view().priority(kHigh).tail, uint32_t{3});
  EXPECT_EQ(send(queue_, kHigh, "x").code(), EUCLEAN);
}

TEST_F(SegmentVerify, ReceiveFindsATailInTheMiddle) {
  store(Intruder(queue_).view().priority(kHigh).tail, uint32_t{2});
  EXPECT_EQ(receive(queue_), "EUCLEAN");
}

TEST_F(SegmentVerify, ReceiveFindsCountersThatAreTooSmall) {
  store(Intruder(queue_).view().header().payload_bytes, uint64_t{3});
  EXPECT_EQ(receive(queue_), "EUCLEAN") << "instead of a sum below 0";
}

TEST_F(SegmentVerify, PeekFindsSequencesThatDoNotRise) {
  PeekPosition position;
  EXPECT_EQ(peek(queue_, position), "70:high");
  EXPECT_EQ(peek(queue_, position), "70:middle");
  store(Intruder(queue_).view().slot(3).next, uint32_t{2});
  EXPECT_EQ(peek(queue_, position), "EUCLEAN");
}

TEST_F(SegmentVerify, AFullQueueOfWhichTheFreeListSaysOtherwise) {
  store(Intruder(queue_).view().header().used_slots, Layout::of(queue_.attributes()).slots);
  store(Intruder(queue_).view().header().free_slot, kNoSlot);
  EXPECT_EQ(send(queue_, 1, "x").code(), EUCLEAN) << "there is room, so EAGAIN would be wrong";
}

INSTANTIATE_TEST_SUITE_P(Corruptions, SegmentCorruption, ::testing::ValuesIn(kCorruptions),
                         [](const auto& tested) { return std::string(tested.param.name); });

}  // namespace
}  // namespace mqueuefs::testing
