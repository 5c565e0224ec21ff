// Callers who may vanish while they are answered: nothing is sent twice, lost, or seen by the wrong one.
#include "unit/ipc_fixture.h"

namespace mqueuefs::ipc {
namespace {

// Answers in one step, as a caller in a system call is; or is there no more.
class VanishingChannel : public FakeChannel {
 public:
  explicit VanishingChannel(MemoryBudget& budget, bool is_there) : FakeChannel(budget), is_there_(is_there) {}
  std::string received = "nothing";

 private:
  bool offer(const std::shared_ptr<QueueInode>&, Message& message) override {
    if (is_there_) received.assign(reinterpret_cast<const char*>(message.payload.data()), message.payload.size());
    return is_there_;
  }
  bool admit() override { return is_there_; }
  bool is_gone() const override { return !is_there_; }
  const bool is_there_;
};

class TwoPhases : public IpcTest {
 protected:
  int send_if(QueueInode& queue, std::string_view text, bool is_there, int* asked = nullptr) {
    const auto sent = queue.send_if(1, bytes_of(text), Sender{42, 1000}, [&] {
      if (asked != nullptr) ++*asked;
      return is_there;
    });
    if (!sent) return -sent.code();
    return *sent ? 1 : 0;
  }
};

TEST_F(TwoPhases, ASendWhoseSenderIsGoneLeavesNothing) {
  const auto queue = create("q");
  EXPECT_EQ(0, send_if(*queue, "gone", false));
  EXPECT_EQ(0u, queue->curmsgs());
  EXPECT_EQ(1, send_if(*queue, "there", true));
  EXPECT_EQ("1:there", receive(*queue));
}

TEST_F(TwoPhases, WhatCanNotBeSentIsNotAnswered) {
  const auto queue = create("q", 1, 4);
  int asked = 0;
  EXPECT_EQ(-EMSGSIZE, send_if(*queue, "12345", true, &asked));
  EXPECT_EQ(1, send_if(*queue, "1234", true));
  EXPECT_EQ(-EAGAIN, send_if(*queue, "full", true, &asked));
  EXPECT_EQ(0, asked);
}

TEST_F(TwoPhases, AReceiveWhoseReceiverIsGoneKeepsTheOrder) {
  const auto queue = create("q", 3);
  ASSERT_EQ(0, send(*queue, "first"));
  ASSERT_EQ(0, send(*queue, "second"));
  const auto gone = queue->receive_if(16, [](const MessageInfo&, std::span<const std::byte>) { return false; });
  ASSERT_TRUE(gone.ok());
  EXPECT_FALSE(*gone);
  EXPECT_EQ(2u, queue->curmsgs());
  EXPECT_EQ("0:first", receive(*queue));
  EXPECT_EQ("0:second", receive(*queue));
  EXPECT_EQ(EAGAIN, queue->receive_if(16, [](auto&, auto) { return true; }).code());
  EXPECT_EQ(EMSGSIZE, queue->receive_if(15, [](auto&, auto) { return true; }).code());
}

TEST_F(TwoPhases, AReceiverWhoIsGoneLeavesTheOrder) {
  const auto queue = create("q", 1);
  ASSERT_EQ(0, send(*queue, "full"));
  FakeChannel sender(budget);
  wait_to_send(*queue, "waits", sender);
  ASSERT_TRUE(queue->receive_if(16, [](auto&, auto) { return false; }).ok());
  // Whether the sender was admitted to the place that was free for a moment is left open.
  EXPECT_EQ("0:full", receive(*queue));
  EXPECT_EQ(std::vector<int>{0}, sender.done);
  EXPECT_EQ("0:waits", receive(*queue));
}

TEST_F(TwoPhases, AWaitingReceiverWhoIsGoneIsPassedOver) {
  const auto queue = create("q");
  VanishingChannel gone(budget, false), there(budget, true);
  wait_to_receive(*queue, gone);
  wait_to_receive(*queue, there);
  EXPECT_EQ(0, send(*queue, "x"));
  EXPECT_EQ("nothing", gone.received);
  EXPECT_EQ("x", there.received);
  EXPECT_EQ(0u, queue->curmsgs());
}

TEST_F(TwoPhases, WhenAllWaitingReceiversAreGoneTheMessageIsQueuedAndNotified) {
  const auto queue = create("q");
  std::vector<std::string> log;
  ASSERT_TRUE(queue->register_notification({.process = 7, .type = 0, .target = std::make_unique<FakeTarget>(log)}).ok());
  VanishingChannel gone(budget, false);
  wait_to_receive(*queue, gone);
  EXPECT_EQ(0, send(*queue, "x"));
  EXPECT_EQ(1u, queue->curmsgs());
  EXPECT_EQ(std::vector<std::string>{"woken by 42"}, log);
}

TEST_F(TwoPhases, AWaitingSenderWhoIsGoneIsPassedOver) {
  const auto queue = create("q", 1);
  ASSERT_EQ(0, send(*queue, "full"));
  VanishingChannel gone(budget, false), there(budget, true);
  wait_to_send(*queue, "gone", gone);
  wait_to_send(*queue, "there", there);
  EXPECT_EQ("0:full", receive(*queue));
  EXPECT_EQ("0:there", receive(*queue));
  EXPECT_EQ("E11", receive(*queue));
}

TEST_F(TwoPhases, AQueueThatWasUnlinkedComesBackWithItsMessages) {
  const auto queue = create("q");
  ASSERT_EQ(0, send(*queue, "kept"));
  ASSERT_TRUE(queue->open_handle().ok());
  ASSERT_TRUE(superblock().unlink("q").ok());
  EXPECT_EQ(ENOENT, superblock().find("q").code());
  ASSERT_TRUE(superblock().relink(queue).ok());
  queue->close_handle();
  EXPECT_EQ("0:kept", receive(**superblock().find("q")));
  EXPECT_EQ(ESTALE, superblock().relink(queue).code()) << "it has its name";
}

TEST_F(TwoPhases, ANameThatAnotherHasTakenIsHis) {
  const auto queue = create("q");
  ASSERT_TRUE(queue->open_handle().ok());
  ASSERT_TRUE(superblock().unlink("q").ok());
  const auto other = create("q");
  EXPECT_EQ(EEXIST, superblock().relink(queue).code());
  EXPECT_EQ(other, *superblock().find("q"));
  queue->close_handle();
}

}  // namespace
}  // namespace mqueuefs::ipc
