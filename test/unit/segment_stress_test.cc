// Many threads at once, also for the sanitizers: sends, receives, waits, looks, and an owner who gives back and reclaims.

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <map>
#include <random>
#include <thread>
#include <vector>

#include "segment_test_support.h"

namespace mqueuefs::testing {
namespace {

/// A message: who sent it, and as his how manieth; its payload repeats the number, so that a mixture is recognised.
struct Letter {
  uint64_t words[40];
};
constexpr size_t kLetter = sizeof(Letter);

Letter letter(uint64_t sender, uint64_t number) {
  Letter made;
  for (uint64_t& word : made.words) word = sender << 32 | number;
  return made;
}
bool whole(const Letter& letter) {
  for (const uint64_t word : letter.words) {
    if (word != letter.words[0]) return false;
  }
  return true;
}
std::span<std::byte> bytes_of(Letter& letter) { return std::as_writable_bytes(std::span(letter.words)); }

void nap(const SharedQueue& queue, uint32_t waiter) {
  const timespec moment{0, 2'000'000};
  if (queue.fall_asleep(waiter)) {
    syscall(SYS_futex, queue.futex_of(waiter), FUTEX_WAIT, SharedQueue::kAsleepValue, &moment, nullptr, 0);
  }
}

class SegmentStress : public ::testing::TestWithParam<uint32_t> {
 protected:
  static constexpr uint32_t kPerSide = 3;

  SegmentStress() : segment_({GetParam(), kLetter}), queue_(segment_.queue()) {}

  void send_all(uint32_t number, uint64_t letters) {
    const Seat seat{queue_.join(1, 10 + number).value(), 0};
    for (uint64_t at = 1; at <= letters; ++at) {
      Letter mine = letter(number, at);
      const auto priority = static_cast<uint32_t>(number % 2 + (GetParam() > 20 ? 64 * (at % 3) : 0));
      for (bool sent = false; !sent;) {
        Aftermath after;
        const Status tried = queue_.try_send(seat, priority, bytes_of(mine), after);
        if (tried) break;
        EXPECT_EQ(tried.code(), EAGAIN);
        if (tried.code() != EAGAIN) return;
        const auto waiter = queue_.wait_to_send(seat, priority, bytes_of(mine), 1, kSends, 0, after);
        if (!waiter) continue;
        nap(queue_, *waiter);
        sent = queue_.cancel_wait(*waiter, after).value() == Wait::kServed;
        queue_.finish_wait(seat, *waiter);
      }
    }
  }

  void receive_all(uint32_t number, uint64_t letters) {
    const Seat seat{queue_.join(1, 20 + number).value(), 0};
    std::map<std::pair<uint64_t, uint32_t>, uint64_t> last;
    while (received_.load() < letters) {
      Aftermath after;
      Letter got;
      auto info = queue_.try_receive(seat, bytes_of(got), after);
      if (!info) {
        const auto waiter = queue_.wait_to_receive(seat, 1, kReceives, 0, after);
        if (!waiter) continue;
        nap(queue_, *waiter);
        if (queue_.cancel_wait(*waiter, after).value() == Wait::kServed) {
          info = queue_.finish_receive(seat, *waiter, bytes_of(got));
          EXPECT_TRUE(info.ok());
        } else {
          queue_.finish_wait(seat, *waiter);
        }
      }
      if (!info.ok()) continue;
      EXPECT_TRUE(whole(got));
      received_.fetch_add(1);
      sum_.fetch_add(got.words[0]);
      // One receiver sees the letters of one sender and priority in their order, unless the owner put some back.
      uint64_t& before = last[{got.words[0] >> 32, info->priority}];
      if (!gives_back_) {
        EXPECT_LT(before, got.words[0]);
      }
      before = got.words[0];
    }
  }

  void look_around() {
    while (!done_) {
      Aftermath after;
      PeekPosition position;
      Letter seen;
      while (!done_) {
        const auto info = queue_.peek(position, 0, bytes_of(seen), after);
        if (!info.ok()) {
          EXPECT_TRUE(info.code() == EAGAIN || info.code() == EBUSY);
          break;
        }
        EXPECT_TRUE(whole(seen));
      }
      static_cast<void>(queue_.front(after));
      static_cast<void>(queue_.payload_bytes());
      static_cast<void>(queue_.waiters());
    }
  }

  void own() {
    const Seat seat{queue_.join(1, 1).value(), 0};
    while (!done_) {
      Aftermath after;
      const auto reclaimed = queue_.reclaim();
      EXPECT_TRUE(reclaimed.ok() ? *reclaimed == 0 : reclaimed.code() == EAGAIN);
      static_cast<void>(queue_.change_flags(kPoll | kNotify, 0, after));
      if (gives_back_) {
        Letter got;
        const auto info = queue_.try_receive(seat, bytes_of(got), after);
        if (info.ok()) {
          EXPECT_TRUE(queue_.give_back(seat, *info, bytes_of(got), after).ok());
        }
        if (queue_.reserve_place(after)) {
          EXPECT_TRUE(queue_.drop_reserved(after).ok());
        }
      }
      std::this_thread::yield();
    }
  }

  void run() {
    const uint64_t letters = 10'000 * effort();
    std::vector<std::thread> workers;
    for (uint32_t number = 0; number < kPerSide; ++number) {
      workers.emplace_back([this, number, letters] { send_all(number + 1, letters); });
      workers.emplace_back([this, number, letters] { receive_all(number, letters * kPerSide); });
    }
    std::thread looker([this] { look_around(); });
    std::thread owner([this] { own(); });
    for (std::thread& worker : workers) worker.join();
    done_ = true;
    looker.join();
    owner.join();
    EXPECT_EQ(received_.load(), letters * kPerSide);
    uint64_t sum = 0;
    for (uint64_t sender = 1; sender <= kPerSide; ++sender) {
      sum += letters * (sender << 32) + letters * (letters + 1) / 2;
    }
    EXPECT_EQ(sum_.load(), sum);
    EXPECT_EQ(queue_.messages(), 0U);
    EXPECT_TRUE(queue_.verify().ok());
    EXPECT_EQ(queue_.reclaim().value(), 0U);
  }

  TestSegment segment_;
  SharedQueue queue_;
  bool gives_back_ = false;
  std::atomic<bool> done_{false};
  std::atomic<uint64_t> received_{0};
  std::atomic<uint64_t> sum_{0};
};

TEST_P(SegmentStress, EveryLetterArrivesOnceWholeAndInOrder) { run(); }

TEST_P(SegmentStress, EveryLetterArrivesOnceThoughTheOwnerTakesSomeAndGivesThemBack) {
  gives_back_ = true;
  run();
}

INSTANTIATE_TEST_SUITE_P(Sizes, SegmentStress, ::testing::Values(1, 4, 100));

}  // namespace
}  // namespace mqueuefs::testing
