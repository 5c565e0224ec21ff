// Sending, receiving, waiting and notification as the rules of doc/behaviour.md E and F say, on the model alone.
#include <signal.h>
#include <unistd.h>

#include "unit/ipc_fixture.h"

namespace mqueuefs::ipc {
namespace {

using std::string;

TEST_F(IpcTest, PriorityThenArrival) {
  const auto queue = create("q", 10);
  for (const char* text : {"a", "b", "c"}) ASSERT_EQ(send(*queue, text, 1), 0);
  ASSERT_EQ(send(*queue, "high", 9), 0);
  ASSERT_EQ(send(*queue, "low", 0), 0);
  EXPECT_EQ(receive(*queue), "9:high");
  EXPECT_EQ(receive(*queue), "1:a");
  EXPECT_EQ(receive(*queue), "1:b");
  EXPECT_EQ(receive(*queue), "1:c");
  EXPECT_EQ(receive(*queue), "0:low");
  EXPECT_EQ(receive(*queue), kEmpty);
}

TEST_F(IpcTest, SendChecksPriorityThenSizeThenRoom) {
  const auto queue = create("q", 1, 4);
  ASSERT_EQ(send(*queue, "full"), 0);
  EXPECT_EQ(send(*queue, "too long", kPriorities), EINVAL);
  EXPECT_EQ(send(*queue, "too long"), EMSGSIZE);
  EXPECT_EQ(send(*queue, "x"), EAGAIN);
}

TEST_F(IpcTest, ReceiveChecksBufferBeforeEmptiness) {
  const auto queue = create("q", 1, 4);
  std::vector<std::byte> buffer(3);
  EXPECT_EQ(queue->try_receive(3, buffer, nullptr).code(), EMSGSIZE);
  ASSERT_EQ(send(*queue, "x"), 0);
  EXPECT_EQ(queue->try_receive(3, buffer, nullptr).code(), EMSGSIZE);
  EXPECT_EQ(receive(*queue), "0:x");
}

TEST_F(IpcTest, ZeroLengthIsAMessage) {
  const auto queue = create("q");
  ASSERT_EQ(send(*queue, "", 7), 0);
  EXPECT_EQ(queue->curmsgs(), 1u);
  EXPECT_EQ(queue->qsize(), 0u);
  EXPECT_EQ(receive(*queue), "7:");
}

TEST_F(IpcTest, HandOverIsNeverSeenAsQueued) {
  const auto queue = create("q");
  std::vector<string> log;
  ASSERT_TRUE(queue->register_notification({5, SIGEV_SIGNAL, SIGUSR1, std::make_unique<FakeTarget>(log)}).ok());
  FakeObserver observer;
  superblock().add_observer(observer);
  FakeChannel receiver(budget);
  wait_to_receive(*queue, receiver);
  ASSERT_EQ(send(*queue, "direct", 3), 0);
  EXPECT_EQ(queue->curmsgs(), 0u);
  EXPECT_EQ(queue->qsize(), 0u);
  EXPECT_EQ(receiver.done, std::vector<int>{0});
  EXPECT_EQ(assigned(*queue, receiver), "3:direct");
  EXPECT_TRUE(log.empty());
  EXPECT_EQ(observer.readiness, 0);
  EXPECT_TRUE(queue->has_registration());
  superblock().remove_observer(observer);
}

TEST_F(IpcTest, ReceiversAreServedByRankThenArrival) {
  const auto queue = create("q");
  FakeChannel nice(budget), first(budget), second(budget), realtime(budget);
  wait_to_receive(*queue, nice, 139);
  wait_to_receive(*queue, first, 120);
  wait_to_receive(*queue, second, 120);
  wait_to_receive(*queue, realtime, 10);
  for (const char* text : {"1", "2", "3", "4"}) ASSERT_EQ(send(*queue, text), 0);
  EXPECT_EQ(assigned(*queue, realtime), "0:1");
  EXPECT_EQ(assigned(*queue, first), "0:2");
  EXPECT_EQ(assigned(*queue, second), "0:3");
  EXPECT_EQ(assigned(*queue, nice), "0:4");
}

TEST_F(IpcTest, SendersAreAdmittedByRankNotByMessagePriority) {
  const auto queue = create("q", 1);
  ASSERT_EQ(send(*queue, "first"), 0);
  FakeChannel ordinary(budget), realtime(budget);
  wait_to_send(*queue, "urgent", ordinary, 100, 120);
  wait_to_send(*queue, "ranked", realtime, 1, 10);
  EXPECT_EQ(receive(*queue), "0:first");
  EXPECT_EQ(realtime.done, std::vector<int>{0});
  EXPECT_TRUE(ordinary.done.empty());
  EXPECT_EQ(queue->curmsgs(), 1u);
  EXPECT_EQ(receive(*queue), "1:ranked");
  EXPECT_EQ(receive(*queue), "100:urgent");
  EXPECT_EQ(receive(*queue), kEmpty);
}

TEST_F(IpcTest, MessageOfAReceiverThatDiesGoesBackToItsPlace) {
  const auto queue = create("q", 10);
  auto receiver = std::make_unique<FakeChannel>(budget);
  wait_to_receive(*queue, *receiver);
  ASSERT_EQ(send(*queue, "one", 5), 0);
  ASSERT_EQ(send(*queue, "two", 5), 0);
  ASSERT_EQ(send(*queue, "lower", 1), 0);
  receiver.reset();
  EXPECT_EQ(queue->curmsgs(), 3u);
  EXPECT_EQ(receive(*queue), "5:one");
  EXPECT_EQ(receive(*queue), "5:two");
  EXPECT_EQ(receive(*queue), "1:lower");
}

TEST_F(IpcTest, MessageOfAReceiverThatDiesGoesToTheNextOneWaiting) {
  const auto queue = create("q");
  auto first = std::make_unique<FakeChannel>(budget);
  FakeChannel second(budget);
  wait_to_receive(*queue, *first);
  wait_to_receive(*queue, second);
  ASSERT_EQ(send(*queue, "m"), 0);
  first.reset();
  EXPECT_EQ(assigned(*queue, second), "0:m");
}

TEST_F(IpcTest, NothingIsLostWhenMoreComesBackThanTheQueueHolds) {
  constexpr int kReceivers = 200;  // more than the segment's spare slots
  const auto queue = create("q", 1);
  std::vector<std::unique_ptr<FakeChannel>> receivers;
  for (int i = 0; i < kReceivers; i++) {
    receivers.push_back(std::make_unique<FakeChannel>(budget));
    wait_to_receive(*queue, *receivers.back());
  }
  for (int i = 0; i < kReceivers; i++) ASSERT_EQ(send(*queue, std::to_string(i)), 0);
  ASSERT_EQ(send(*queue, "last"), 0);
  for (int i = kReceivers - 1; i >= 0; i--) receivers[static_cast<size_t>(i)].reset();
  EXPECT_EQ(queue->curmsgs(), kReceivers + 1u);
  EXPECT_EQ(send(*queue, "x"), EAGAIN);
  for (int i = 0; i < kReceivers; i++) ASSERT_EQ(receive(*queue), "0:" + std::to_string(i));
  EXPECT_EQ(receive(*queue), "0:last");
  EXPECT_EQ(receive(*queue), kEmpty);
}

// doc/behaviour.md E5: the kernel's leaves the line when it stops.
TEST_F(IpcTest, StoppedWaiterIsToldToComeAgain) {
  const auto queue = create("a", 1);
  FakeChannel stopped(budget), other(budget);
  std::vector<std::byte> buffer(16);
  ASSERT_TRUE(queue->receive(16, buffer, stopped, WaitRequest{.task = 7}).ok());
  ASSERT_TRUE(queue->receive(16, buffer, other, WaitRequest{.task = 8}).ok());
  tasks.stopped = 7;
  usleep(10'000);
  EXPECT_EQ(send(*queue, "x"), 0);
  EXPECT_EQ(stopped.done, std::vector<int>{ERESTART});
  EXPECT_EQ(stopped.state(), Channel::State::kIdle);
  EXPECT_EQ(assigned(*queue, other), "0:x");
  other.finish_fetch();

  EXPECT_EQ(send(*queue, "full"), 0);
  ASSERT_TRUE(queue->send(0, bytes_of("y"), Sender{7, 1000}, stopped, WaitRequest{.task = 7}).ok());
  usleep(10'000);
  EXPECT_EQ(receive(*queue), "0:full");
  EXPECT_EQ(stopped.done, (std::vector<int>{ERESTART, ERESTART}));
  EXPECT_EQ(queue->curmsgs(), 0u) << "not sent";
  EXPECT_TRUE(queue->writable());
}

TEST_F(IpcTest, WaitingSenderThatDiesLeavesNothing) {
  const auto queue = create("q", 1);
  ASSERT_EQ(send(*queue, "first"), 0);
  auto sender = std::make_unique<FakeChannel>(budget);
  wait_to_send(*queue, "never", *sender);
  EXPECT_GT(budget.used(1000), 0u);
  sender.reset();
  EXPECT_EQ(receive(*queue), "0:first");
  EXPECT_EQ(receive(*queue), kEmpty);
}

TEST_F(IpcTest, CancelAndServiceExcludeEachOther) {
  const auto queue = create("q");
  FakeChannel receiver(budget);
  wait_to_receive(*queue, receiver);
  EXPECT_TRUE(receiver.cancel());
  EXPECT_FALSE(receiver.cancel());
  ASSERT_EQ(send(*queue, "m"), 0);
  EXPECT_TRUE(receiver.done.empty());
  EXPECT_EQ(receive(*queue), "0:m");
  wait_to_receive(*queue, receiver);
  ASSERT_EQ(send(*queue, "n"), 0);
  EXPECT_FALSE(receiver.cancel());
  EXPECT_EQ(assigned(*queue, receiver), "0:n");
}

TEST_F(IpcTest, DeadlineInThePastWaitsForNothing) {
  const auto queue = create("q", 1);
  FakeChannel channel(budget);
  std::vector<std::byte> buffer(16);
  const WaitRequest past{.deadline_ns = 1};
  EXPECT_EQ(queue->receive(16, buffer, channel, past).code(), ETIMEDOUT);
  EXPECT_EQ(*queue->send(0, bytes_of("room"), {}, channel, past), Outcome::kDone);
  EXPECT_EQ(queue->send(0, bytes_of("full"), {}, channel, past).code(), ETIMEDOUT);
  EXPECT_TRUE(queue->receive(16, buffer, channel, past)->has_value());
}

TEST_F(IpcTest, MessageTooLongForTheAnswerStaysInTheChannelUntilFetched) {
  const auto queue = create("q", 4, 64);
  const string longer(50, 'x');
  ASSERT_EQ(send(*queue, longer), 0);
  ASSERT_EQ(send(*queue, "next"), 0);
  std::vector<std::byte> answer(10);
  EXPECT_EQ(queue->try_receive(64, answer, nullptr).code(), EINVAL);
  {
    FakeChannel channel(budget);
    EXPECT_EQ(queue->try_receive(64, answer, &channel)->size, 50u);
    EXPECT_EQ(queue->curmsgs(), 1u);
    EXPECT_EQ(assigned(*queue, channel), "0:" + longer);
    EXPECT_EQ(queue->try_receive(64, answer, &channel)->size, 4u) << "a short one needs no channel";
  }
  EXPECT_EQ(receive(*queue), "0:" + longer) << "the channel went without having fetched it";
  FakeChannel channel(budget);
  ASSERT_EQ(send(*queue, longer), 0);
  ASSERT_TRUE(queue->try_receive(64, answer, &channel).ok());
  channel.finish_fetch();
  EXPECT_EQ(receive(*queue), kEmpty);
}

TEST_F(IpcTest, StagedPiecesArriveAsOne) {
  const auto queue = create("q", 1, 16);
  FakeChannel channel(budget);
  EXPECT_EQ(channel.stage(8, 4, bytes_of("late")).code(), EINVAL);
  ASSERT_TRUE(channel.stage(8, 0, bytes_of("abcd")).ok());
  EXPECT_EQ(queue->send_staged(0, {}, channel, std::nullopt).code(), EINVAL) << "half of it is missing";
  EXPECT_EQ(channel.stage(8, 4, bytes_of("too long")).code(), EINVAL);
  ASSERT_TRUE(channel.stage(8, 4, bytes_of("efgh")).ok());
  EXPECT_EQ(*queue->send_staged(2, {}, channel, std::nullopt), Outcome::kDone);
  EXPECT_EQ(channel.state(), Channel::State::kIdle);

  ASSERT_TRUE(channel.stage(4, 0, bytes_of("wait")).ok());
  EXPECT_EQ(queue->send_staged(0, {}, channel, std::nullopt).code(), EAGAIN);
  EXPECT_EQ(*queue->send_staged(0, {}, channel, WaitRequest{}), Outcome::kWaiting);
  EXPECT_EQ(receive(*queue), "2:abcdefgh");
  EXPECT_EQ(receive(*queue), "0:wait");
}

TEST_F(IpcTest, BudgetBoundsWhatWaits) {
  MemoryBudget small(10);
  FakeChannel channel(small);
  EXPECT_EQ(channel.stage(11, 0, bytes_of("x")).code(), ENOMEM);
  EXPECT_TRUE(channel.stage(10, 0, bytes_of("x")).ok());
  channel.abandon();
  EXPECT_EQ(small.used(1000), 0u);
}

TEST_F(IpcTest, NotificationFiresOnceOnEmptyToNonEmpty) {
  const auto queue = create("q", 5);
  std::vector<string> log;
  ASSERT_EQ(send(*queue, "before"), 0);
  ASSERT_TRUE(queue->register_notification({5, SIGEV_SIGNAL, 10, std::make_unique<FakeTarget>(log)}).ok());
  EXPECT_EQ(queue->register_notification({5, SIGEV_NONE, 0, nullptr}).code(), EBUSY);
  ASSERT_EQ(send(*queue, "not empty"), 0);
  EXPECT_TRUE(log.empty());
  receive(*queue);
  receive(*queue);
  ASSERT_EQ(send(*queue, "m"), 0);
  EXPECT_EQ(log, std::vector<string>{"woken by 42"});
  EXPECT_FALSE(queue->has_registration());
}

TEST_F(IpcTest, OnlyTheOwnerUnregisters) {
  const auto queue = create("q");
  std::vector<string> log;
  ASSERT_TRUE(queue->register_notification({5, SIGEV_SIGNAL, 10, std::make_unique<FakeTarget>(log)}).ok());
  EXPECT_EQ(queue->status().notify_process, 5);
  EXPECT_EQ(queue->status().notify_signo, 10);
  queue->unregister_notification(6);
  queue->process_closed(6);
  EXPECT_TRUE(queue->has_registration());
  queue->process_closed(5);
  EXPECT_FALSE(queue->has_registration());
  EXPECT_EQ(log, std::vector<string>{"removed"});
  EXPECT_EQ(notification_type_ok(SIGEV_SIGNAL, 65).code(), EINVAL);
  EXPECT_EQ(notification_type_ok(SIGEV_SIGNAL, 0).code(), 0);
  EXPECT_EQ(notification_type_ok(77, 0).code(), EINVAL);
}

TEST_F(IpcTest, PeekTakesAndWakesNothing) {
  const auto queue = create("q", 5);
  ASSERT_EQ(send(*queue, "low", 1), 0);
  ASSERT_EQ(send(*queue, "high", 2), 0);
  PeekPosition position;
  std::vector<std::byte> buffer(16);
  EXPECT_EQ(queue->peek(position, 0, buffer)->priority, 2u);
  EXPECT_EQ(queue->peek(position, 0, buffer)->priority, 1u);
  EXPECT_EQ(queue->peek(position, 0, buffer).code(), EAGAIN);
  EXPECT_EQ(queue->curmsgs(), 2u);
}

TEST_F(IpcTest, LeastRecentlyUsedSegmentsAreUnmapped) {
  MappedSegments few(2);
  IpcNamespace other(2, "", 0, 0, Environment{tasks, budget, few, mapped_queues});
  std::vector<QueuePointer> queues;
  for (int i = 0; i < 5; i++) {
    const RequestedAttributes attributes{2, 16};
    queues.push_back(*other.superblock()->create("q" + std::to_string(i), 0600, &attributes, Creator{}));
    ASSERT_EQ(send(*queues.back(), std::to_string(i)), 0);
    EXPECT_LE(few.mapped(), 2u);
  }
  for (int i = 0; i < 5; i++) EXPECT_EQ(receive(*queues[static_cast<size_t>(i)]), "0:" + std::to_string(i));
}

TEST_F(IpcTest, WhatWasDeliveredUnreadGoesBackToItsPlace) {
  const QueuePointer queue = create("q");
  {
    FakeChannel channel(budget);
    channel.sends_message = true;
    channel.unread = true;
    wait_to_receive(*queue, channel);
    ASSERT_EQ(send(*queue, "first"), 0);
    ASSERT_EQ(send(*queue, "second"), 0);
    EXPECT_EQ(queue->curmsgs(), 1u);
    EXPECT_EQ(channel.state(), Channel::State::kDelivered);
  }
  EXPECT_EQ(receive(*queue), "0:first");
  EXPECT_EQ(receive(*queue), "0:second");
}

TEST_F(IpcTest, WhatWasDeliveredAndReadIsGone) {
  const QueuePointer queue = create("q");
  const uint64_t used_before = budget.used(1000);
  FakeChannel channel(budget);
  channel.sends_message = true;
  wait_to_receive(*queue, channel);
  ASSERT_EQ(send(*queue, "first"), 0);
  channel.settle();
  EXPECT_EQ(channel.state(), Channel::State::kIdle);
  EXPECT_EQ(budget.used(1000), used_before);
  wait_to_receive(*queue, channel);
  ASSERT_EQ(send(*queue, "second"), 0);
  channel.abandon();
  EXPECT_EQ(queue->curmsgs(), 0u);
}

TEST_F(IpcTest, WhatWasDeliveredDoesNotKeepItsQueue) {
  QueuePointer queue = create("q");
  ASSERT_TRUE(queue->open_handle());
  FakeChannel channel(budget);
  channel.sends_message = true;
  channel.unread = true;
  wait_to_receive(*queue, channel);
  ASSERT_EQ(send(*queue, "x"), 0);
  ASSERT_TRUE(superblock().unlink("q"));
  queue->close_handle();
  EXPECT_EQ(ipc_namespace->charged_bytes(1000), 0u);
  channel.abandon();  // nowhere to go back to
}

}  // namespace
}  // namespace mqueuefs::ipc
