// Random operations one after the other, against a queue of the simplest kind.

#include <algorithm>
#include <random>
#include <vector>

#include "segment_test_support.h"

namespace mqueuefs::testing {
namespace {

struct Message {
  uint32_t priority = 0;
  uint64_t order = 0;
  uint64_t id = 0;
  MessageInfo info;
};

struct Waiting {
  uint32_t waiter = 0;
  uint32_t rank = 0;
  uint64_t since = 0;
  bool place = false;
  Message message;
};

class RandomWalk {
 public:
  explicit RandomWalk(uint32_t seed)
      : random_(seed),
        attributes_{1 + below(12), 8 + below(100)},
        segment_(attributes_),
        queue_(segment_.queue()),
        priorities_(seed % 4 == 0 ? 2 : seed % 4 == 1 ? 5 : seed % 4 == 2 ? 300 : kPriorities) {
    // A version near the end of its lower part, which links and tags have to survive.
    if (seed % 5 == 0) queue_.initialize((uint64_t{1} << 47) - 500);
    for (uint32_t member = 0; member < 3; ++member) seats_[member] = {queue_.join(member + 1, 1).value(), member};
  }

  void run(int steps) {
    for (int step = 0; step < steps && !::testing::Test::HasFailure(); ++step) {
      SCOPED_TRACE(step);
      one();
      ASSERT_EQ(queue_.messages(), queued_.size());
      ASSERT_EQ(queue_.payload_bytes(), queued_.size() * sizeof(uint64_t));
      if (step % 50 != 0) continue;
      const Status verified = queue_.verify();
      ASSERT_TRUE(verified.ok()) << verified.error().step;
      ASSERT_EQ(queue_.reclaim().value(), 0U);
    }
  }

 private:
  uint32_t below(uint32_t bound) { return static_cast<uint32_t>(random_() % bound); }
  Seat seat() { return seats_[below(3)]; }
  bool full() const { return queued_.size() + reserved_ >= attributes_.maxmsg; }

  void insert(const Message& message) {
    queued_.insert(std::find_if(queued_.begin(), queued_.end(),
                                [&](const Message& other) {
                                  return other.priority < message.priority ||
                                         (other.priority == message.priority && other.order > message.order);
                                }),
                   message);
  }

  static auto best(std::vector<Waiting>& line) {
    return std::min_element(line.begin(), line.end(), [](const Waiting& a, const Waiting& b) {
      return a.rank != b.rank ? a.rank < b.rank : a.since < b.since;
    });
  }

  void deliver(const Message& message) {
    if (receivers_.empty()) {
      insert(message);
      return;
    }
    const auto served = best(receivers_);
    ASSERT_EQ(queue_.wait_state(served->waiter), Wait::kServed);
    EXPECT_EQ(queue_.handed_over(served->waiter)->priority, message.priority);
    uint64_t id = 0;
    const auto info = queue_.finish_receive(seat(), served->waiter, bytes_of(id));
    ASSERT_TRUE(info.ok());
    EXPECT_EQ(id, message.id);
    EXPECT_EQ(info->priority, message.priority);
    took(message, *info);
    receivers_.erase(served);
  }

  void took(Message message, MessageInfo info) {
    message.info = info;
    taken_.push_back(message);
    if (taken_.size() > 10) taken_.erase(taken_.begin());
  }

  void admit() {
    while (!full() && !senders_.empty()) {
      const auto served = best(senders_);
      ASSERT_EQ(queue_.wait_state(served->waiter), Wait::kServed);
      if (served->place) {
        queue_.take_granted_place();
        ++reserved_;
      }
      queue_.finish_wait(seat(), served->waiter);
      Message message = served->message;
      const bool place = served->place;
      senders_.erase(served);
      message.order = ++clock_;
      if (!place) deliver(message);
    }
  }

  Message next_message() { return {below(priorities_), ++clock_, ++ids_, {}}; }

