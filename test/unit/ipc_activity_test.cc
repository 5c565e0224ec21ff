// What a queue says of itself to those who watch: counts, ages, who waits, who holds it, each message.
#include <string>
#include <vector>

#include "base/clock.h"
#include "unit/ipc_fixture.h"

namespace mqueuefs::ipc {
namespace {

class Log final : public QueueTracer {
 public:
  void traced(const TracedMessage& message) override {
    static constexpr const char* kNames[] = {"?", "sent", "received", "given back"};
    lines.push_back(std::string(kNames[static_cast<int>(message.operation)]) + " " + std::to_string(message.task) +
                    " " + std::to_string(message.priority) + " " +
                    std::string(reinterpret_cast<const char*>(message.payload.data()), message.payload.size()));
  }
  void queue_ended() override { lines.push_back("ended"); }
  std::vector<std::string> lines;
};

class Activity : public IpcTest {
 protected:
  static Status send(QueueInode& queue, std::string_view text, uint32_t priority = 0) {
    return queue.try_send(priority, bytes_of(text), Sender{.task = 42});
  }
  static Result<MessageInfo> receive(QueueInode& queue) {
    static std::byte room[16];
    return queue.try_receive(sizeof room, room, nullptr, 43);
  }
};

TEST_F(Activity, CountsWhatWentThrough) {
  const auto queue = create("q", 4);
  EXPECT_EQ(queue->activity().sent, 0U);
  ASSERT_TRUE(send(*queue, "a"));
  ASSERT_TRUE(send(*queue, "", 5));
  ASSERT_TRUE(receive(*queue));
  EXPECT_EQ(queue->activity().sent, 2U);
  EXPECT_EQ(queue->activity().received, 1U);
  ASSERT_TRUE(receive(*queue));
  EXPECT_FALSE(receive(*queue));
  ASSERT_TRUE(queue->open_handle());
  queue->close_handle();  // its memory goes, the counts stay
  EXPECT_EQ(queue->memory_bytes(), 0U);
  ASSERT_TRUE(send(*queue, "b"));
  EXPECT_EQ(queue->activity().sent, 3U);
  EXPECT_EQ(queue->activity().received, 2U);
}

TEST_F(Activity, CountsMessagesThatNeverWereInTheQueue) {
  const auto queue = create("q", 1);
  FakeChannel receiver(budget);
  std::byte room[16];
  ASSERT_FALSE(*queue->receive(sizeof room, room, receiver, {}));
  ASSERT_TRUE(send(*queue, "to who waits"));
  EXPECT_EQ(receiver.done, std::vector<int>{0});
  EXPECT_EQ(queue->activity().sent, 1U);
  EXPECT_EQ(queue->activity().received, 1U);

  ASSERT_TRUE(send(*queue, "first"));
  FakeChannel sender(budget);
  ASSERT_EQ(*queue->send(0, bytes_of("second"), {}, sender, {}), Outcome::kWaiting);
  EXPECT_EQ(queue->activity().sent, 2U) << "who waits has not sent";
  ASSERT_TRUE(receive(*queue));
  EXPECT_EQ(queue->activity().sent, 3U);
  EXPECT_EQ(queue->activity().received, 2U);
  uint64_t waits = 0;
  for (const uint64_t count : queue->activity().waits) waits += count;
  EXPECT_EQ(waits, 2U);
}

TEST_F(Activity, OldestIsThatOfAllPriorities) {
  const auto queue = create("q", 4);
  EXPECT_EQ(queue->activity().oldest_sent_s, 0);
  const int64_t before_s = file_time_now_s();
  ASSERT_TRUE(send(*queue, "a", 1));
  ASSERT_TRUE(send(*queue, "b", 9));
  const int64_t oldest_s = queue->activity().oldest_sent_s;
  EXPECT_GE(oldest_s, before_s);
  EXPECT_LE(oldest_s, realtime_now_ns() / 1'000'000'000);
}

TEST_F(Activity, SaysWhoWaitsAndSinceWhen) {
  const auto queue = create("q");
  FakeChannel receiver(budget);
  std::byte room[16];
  const int64_t before_ns = realtime_now_ns();
  ASSERT_FALSE(*queue->receive(sizeof room, room, receiver, {.process = 77}));
  const auto calls = queue->blocked(3);
  ASSERT_EQ(calls.size(), 1U);
  EXPECT_EQ(calls[0].process, 77);
  EXPECT_TRUE(calls[0].receives);
  EXPECT_GE(calls[0].since_ns, before_ns);
  EXPECT_EQ(queue->blocked(0).size(), 0U);
}

TEST_F(Activity, IsHeldByWhoHasToDoWithIt) {
  const auto queue = create("q");
  queue->set_creator(500, 1);
  EXPECT_EQ(queue->held_by(), 0U);
  tasks.running.insert(500);
  EXPECT_EQ(queue->held_by(), kHeldByCreator);
  tasks.running.clear();
  ASSERT_TRUE(queue->open_handle());
  EXPECT_EQ(queue->held_by(), kHeldByHandle);
  queue->close_handle();
  FakeChannel receiver(budget);
  std::byte room[16];
  ASSERT_FALSE(*queue->receive(sizeof room, room, receiver, {}));
  EXPECT_EQ(queue->held_by(), kHeldByCall);
  ASSERT_TRUE(receiver.cancel());
  EXPECT_EQ(queue->held_by(), 0U);
  queue->set_creator(0, 1);
  EXPECT_EQ(queue->held_by(), kHeldByCreator) << "who is not visible is not known to be gone";
}

TEST_F(Activity, TracersHearOfEachMessage) {
  const auto queue = create("q");
  Log log;
  ASSERT_TRUE(send(*queue, "before"));
  queue->add_tracer(log);
  ASSERT_TRUE(send(*queue, "a", 3));
  ASSERT_FALSE(send(*queue, "full"));
  ASSERT_TRUE(receive(*queue));
  ASSERT_TRUE(receive(*queue));
  ASSERT_FALSE(receive(*queue));
  EXPECT_EQ(log.lines, (std::vector<std::string>{"sent 42 3 a", "received 43 3 a", "received 43 0 before"}));

  log.lines.clear();
  FakeChannel receiver(budget);
  std::byte room[16];
  ASSERT_FALSE(*queue->receive(sizeof room, room, receiver, {.process = 77}));
  ASSERT_TRUE(send(*queue, "b"));
  receiver.abandon();  // it never got it
  EXPECT_EQ(log.lines, (std::vector<std::string>{"sent 42 0 b", "received 77 0 b", "given back 0 0 b"}));

  log.lines.clear();
  queue->remove_tracer(log);
  ASSERT_TRUE(receive(*queue));
  EXPECT_TRUE(log.lines.empty());
  queue->add_tracer(log);
  ASSERT_TRUE(superblock().unlink("q"));
  EXPECT_EQ(log.lines, std::vector<std::string>{"ended"});
}

TEST_F(Activity, WhatEndedQueuesDidIsSummed) {
  const auto queue = create("q");
  ASSERT_TRUE(send(*queue, "a"));
  ASSERT_TRUE(receive(*queue));
  ASSERT_TRUE(superblock().unlink("q"));
  EXPECT_EQ(superblock().ended_queues().sent, 1U);
  EXPECT_EQ(superblock().ended_queues().received, 1U);
}

}  // namespace
}  // namespace mqueuefs::ipc
