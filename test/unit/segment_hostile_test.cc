// Somebody who may write to the segment writes nonsense: before operations, and while others work. No crash, nothing
// outside of the segment, and every call ends.

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <random>
#include <thread>
#include <vector>

#include "fuzz/hostile_segment.h"
#include "segment_test_support.h"

namespace mqueuefs::testing {
namespace {

constexpr unsigned kWatchdog_s = 120;

/// In a child, so that a crash or a call that never ends is a failure of one test.
void expect_survives(const std::function<void()>& work) {
  const pid_t child = fork();
  if (child == 0) {
    alarm(kWatchdog_s);
    work();
    _exit(0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_FALSE(WIFSIGNALED(status)) << strsignal(WTERMSIG(status));
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/// Random bytes, flipped bits, small numbers, and words that are right elsewhere.
void scribble(const HostileSegment& segment, std::mt19937& random) {
  const bool anywhere = random() % 8 == 0;
  const size_t at = anywhere ? random() % (segment.size() / 4) * 4 : segment.interesting(static_cast<uint32_t>(random()));
  auto* const word = reinterpret_cast<std::atomic<uint32_t>*>(segment.base() + at);
  switch (random() % 5) {
    case 0:
      word->store(static_cast<uint32_t>(random()));
      break;
    case 1:
      word->fetch_xor(uint32_t{1} << random() % 32);
      break;
    case 2:
      word->store(static_cast<uint32_t>(random() % 20));
      break;
    case 3:
      word->fetch_add(static_cast<uint32_t>(random() % 5) - 2);
      break;
    default: {
      uint32_t other = 0;
      memcpy(&other, segment.base() + segment.interesting(static_cast<uint32_t>(random())), 4);
      word->store(other);
    }
  }
}

TEST(SegmentHostile, AMessageIsNeverLongerThanTheQueueAllows) {
  HostileSegment segment({8, 64});
  const SharedQueue queue = segment.queue();
  Aftermath after;
  const Seat seat{0, 0};
  auto* const slots = reinterpret_cast<Slot*>(segment.base() + queue.format().slot_table);
  const State state(load(reinterpret_cast<Header*>(segment.base())->state));
  ASSERT_NE(kNoSlot, state.head());
  slots[state.head() - 1].size.store(4000);
  std::vector<std::byte> room(8192);
  int code = 0;
  for (int messages = 0; messages < 20 && code == 0; ++messages) {
    const auto received = queue.try_receive(seat, room, after);
    code = received.code();
    if (received) {
      EXPECT_GE(64u, received->size);
    }
  }
  EXPECT_EQ(EUCLEAN, code);
}

TEST(SegmentHostile, NonsenseBeforeOperationsHurtsNobody) {
  expect_survives([] {
    HostileSegment segment({8, 64});
    for (uint32_t seed = 1; seed <= 20'000 * effort(); ++seed) {
      std::mt19937 random(seed);
      segment.restore();
      for (int round = 0; round < 4; ++round) {
        for (uint32_t writes = 1 + random() % 3; writes > 0; --writes) scribble(segment, random);
        for (int operation = 0; operation < 6; ++operation) segment.operate(static_cast<uint32_t>(random()));
      }
    }
  });
}

TEST(SegmentHostile, NonsenseWhileOthersWorkHurtsNobody) {
  expect_survives([] {
    HostileSegment segment({8, 64});
    std::atomic<bool> done{false};
    std::thread scribbler([&] {
      std::mt19937 random(7);
      while (!done) {
        scribble(segment, random);
        // A dead queue ends everything at once: it begins anew.
        if (segment.queue().dead()) segment.restore();
        std::this_thread::yield();
      }
    });
    std::vector<std::thread> workers;
    for (uint32_t worker = 0; worker < 2; ++worker) {
      workers.emplace_back([&segment, worker] {
        std::mt19937 random(worker);
        for (uint32_t operation = 0; operation < 1'000'000 * effort(); ++operation) {
          segment.operate(static_cast<uint32_t>(random()));
        }
      });
    }
    for (std::thread& worker : workers) worker.join();
    done = true;
    scribbler.join();
  });
}

// The words that lead to long ways: many slots whose links form rings, missing links everywhere.
TEST(SegmentHostile, LongWaysEnd) {
  expect_survives([] {
    TestSegment segment({kMaxMessages, 8});
    const SharedQueue queue = segment.queue();
    const Seat seat{queue.join(1, 1).value(), 0};
    Aftermath after;
    for (uint64_t id = 1; id <= kMaxMessages; ++id) static_cast<void>(send(queue, seat, 3, id, after));
    auto* const slots = reinterpret_cast<Slot*>(segment.base() + queue.format().slot_table);
    for (uint32_t slot = 0; slot < kMaxMessages; ++slot) slots[slot].next.store(0);
    const auto operations = [&] {
      uint64_t word = 0;
      PeekPosition position;
      for (int looks = 0; looks < 3; ++looks) static_cast<void>(queue.peek(position, 0, bytes_of(word), after));
      static_cast<void>(queue.front(after));
      static_cast<void>(receive(queue, seat, after));
      static_cast<void>(queue.reclaim());
      static_cast<void>(queue.verify());
    };
    operations();
    for (uint32_t slot = 0; slot < kMaxMessages; ++slot) {
      slots[slot].next.store(0);
      slots[slot].previous.store(make_link(slot == 100 ? 5000 : slot, slot));
    }
    queue.initialize(1000);  // alive again, with what is there
    auto& header = *reinterpret_cast<Header*>(segment.base());
    State state;
    state.set_version(1 << 20);
    state.set_count(60000);
    state.set_list(1, 60000);
    header.state.high = state.word().high;
    header.state.low = state.word().low;
    operations();
  });
}

}  // namespace
}  // namespace mqueuefs::testing