  void one() {
    Aftermath after;
    const uint32_t choice = below(112);
    if (choice < 36) {
      const Message message = next_message();
      const Status sent = send(queue_, seat(), message.priority, message.id, after);
      ASSERT_EQ(sent.code(), full() ? EAGAIN : 0);
      if (sent) deliver(message);
    } else if (choice < 70) {
      uint64_t id = 0;
      const auto info = queue_.try_receive(seat(), bytes_of(id), after);
      ASSERT_EQ(info.code(), queued_.empty() ? EAGAIN : 0);
      if (!info) return;
      const Message message = queued_.front();
      ASSERT_EQ(id, message.id);
      ASSERT_EQ(info->priority, message.priority);
      queued_.erase(queued_.begin());
      took(message, *info);
      admit();
    } else if (choice < 77) {
      if (receivers_.size() > 20) return;
      const uint32_t rank = below(3);
      const auto waiter = queue_.wait_to_receive(seat(), rank, kReceives, 7, after);
      ASSERT_EQ(waiter.code(), queued_.empty() ? 0 : EAGAIN);
      if (!waiter) return;
      if (below(2) == 0) {
        ASSERT_TRUE(queue_.fall_asleep(*waiter));
      }
      receivers_.push_back({*waiter, rank, ++clock_, false, {}});
    } else if (choice < 84) {
      if (senders_.size() > 20) return;
      const uint32_t rank = below(3);
      Message message = next_message();
      const bool place = below(4) == 0;
      const auto waiter = place ? queue_.wait_for_place(seat(), rank, 7, after)
                                : queue_.wait_to_send(seat(), message.priority, bytes_of(message.id), rank, kSends, 7,
                                                      after);
      ASSERT_EQ(waiter.code(), full() ? 0 : EAGAIN);
      if (waiter) senders_.push_back({*waiter, rank, ++clock_, place, message});
    } else if (choice < 90) {
      auto& line = below(2) == 0 ? receivers_ : senders_;
      if (line.empty()) return;
      const uint32_t which = below(static_cast<uint32_t>(line.size()));
      const auto ended = queue_.cancel_wait(line[which].waiter, after);
      ASSERT_TRUE(ended.ok());
      ASSERT_EQ(*ended, Wait::kCancelled);
      queue_.finish_wait(seat(), line[which].waiter);
      line.erase(line.begin() + which);
    } else if (choice < 95) {
      if (taken_.empty()) return;
      const uint32_t which = below(static_cast<uint32_t>(taken_.size()));
      Message message = taken_[which];
      const Status given = queue_.give_back(seat(), message.info, bytes_of(message.id), after);
      taken_.erase(taken_.begin() + which);
      if (given.code() == EAGAIN) {
        ASSERT_GE(queued_.size(), kReturned);
        return;
      }
      ASSERT_TRUE(given.ok());
      deliver(message);
    } else if (choice < 99) {
      const Status reserved = queue_.reserve_place(after);
      ASSERT_EQ(reserved.code(), full() ? EAGAIN : 0);
      if (reserved) ++reserved_;
    } else if (choice < 105) {
      if (reserved_ == 0) return;
      --reserved_;
      if (below(2) == 0) {
        ASSERT_TRUE(queue_.drop_reserved(after).ok());
      } else {
        Message message = next_message();
        ASSERT_TRUE(queue_.send_reserved(seat(), message.priority, bytes_of(message.id), after).ok());
        deliver(message);
      }
      admit();
    } else if (choice < 108) {
      walk();
    } else {
      notify();
    }
  }

