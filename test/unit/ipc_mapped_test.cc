// What a queue is to the daemon while other processes work on its memory themselves.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <string>
#include <utility>
#include <vector>

#include "ipc/ipc_namespace.h"
#include "unit/ipc_fixture.h"

namespace mqueuefs::ipc {
namespace {

using std::string;

class FakeMappingProcess : public MappingProcess {
 public:
  explicit FakeMappingProcess(const bool& alive) : alive_(alive) {}
  bool alive() override { return alive_; }
  pid_t process() const override { return 77; }

 private:
  const bool& alive_;
};

/// A process that maps a queue, played by this one.
class Mapper {
 public:
  explicit Mapper(QueueInode& queue) : queue_(queue) {
    auto mapping = queue.map_for(std::make_unique<FakeMappingProcess>(alive));
    EXPECT_TRUE(mapping.ok());
    incarnation_ = mapping->incarnation;
    size_ = Format::of(queue.attributes()).size;
    base_ = static_cast<std::byte*>(mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_SHARED, mapping->memfd, 0));
    EXPECT_NE(base_, MAP_FAILED);
    seat_.member = shared().join(incarnation_, 1).value();
  }
  Mapper(const Mapper&) = delete;
  Mapper& operator=(const Mapper&) = delete;
  ~Mapper() { munmap(base_, size_); }

  SharedQueue shared() const { return {queue_.attributes(), base_}; }
  int send(std::string_view text) {
    Aftermath after;
    const int code = shared().try_send(seat_, 0, bytes_of(text), after).code();
    used_notification = after.used_notification;
    tells = after.tell_owner;
    return code;
  }
  uint32_t wait_to_receive() { return shared().wait_to_receive(seat_, 120, kReceives, 1, after_).value(); }
  Wait state(uint32_t waiter) const { return shared().wait_state(waiter); }
  /// Gives the mapping up.
  void leave() { shared().leave(incarnation_); }
  /// Touches the payload of every slot there is.
  void touch_everything() const {
    const Format& format = shared().format();
    for (uint64_t at = format.payloads; at < format.size; at += kSegmentPage) {
      base_[at + kSegmentPage - 1] = std::byte{1};  // behind the short messages
    }
  }

  bool alive = true;
  bool used_notification = false;
  bool tells = false;

