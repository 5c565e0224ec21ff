// Somebody writes into the memory whatever it likes, before and during the operations: no crash, no access
// outside, each call ends, and each answer is one that the caller of a good queue could get, or EUCLEAN.

#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <random>

#include "segment_test_support.h"

namespace mqueuefs::testing {
namespace {

constexpr QueueAttributes kAttributes{30, 200};

class SegmentScribble : public ::testing::TestWithParam<uint32_t> {
 protected:
  uint32_t below(uint32_t bound) { return std::uniform_int_distribution<uint32_t>(0, bound - 1)(random_); }

  bool is_allowed(int code) { return code == 0 || code == EAGAIN || code == EUCLEAN || code == EINVAL; }

  // True if the answer was EUCLEAN.
  bool operate(QueueSegment& queue) {
    static const std::string text(kAttributes.msgsize, 't');
    int code = 0;
    MessageInfo info;
    const auto note = [&](const Result<MessageInfo>& result) {
      code = result.code();
      if (result) info = *result;
    };
    // As large as it has to be and no larger, on the heap, so that a sanitizer sees a byte too many.
    std::vector<std::byte> buffer(kAttributes.msgsize);
    switch (below(7)) {
      case 0:
      case 1:
        note(queue.try_send(below(5) * 5000, bytes_of(text).first(below(kAttributes.msgsize + 1))));
        break;
      case 2:
        note(queue.try_receive(buffer));
        break;
      case 3:
        note(queue.front());
        break;
      case 4: {
        const uint32_t size = below(kAttributes.msgsize + 1);
        code = queue.put_back({below(5) * 5000, size, 1 + below(200)}, bytes_of(text).first(size)).code();
        break;
      }
      case 5: {
        PeekPosition position;
        if (below(2) == 0) position = {below(kPriorities + 1), below(100), below(200)};
        for (uint32_t step = 0; step < 300 && code == 0; ++step)
          note(queue.peek(position, below(250), buffer));
        EXPECT_NE(code, 0) << "a walk ends";
        break;
      }
      default:
        if (below(10) == 0) code = queue.verify().code();
        EXPECT_LE(queue.messages(), kAttributes.maxmsg + kSpareSlots);
        EXPECT_LE(queue.payload_bytes(), uint64_t{kAttributes.maxmsg + kSpareSlots} * kAttributes.msgsize);
    }
    EXPECT_TRUE(is_allowed(code)) << strerrorname_np(code);
    EXPECT_LT(info.priority, kPriorities);
    EXPECT_LE(info.size, kAttributes.msgsize);
    return code == EUCLEAN;
  }

  // One change somewhere where it can do harm, with a value that can.
  void scribble(const Intruder& intruder) {
    const Layout& layout = intruder.layout();
    const SegmentView view = intruder.view();
    switch (below(6)) {
      case 0:  // a bit of the counters or the index
        flip_bit(intruder.base() + 128, sizeof(Header) - 128);
        break;
      case 1:
        flip_bit(intruder.base() + layout.leaf_offset, kSegmentPage);
        break;
      case 2:
        flip_bit(intruder.base() + layout.slot_offset, layout.slots * sizeof(SlotCell));
        break;
      case 3:
        store(view.slot(1 + below(layout.slots)).next, below(layout.slots + 3));
        break;
      case 4: {
        PriorityCell& cell = view.priority(below(5) * 5000);
        store(below(2) == 0 ? cell.head : cell.tail,
              below(3) == 0 ? static_cast<uint32_t>(random_()) : below(layout.slots));
        break;
      }
      default:
        store(view.header().free_slot, below(layout.slots + 3));
    }
  }

  void flip_bit(std::byte* begin, uint64_t size) {
    begin[below(static_cast<uint32_t>(size))] ^= static_cast<std::byte>(1u << below(8));
  }

  std::mt19937 random_{GetParam()};
};

TEST_P(SegmentScribble, NeverHurtsBetweenOperations) {
  int deaths = 0;
  for (int round = 0; round < 300; ++round) {
    QueueSegment queue = make_queue(kAttributes.maxmsg, kAttributes.msgsize);
    const Intruder intruder(queue);
    for (int step = 0; step < 60; ++step)
      ASSERT_FALSE(operate(queue));
    bool dead = false;
    for (int step = 0; step < 100; ++step) {
      if (!dead && below(10) == 0) scribble(intruder);
      const bool answer = operate(queue);
      dead = dead || answer;
      if (dead) {
        ASSERT_EQ(queue.front().code(), EUCLEAN) << "once dead, always dead";
      }
    }
    deaths += dead;
  }
  EXPECT_GT(deaths, 100) << "the scribbling finds what matters";
}

TEST_P(SegmentScribble, NeverHurtsWhenAllIsNoise) {
  for (int round = 0; round < 50; ++round) {
    QueueSegment queue = make_queue(kAttributes.maxmsg, kAttributes.msgsize);
    const Intruder intruder(queue);
    const uint64_t begin = below(2) == 0 ? 0 : 128;
    for (uint64_t i = begin; i < intruder.layout().size; ++i)
      intruder.base()[i] = static_cast<std::byte>(random_());
    if (below(4) != 0) store(intruder.view().header().dead, uint32_t{0});
    if (below(2) == 0) store(intruder.view().header().messages, 1 + below(kAttributes.maxmsg));
    if (below(2) == 0) store(intruder.view().header().index_top, uint64_t{1} + below(255));
    for (int step = 0; step < 20; ++step)
      operate(queue);
    EXPECT_EQ(queue.verify().code(), EUCLEAN);
  }
}

TEST_P(SegmentScribble, NeverHurtsDuringOperations) {
  QueueSegment queue = make_queue(kAttributes.maxmsg, kAttributes.msgsize);
  const Intruder intruder(queue);
  const pid_t child = fork();
  if (child == 0) {
    for (;;)
      scribble(intruder);
  }
  for (int round = 0; round < 2000; ++round) {
    // A new holder each time, since the old one never forgives. The child goes on writing.
    const Layout& layout = intruder.layout();
    store(intruder.view().header().dead, uint32_t{0});
    memset(intruder.base() + 128, 0, layout.slot_offset - 128);
    Result<QueueSegment> holder = QueueSegment::attach(UniqueFd(dup(queue.memfd())), kAttributes);
    if (!holder) continue;
    for (int step = 0; step < 30; ++step)
      operate(*holder);
  }
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
}

TEST_P(SegmentScribble, HolesPunchedByAPeerAreMereScribbling) {
  QueueSegment queue = make_queue(kAttributes.maxmsg, kAttributes.msgsize);
  for (int i = 0; i < 10; ++i)
    ASSERT_TRUE(send(queue, 0, "x"));
  const Layout layout = Layout::of(kAttributes);
  ASSERT_EQ(fallocate(queue.memfd(), FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 0,
                      static_cast<off_t>(layout.size)),
            0);
  for (int step = 0; step < 50; ++step)
    operate(queue);
  EXPECT_EQ(queue.verify().code(), EUCLEAN);
}

INSTANTIATE_TEST_SUITE_P(Seeds, SegmentScribble, ::testing::Range(1u, 6u));

}  // namespace
}  // namespace mqueuefs::testing