  void walk() {
    Aftermath after;
    PeekPosition position;
    for (const Message& message : queued_) {
      uint64_t id = 0;
      const auto info = queue_.peek(position, 0, bytes_of(id), after);
      ASSERT_TRUE(info.ok());
      ASSERT_EQ(id, message.id);
      ASSERT_EQ(info->priority, message.priority);
    }
    EXPECT_EQ(queue_.peek(position, 0, {}, after).code(), EAGAIN);
    const auto front = queue_.front(after);
    ASSERT_EQ(front.code(), queued_.empty() ? EAGAIN : 0);
    if (front.ok()) {
      EXPECT_EQ(front->priority, queued_.front().priority);
    }
    EXPECT_EQ(queue_.waiters().receivers, receivers_.size());
    EXPECT_EQ(queue_.waiters().senders, senders_.size());
  }

  // The flags ask for one word each, of the next change that they are about.
  void notify() {
    Aftermath after;
    ASSERT_TRUE(queue_.change_flags(kNotify | kPoll, 0, after).ok());
    const Message message = next_message();
    const bool waits = !receivers_.empty();
    const bool was_empty = queued_.empty();
    const bool was_full = full();
    ASSERT_FALSE(after.tell_owner || after.used_notification);
    if (send(queue_, seat(), message.priority, message.id, after)) {
      ASSERT_FALSE(was_full);
      EXPECT_EQ(after.used_notification, was_empty && !waits);
      EXPECT_EQ(after.tell_owner, !waits);
      deliver(message);
    }
    ASSERT_TRUE(queue_.change_flags(0, kNotify | kPoll, after).ok());
  }

  std::mt19937 random_;
  QueueAttributes attributes_;
  TestSegment segment_;
  SharedQueue queue_;
  uint32_t priorities_;
  Seat seats_[3];
  std::vector<Message> queued_;
  std::vector<Message> taken_;
  std::vector<Waiting> receivers_;
  std::vector<Waiting> senders_;
  uint32_t reserved_ = 0;
  uint64_t clock_ = 0;
  uint64_t ids_ = 0;
};

TEST(SegmentRandom, DoesWhatTheSimplestQueueDoes) {
  for (uint32_t seed = 1; seed <= 60 * effort() && !HasFailure(); ++seed) {
    SCOPED_TRACE(seed);
    RandomWalk(seed).run(1500);
  }
}

TEST(SegmentRandom, AQueueOfTheLargestSizeIsFilledAndEmptied) {
  TestSegment segment({kMaxMessages, 8});
  const SharedQueue queue = segment.queue();
  const Seat seat{queue.join(1, 1).value(), 0};
  Aftermath after;
  for (uint64_t id = 1; id <= kMaxMessages; ++id) {
    ASSERT_TRUE(send(queue, seat, static_cast<uint32_t>(id * 7919 % kPriorities), id, after).ok());
  }
  EXPECT_EQ(send(queue, seat, 0, 1, after).code(), EAGAIN);
  ASSERT_TRUE(queue.verify().ok());
  uint32_t priority = kPriorities;
  uint64_t sequence = 0;
  for (uint32_t message = 0; message < kMaxMessages; ++message) {
    uint64_t id = 0;
    const auto info = queue.try_receive(seat, bytes_of(id), after);
    ASSERT_TRUE(info.ok());
    ASSERT_EQ(info->priority, id * 7919 % kPriorities);
    ASSERT_TRUE(info->priority < priority || (info->priority == priority && info->sequence > sequence));
    priority = info->priority;
    sequence = info->sequence;
  }
  EXPECT_EQ(receive(queue, seat, after), 0U);
  ASSERT_TRUE(queue.verify().ok());
}

TEST(SegmentRandom, VersionsThatAreUsedUpMakeTheQueueDead) {
  TestSegment segment({10, 8});
  const SharedQueue queue = segment.queue();
  queue.initialize(kVersionMask - 3);
  const Seat seat{queue.join(1, 1).value(), 0};
  Aftermath after;
  for (uint64_t id = 1; id <= 3; ++id) ASSERT_TRUE(send(queue, seat, 1, id, after).ok());
  EXPECT_EQ(send(queue, seat, 1, 4, after).code(), EUCLEAN);
  EXPECT_TRUE(queue.dead());
}

}  // namespace
}  // namespace mqueuefs::testing