 private:
  QueueInode& queue_;
  uint32_t incarnation_ = 0;
  uint64_t size_ = 0;
  std::byte* base_ = nullptr;
  Seat seat_;
  Aftermath after_;
};

class MappedQueueTest : public IpcTest {
 protected:
  QueuePointer queue = create("q", 4, 16);
};

TEST_F(MappedQueueTest, TimesOfWhatMappingProcessesDidAreSeen) {
  Mapper mapper(*queue);
  queue->set_attributes({.atime_s = 1, .mtime_s = 1});
  ASSERT_EQ(mapper.send("m"), 0);
  queue->refresh();
  EXPECT_GT(queue->file().mtime_s, 1);
}

// Within the second in which the last change was seen.
TEST_F(MappedQueueTest, TimesMoveAgainAfterTheyWereSet) {
  Mapper mapper(*queue);
  ASSERT_EQ(mapper.send("1"), 0);
  queue->refresh();
  queue->set_attributes({.atime_s = 1, .mtime_s = 1});
  queue->refresh();
  EXPECT_EQ(queue->file().mtime_s, 1) << "nothing has happened since";
  ASSERT_EQ(mapper.send("2"), 0);
  queue->refresh();
  EXPECT_GT(queue->file().mtime_s, 1);
}

TEST_F(MappedQueueTest, TimesOfAProcessThatHasLeftAreNotLost) {
  for (const bool dies : {false, true}) {
    Mapper mapper(*queue);
    queue->set_attributes({.atime_s = 1, .mtime_s = 1});
    ASSERT_EQ(mapper.send("m"), 0);
    dies ? void(mapper.alive = false) : mapper.leave();
    queue->catch_up();
    EXPECT_FALSE(queue->is_mapped());
    queue->refresh();
    EXPECT_GT(queue->file().mtime_s, 1) << (dies ? "dead" : "left");
  }
}

TEST_F(MappedQueueTest, NotificationIsFiredForWhoTells) {
  std::vector<string> log;
  Mapper mapper(*queue);
  ASSERT_TRUE(queue->register_notification({5, 0, 10, std::make_unique<FakeTarget>(log)}).ok());
  ASSERT_EQ(mapper.send("m"), 0);
  EXPECT_TRUE(mapper.used_notification);
  queue->catch_up();
  EXPECT_TRUE(log.empty()) << "he is about to tell";
  queue->told(true, Sender{42, 1000});
  EXPECT_EQ(log, std::vector<string>{"woken by 42"});
}

TEST_F(MappedQueueTest, NotificationOfASenderThatDiedIsFiredAllTheSame) {
  std::vector<string> log;
  Mapper mapper(*queue);
  ASSERT_TRUE(queue->register_notification({5, 0, 10, std::make_unique<FakeTarget>(log)}).ok());
  ASSERT_EQ(mapper.send("m"), 0);
  mapper.alive = false;
  queue->catch_up();
  EXPECT_EQ(log, std::vector<string>{"woken by 0"});
}

TEST_F(MappedQueueTest, NotificationThatNobodyTellsOfIsFiredInTheEnd) {
  std::vector<string> log;
  Mapper mapper(*queue);
  ASSERT_TRUE(queue->register_notification({5, 0, 10, std::make_unique<FakeTarget>(log)}).ok());
  ASSERT_EQ(mapper.send("m"), 0);
  queue->catch_up();
  queue->catch_up();
  EXPECT_EQ(log, std::vector<string>{"woken by 0"});
}

TEST_F(MappedQueueTest, PollersHearOfAMappingSendersMessage) {
  Mapper mapper(*queue);
  FakeObserver observer;
  superblock().add_observer(observer);
  queue->poll();
  ASSERT_EQ(mapper.send("m"), 0);
  EXPECT_TRUE(mapper.tells);
  queue->told(false, {});
  EXPECT_EQ(observer.readiness, 1);
  ASSERT_EQ(mapper.send("m"), 0);
  EXPECT_FALSE(mapper.tells) << "nobody polls any more";
  superblock().remove_observer(observer);
}

TEST_F(MappedQueueTest, ChannelIsServedByAMappingSender) {
  FakeChannel channel(budget);
  wait_to_receive(*queue, channel);
  Mapper mapper(*queue);
  ASSERT_EQ(mapper.send("m"), 0);
  EXPECT_TRUE(mapper.tells);
  queue->told(false, {});
  EXPECT_EQ(assigned(*queue, channel), "0:m");
}

TEST_F(MappedQueueTest, MessageHandedToAProcessThatDiesAsleepGoesBack) {
  Mapper mapper(*queue);
  const uint32_t waiter = mapper.wait_to_receive();
  ASSERT_EQ(send(*queue, "m"), 0);
  EXPECT_EQ(mapper.state(waiter), Wait::kServed);
  EXPECT_EQ(queue->curmsgs(), 0u);
  mapper.alive = false;
  queue->catch_up();
  EXPECT_FALSE(queue->is_mapped());
  EXPECT_EQ(receive(*queue), "0:m");
}

TEST_F(MappedQueueTest, ProcessThatCouldNotMapIsForgotten) {
  bool alive = true;
  const auto mapping = queue->map_for(std::make_unique<FakeMappingProcess>(alive));
  ASSERT_TRUE(mapping.ok());
  queue->could_not_map(mapping->incarnation, 78);
  EXPECT_TRUE(queue->is_mapped()) << "another process can't say that";
  queue->could_not_map(mapping->incarnation, 77);
  EXPECT_FALSE(queue->is_mapped());
}

// The charge is for maxmsg messages; a mapping process can write to every slot that there is.
TEST_F(MappedQueueTest, MemoryThatNobodyPaidForGoesWithTheLastMapping) {
  for (const bool empty : {true, false}) {
    const QueuePointer large = create(empty ? "empty" : "full", 4, 8192);
    if (!empty) {
      for (const char* text : {"1", "2", "3"}) ASSERT_EQ(send(*large, text), 0);
    }
    {
      Mapper mapper(*large);
      mapper.touch_everything();
      mapper.leave();
      large->catch_up();
    }
    Mapper again(*large);
    EXPECT_LT(large->memory_bytes(), 512u * 1024) << (empty ? "empty" : "not empty");
    if (!empty) {
      for (const char* text : {"0:1", "0:2", "0:3"}) EXPECT_EQ(receive(*large), text);
    }
    EXPECT_EQ(receive(*large), kEmpty);
    again.leave();
    large->catch_up();
  }
}

}  // namespace
}  // namespace mqueuefs::ipc
