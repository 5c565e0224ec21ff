// Message queues: msgop(2), msgctl(2), in the order in which ipc/msg.c looks at things.
#include <sys/msg.h>

#include "base/clock.h"
#include "unit/ipc_sysv_fixture.h"

namespace mqueuefs::ipc::sysv {
namespace {

class SysvMessages : public SysvTest {
 protected:
  MessageQueues& queues() { return sysv.messages(); }

  int create(int flags = 0600, key_t key = IPC_PRIVATE) {
    const auto id = queues().get(caller(), key, flags, confirm);
    return id ? *id : -id.code();
  }
  /// 0, the errno, or -1: waits.
  int send(int id, int64_t type, std::string_view text, int flags = IPC_NOWAIT, Waiter* waiter = nullptr) {
    return send_as(caller(), id, type, text, flags, waiter);
  }
  int send_as(const Caller& who, int id, int64_t type, std::string_view text, int flags = IPC_NOWAIT,
              Waiter* waiter = nullptr) {
    const auto sent = queues().send(who, id, type, bytes_of(text), flags, waiter, confirm);
    return !sent ? sent.code() : *sent == Outcome::kWaiting ? -1 : 0;
  }
  /// "type:payload", "E<errno>", or "waits".
  std::string receive(int id, int64_t type = 0, int flags = IPC_NOWAIT, uint64_t size = 8192,
                      Waiter* waiter = nullptr) {
    return receive_as(caller(), id, type, flags, size, waiter);
  }
  std::string receive_as(const Caller& who, int id, int64_t type = 0, int flags = IPC_NOWAIT, uint64_t size = 8192,
                         Waiter* waiter = nullptr) {
    std::string text;
    const auto received = queues().receive(who, id, size, type, flags, waiter, [&](const Received& message) {
      const auto* bytes = reinterpret_cast<const char*>(message.message.payload.data());
      text = std::to_string(message.message.type) + ":" + std::string(bytes, message.size_bytes);
      return true;
    });
    if (!received) return "E" + std::to_string(received.code());
    return *received == Outcome::kWaiting ? "waits" : text;
  }
  void wait_to_send(int id, int64_t type, std::string_view text, Waiter& waiter) {
    ASSERT_EQ(-1, send(id, type, text, 0, &waiter));
  }
  void wait_to_receive(int id, Waiter& waiter, int64_t type = 0, uint64_t size = 8192, int flags = 0) {
    ASSERT_EQ("waits", receive(id, type, flags, size, &waiter));
  }
  int set(int id, uint64_t qbytes, mode_t mode = 0600, uid_t uid = 1000) {
    return queues().set(caller(), id, {uid, 1000, mode}, qbytes, confirm).code();
  }
  MessageQueueStatus status(int id) { return *queues().status(caller(), id, Lookup::kId); }
  int status_error(const Caller& who, int id, Lookup lookup) { return queues().status(who, id, lookup).code(); }
};

const std::string kNoMessage = "E" + std::to_string(ENOMSG);
const std::string kInvalid = "E" + std::to_string(EINVAL);
const std::string kTooBig = "E" + std::to_string(E2BIG);
const std::string kRemoved = "E" + std::to_string(EIDRM);
const std::string kDenied = "E" + std::to_string(EACCES);

TEST_F(SysvMessages, AKeyFindsItsQueueAndFlagsDecideWhatIsMade) {
  EXPECT_EQ(-ENOENT, create(0600, 7));
  const int id = create(0600 | IPC_CREAT, 7);
  EXPECT_EQ(0, id);
  EXPECT_EQ(id, create(0, 7));
  EXPECT_EQ(id, create(IPC_CREAT | 0600, 7));
  EXPECT_EQ(-EEXIST, create(IPC_CREAT | IPC_EXCL, 7));
  EXPECT_EQ(id, create(IPC_EXCL, 7));
  EXPECT_EQ(1, create(0600));
  EXPECT_EQ(2, create(IPC_CREAT | IPC_EXCL | 0600));
  EXPECT_EQ(EACCES, queues().get(stranger(), 7, 0400, confirm).code());
  EXPECT_EQ(id, *queues().get(stranger(), 7, 0, confirm));
}

TEST_F(SysvMessages, AsManyQueuesAsMsgmni) {
  limits.msgmni = 1;
  EXPECT_EQ(0, create());
  EXPECT_EQ(-ENOSPC, create());
}

TEST_F(SysvMessages, TypeZeroTakesTheOldest) {
  const int id = create();
  send(id, 5, "a"), send(id, 3, "b");
  EXPECT_EQ("5:a", receive(id));
  EXPECT_EQ("3:b", receive(id));
  EXPECT_EQ(kNoMessage, receive(id));
}

TEST_F(SysvMessages, APositiveTypeTakesTheOldestOfThatType) {
  const int id = create();
  send(id, 5, "a"), send(id, 3, "b"), send(id, 3, "c");
  EXPECT_EQ(kNoMessage, receive(id, 4));
  EXPECT_EQ("3:b", receive(id, 3));
  EXPECT_EQ("5:a", receive(id, 5));
}

TEST_F(SysvMessages, ANegativeTypeTakesTheOldestOfTheLeastTypeUpToIt) {
  const int id = create();
  send(id, 5, "a"), send(id, 3, "b"), send(id, 2, "c"), send(id, 2, "d"), send(id, 9, "e");
  EXPECT_EQ(kNoMessage, receive(id, -1));
  EXPECT_EQ("2:c", receive(id, -3));
  EXPECT_EQ("2:d", receive(id, INT64_MIN));
  EXPECT_EQ("3:b", receive(id, INT64_MIN));
  EXPECT_EQ("5:a", receive(id, -8));
  EXPECT_EQ(kNoMessage, receive(id, -8));
}

TEST_F(SysvMessages, ExceptTakesTheOldestOfAnotherType) {
  const int id = create();
  send(id, 5, "a"), send(id, 3, "b");
  EXPECT_EQ("3:b", receive(id, 5, IPC_NOWAIT | MSG_EXCEPT));
  EXPECT_EQ(kNoMessage, receive(id, 5, IPC_NOWAIT | MSG_EXCEPT));
  EXPECT_EQ("5:a", receive(id, 0, IPC_NOWAIT | MSG_EXCEPT));
}

TEST_F(SysvMessages, CopyLooksAtAPositionAndLeavesTheMessage) {
  const int id = create();
  constexpr int kCopy = MSG_COPY | IPC_NOWAIT;
  send(id, 5, "a"), send(id, 3, "bb");
  EXPECT_EQ("5:a", receive(id, 0, kCopy));
  EXPECT_EQ("3:bb", receive(id, 1, kCopy));
  EXPECT_EQ(kNoMessage, receive(id, 2, kCopy));
  EXPECT_EQ(kNoMessage, receive(id, -1, kCopy));
  EXPECT_EQ(kNoMessage, receive(id, INT64_MAX, kCopy));
  EXPECT_EQ(kInvalid, receive(id, 0, MSG_COPY));
  EXPECT_EQ(kInvalid, receive(id, 0, kCopy | MSG_EXCEPT));
  EXPECT_EQ(kTooBig, receive(id, 1, kCopy, 1));
  EXPECT_EQ(kInvalid, receive(id, 1, kCopy | MSG_NOERROR, 1));
  EXPECT_EQ(2u, status(id).qnum);
  EXPECT_EQ(0, status(id).lrpid);
}

TEST_F(SysvMessages, AMessageThatDoesNotFitIsRefusedOrCut) {
  const int id = create();
  send(id, 1, "12345");
  EXPECT_EQ(kTooBig, receive(id, 0, IPC_NOWAIT, 4));
  EXPECT_EQ("1:1234", receive(id, 0, IPC_NOWAIT | MSG_NOERROR, 4));
  EXPECT_EQ(0u, status(id).qnum);
  EXPECT_EQ(0u, status(id).cbytes);
}

TEST_F(SysvMessages, WhatASendRefusesInOrder) {
  const int id = create(0400);
  const std::string long_one(8193, 'x');
  EXPECT_EQ(EINVAL, send(id, 1, long_one));
  EXPECT_EQ(EINVAL, send(id, 0, ""));
  EXPECT_EQ(EINVAL, send(id, INT64_MIN, ""));
  EXPECT_EQ(EINVAL, send(-1, 1, ""));
  EXPECT_EQ(EINVAL, send(99, 1, ""));
  EXPECT_EQ(EACCES, send(id, 1, "x"));
  EXPECT_EQ(EACCES, send_as(stranger(), id, 1, "x"));
}

TEST_F(SysvMessages, WhatAReceiveRefusesInOrder) {
  const int id = create(0200);
  EXPECT_EQ(kInvalid, receive(-1));
  EXPECT_EQ(kInvalid, receive(id, 0, IPC_NOWAIT, UINT64_MAX));
  EXPECT_EQ(kInvalid, receive(99));
  EXPECT_EQ(kDenied, receive(id));
  rights.ipc_owner = true;
  EXPECT_EQ(kNoMessage, receive(id));
}

TEST_F(SysvMessages, WithoutAWaiterWhoWouldWaitIsToldSo) {
  const int id = create();
  EXPECT_EQ("E" + std::to_string(EAGAIN), receive(id, 0, 0));
  set(id, 1);
  EXPECT_EQ(EAGAIN, send(id, 1, "ab", 0));
}

TEST_F(SysvMessages, AQueueIsFullByBytesAndByMessages) {
  const int id = create();
  ASSERT_EQ(0, set(id, 3));
  EXPECT_EQ(EAGAIN, send(id, 1, "1234"));
  EXPECT_EQ(0, send(id, 1, "123"));
  EXPECT_EQ(EAGAIN, send(id, 1, "1"));
  EXPECT_EQ(0, send(id, 1, ""));
  EXPECT_EQ(0, send(id, 1, ""));
  EXPECT_EQ(EAGAIN, send(id, 1, ""));
}

TEST_F(SysvMessages, StatusShowsWhoDidWhatWhen) {
  const int id = create(0640);
  const int64_t now_s = file_time_now_s();
  MessageQueueStatus queue = status(id);
  EXPECT_EQ(0, queue.stime_s + queue.rtime_s + queue.lspid + queue.lrpid);
  EXPECT_GE(queue.ctime_s, now_s);
  EXPECT_EQ(16384u, queue.qbytes);
  EXPECT_EQ(0640u, queue.permissions.mode);
  send_as(caller(11), id, 1, "abc");
  receive_as(caller(12), id);
  send_as(caller(13), id, 1, "de");
  queue = status(id);
  EXPECT_EQ(13, queue.lspid);
  EXPECT_EQ(12, queue.lrpid);
  EXPECT_GE(queue.stime_s, now_s);
  EXPECT_GE(queue.rtime_s, now_s);
  EXPECT_EQ(1u, queue.qnum);
  EXPECT_EQ(2u, queue.cbytes);
}

TEST_F(SysvMessages, StatusByIndexIgnoresTheSequenceAndAnyoneMayAskForAny) {
  const int id = create(0600);
  EXPECT_EQ(EINVAL, status_error(caller(), id + kIndexes, Lookup::kId));
  EXPECT_EQ(0, status_error(caller(), id + kIndexes, Lookup::kIndex));
  EXPECT_EQ(EINVAL, status_error(caller(), id + 1, Lookup::kIndex));
  EXPECT_EQ(EINVAL, status_error(caller(), -1, Lookup::kIndexUnasked));
  EXPECT_EQ(EACCES, status_error(stranger(), id, Lookup::kId));
  EXPECT_EQ(EACCES, status_error(stranger(), id, Lookup::kIndex));
  EXPECT_EQ(0, status_error(stranger(), id, Lookup::kIndexUnasked));
}

TEST_F(SysvMessages, SettingRefusesInOrder) {
  const int id = create();
  EXPECT_EQ(EINVAL, set(id + 1, 10));
  EXPECT_EQ(EPERM, queues().set(stranger(), id, {1000, 1000, 0600}, 10, confirm).code());
  EXPECT_EQ(EPERM, set(id, 16385, 0600, -1));
  EXPECT_EQ(EINVAL, set(id, 10, 0600, -1));
  EXPECT_EQ(16384u, status(id).qbytes);
  rights.resourceful = true;
  EXPECT_EQ(0, set(id, 16385, 07777));
  EXPECT_EQ(16385u, status(id).qbytes);
  EXPECT_EQ(0777u, status(id).permissions.mode);
  strange_rights.administrator = true;
  EXPECT_EQ(0, queues().set(stranger(), id, {2000, 2001, 0600}, 10, confirm).code());
  EXPECT_EQ(2000u, status(id).permissions.uid);
  EXPECT_EQ(1000u, status(id).permissions.cuid);
}

TEST_F(SysvMessages, RemovingNeedsOwnerCreatorOrAdministrator) {
  const int id = create(0666);
  EXPECT_EQ(EPERM, queues().remove(stranger(), id, confirm).code());
  ASSERT_EQ(0, set(id, 10, 0666, 2000));
  EXPECT_EQ(0, queues().remove(stranger(), id, confirm).code());
  EXPECT_EQ(EINVAL, queues().remove(caller(), id, confirm).code());
}

TEST_F(SysvMessages, UsageCountsWhatIsInAllQueues) {
  const int a = create(), b = create();
  send(a, 1, "abc"), send(b, 1, "de"), send(b, 1, "");
  Usage usage = queues().usage();
  EXPECT_EQ(1, usage.greatest_index);
  EXPECT_EQ(2u, usage.used_ids);
  EXPECT_EQ(3u, usage.messages);
  EXPECT_EQ(5u, usage.message_bytes);
  receive(a);
  ASSERT_TRUE(queues().remove(caller(), b, confirm).ok());
  usage = queues().usage();
  EXPECT_EQ(0u, usage.messages + usage.message_bytes);
  EXPECT_EQ(0, usage.greatest_index);
}

TEST_F(SysvMessages, ListsShowEveryQueueByIndex) {
  create(0600, 0), create(0600 | IPC_CREAT, 77);
  EXPECT_EQ(77, queues().next_from(1, 1)->permissions.key);
  EXPECT_FALSE(queues().next_from(2, 1).has_value());
}

// --- who waits ---

TEST_F(SysvMessages, AWaitingReceiverGetsTheMessageWhichNeverEntersTheQueue) {
  const int id = create();
  FakeWaiter first, second;
  wait_to_receive(id, first);
  wait_to_receive(id, second);
  EXPECT_EQ(2u, status(id).waiting_receivers);
  EXPECT_EQ(0, send(id, 4, "x"));
  EXPECT_EQ(Offers{"0 4:x"}, first.offered);
  EXPECT_TRUE(second.offered.empty());
  EXPECT_EQ(0u, queues().usage().messages);
  EXPECT_EQ(kProcess, status(id).lrpid);
}

TEST_F(SysvMessages, HandedOverTheLastReaderIsTheThread) {
  const int id = create();
  FakeWaiter waiter;
  Caller thread = caller();
  thread.thread = 109;
  ASSERT_EQ("waits", receive_as(thread, id, 0, 0, 8, &waiter));
  send(id, 1, "x");
  EXPECT_EQ(109, status(id).lrpid);
}

TEST_F(SysvMessages, AMessagePassesReceiversWhoWantAnother) {
  const int id = create();
  FakeWaiter five, least, except, any;
  wait_to_receive(id, five, 5);
  wait_to_receive(id, least, -3);
  wait_to_receive(id, except, 4, 8192, MSG_EXCEPT);
  wait_to_receive(id, any);
  send(id, 4, "a");
  EXPECT_EQ(Offers{"0 4:a"}, any.offered);
  send(id, 7, "b");
  EXPECT_EQ(Offers{"0 7:b"}, except.offered);
  send(id, 4, "c");
  EXPECT_EQ(1u, status(id).qnum);
  send(id, 3, "d");
  EXPECT_EQ(Offers{"0 3:d"}, least.offered);
  send(id, 5, "e");
  EXPECT_EQ(Offers{"0 5:e"}, five.offered);
}

TEST_F(SysvMessages, AReceiverWhoseBufferIsTooSmallFailsAndTheNextGetsIt) {
  const int id = create();
  FakeWaiter small, cuts, big;
  wait_to_receive(id, small, 0, 2);
  wait_to_receive(id, cuts, 0, 2, MSG_NOERROR);
  wait_to_receive(id, big);
  send(id, 1, "abc");
  send(id, 1, "def");
  EXPECT_EQ(Offers{kTooBig}, small.offered);
  EXPECT_EQ(Offers{"0 1:ab"}, cuts.offered);
  EXPECT_EQ(Offers{"0 1:def"}, big.offered);
}

TEST_F(SysvMessages, WaitingSendersEnterInOrderAsFarAsTheyFit) {
  const int id = create();
  set(id, 4);
  send(id, 1, "full");
  FakeWaiter long_one, short_one, other;
  wait_to_send(id, 2, "long", long_one);
  wait_to_send(id, 3, "s", short_one);
  wait_to_send(id, 4, "oo", other);
  EXPECT_EQ("1:full", receive(id));
  EXPECT_EQ(Offers{"0"}, long_one.offered);
  EXPECT_TRUE(short_one.offered.empty() && other.offered.empty());
  EXPECT_EQ("2:long", receive(id));
  EXPECT_EQ("3:s", receive(id));
  EXPECT_EQ("4:oo", receive(id));
  EXPECT_EQ(Offers{"0"}, other.offered);
}

TEST_F(SysvMessages, ASenderWhoDoesNotFitLetsOthersPass) {
  const int id = create();
  set(id, 4);
  send(id, 1, "ab"), send(id, 1, "cd");
  FakeWaiter long_one, short_one;
  wait_to_send(id, 2, "long", long_one);
  wait_to_send(id, 3, "s", short_one);
  receive(id);
  EXPECT_EQ(Offers{"0"}, short_one.offered);
  EXPECT_TRUE(long_one.is_waiting());
  EXPECT_EQ(1u, status(id).waiting_senders);
}

// ss_wakeup(): who was woken for nothing stands behind those who were not.
TEST_F(SysvMessages, ASenderWokenForNothingStandsAtTheEnd) {
  const int id = create();
  set(id, 4);
  send(id, 1, "x"), send(id, 1, "yyy");
  FakeWaiter a, b, c;
  wait_to_send(id, 10, "a", a);
  wait_to_send(id, 11, "b", b);
  wait_to_send(id, 12, "ccc", c);
  receive(id);  // a and b are woken, of whom a finds room
  EXPECT_EQ(Offers{"0"}, a.offered);
  receive(id);
  EXPECT_EQ(Offers{"0"}, c.offered);
  EXPECT_TRUE(b.is_waiting());
}

TEST_F(SysvMessages, AServedSendersMessageMayGoToAReceiverAtOnce) {
  const int id = create();
  set(id, 1);
  send(id, 1, "x");
  FakeWaiter receiver, sender;
  wait_to_receive(id, receiver, 9);
  wait_to_send(id, 9, "y", sender);
  receive(id);
  EXPECT_EQ(Offers{"0"}, sender.offered);
  EXPECT_EQ(Offers{"0 9:y"}, receiver.offered);
}

TEST_F(SysvMessages, RemovalEndsAllWaits) {
  const int id = create();
  set(id, 1);
  FakeWaiter receiver, sender;
  wait_to_receive(id, receiver, 9);
  wait_to_send(id, 1, "long", sender);
  ASSERT_TRUE(queues().remove(caller(), id, confirm).ok());
  EXPECT_EQ(Offers{kRemoved}, receiver.offered);
  EXPECT_EQ(Offers{kRemoved}, sender.offered);
  EXPECT_EQ(kInvalid, receive(id));
}

TEST_F(SysvMessages, TheEndOfTheNamespaceEndsAllWaits) {
  FakeWaiter receiver;
  {
    SysvIpc ending(Surroundings{tasks, budget, limits, nullptr});
    const int id = *ending.messages().get(caller(), IPC_PRIVATE, 0600, confirm);
    ASSERT_TRUE(ending.messages().receive(caller(), id, 1, 0, 0, &receiver, nullptr).ok());
  }
  EXPECT_EQ(Offers{kRemoved}, receiver.offered);
}

TEST_F(SysvMessages, ACancelledWaitLeavesNothing) {
  const int id = create();
  set(id, 1);
  FakeWaiter receiver, sender;
  wait_to_receive(id, receiver);
  wait_to_send(id, 1, "long", sender);
  EXPECT_TRUE(receiver.cancel());
  EXPECT_TRUE(sender.cancel());
  EXPECT_FALSE(sender.cancel());
  sender.end(ETIMEDOUT);
  EXPECT_TRUE(sender.offered.empty());
  set(id, 100);
  EXPECT_EQ(0, send(id, 1, "x"));
  EXPECT_EQ("1:x", receive(id));
  EXPECT_EQ(kNoMessage, receive(id));
}

TEST_F(SysvMessages, EndingAWaitSaysWhy) {
  const int id = create();
  FakeWaiter receiver;
  wait_to_receive(id, receiver);
  receiver.end(EINTR);
  EXPECT_EQ(Offers{"E" + std::to_string(EINTR)}, receiver.offered);
}

TEST_F(SysvMessages, AWaiterWaitsOnce) {
  const int id = create();
  FakeWaiter waiter;
  wait_to_receive(id, waiter);
  EXPECT_EQ("E" + std::to_string(EBUSY), receive(id, 0, 0, 10, &waiter));
  set(id, 1);
  EXPECT_EQ(EBUSY, send(id, 1, "long", 0, &waiter));
}

TEST_F(SysvMessages, MoreRoomLetsSendersIn) {
  const int id = create();
  set(id, 1);
  FakeWaiter sender;
  wait_to_send(id, 1, "long", sender);
  set(id, 4);
  EXPECT_EQ(Offers{"0"}, sender.offered);
}

TEST_F(SysvMessages, WhoMayNoMoreIsToldSo) {
  const int id = create(0666);
  FakeWaiter mine, strange, strange_sender;
  wait_to_receive(id, mine);
  ASSERT_EQ("waits", receive_as(stranger(), id, 0, 0, 8, &strange));
  set(id, 1, 0666);
  ASSERT_EQ(-1, send_as(stranger(), id, 1, "long", 0, &strange_sender));
  set(id, 1, 0600);
  EXPECT_EQ(Offers{kDenied}, strange.offered);
  EXPECT_TRUE(mine.is_waiting());
  // He still has no room, so nobody asks him.
  EXPECT_TRUE(strange_sender.is_waiting());
  set(id, 100, 0600);
  EXPECT_EQ(Offers{kDenied}, strange_sender.offered);
}

TEST_F(SysvMessages, ChangingTheIdLeavesMessagesAndWaiters) {
  const int id = create(0600 | IPC_CREAT, 7);
  FakeWaiter five;
  wait_to_receive(id, five, 5);
  send(id, 1, "kept");
  ASSERT_TRUE(sysv.table(Kind::kMessages).change_id(id, 4711).ok());
  EXPECT_EQ(kInvalid, receive(id));
  EXPECT_EQ("1:kept", receive(4711));
  send(4711, 5, "x");
  EXPECT_EQ(Offers{"0 5:x"}, five.offered);
  EXPECT_EQ(4711, create(0, 7));
}

// --- two phases ---

TEST_F(SysvMessages, WhoIsGoneHasDoneNothing) {
  ASSERT_TRUE(sysv.table(Kind::kMessages).set_next_id(77).ok());
  EXPECT_EQ(ESRCH, queues().get(caller(), 7, IPC_CREAT | 0600, gone).code());
  EXPECT_EQ(0u, queues().usage().used_ids);
  EXPECT_EQ(77, sysv.table(Kind::kMessages).next_id());
  const int id = create();
  EXPECT_EQ(ESRCH, queues().send(caller(), id, 1, bytes_of("x"), 0, nullptr, gone).code());
  EXPECT_EQ(0u, status(id).qnum);
  EXPECT_EQ(0, status(id).lspid);
  EXPECT_EQ(ESRCH, queues().set(caller(), id, {1, 1, 0}, 10, gone).code());
  EXPECT_EQ(16384u, status(id).qbytes);
  EXPECT_EQ(ESRCH, queues().remove(caller(), id, gone).code());
  send(id, 1, "first"), send(id, 1, "second");
  EXPECT_EQ(ESRCH, queues().receive(caller(), id, 10, 0, 0, nullptr, [](auto&) { return false; }).code());
  EXPECT_EQ("1:first", receive(id));
}

TEST_F(SysvMessages, ConfirmedIsWhatTheCallReturns) {
  int64_t told = -1;
  const Confirm note = [&](int64_t result) {
    told = result;
    return true;
  };
  create();
  const int id = *queues().get(caller(), IPC_PRIVATE, 0600, note);
  EXPECT_EQ(id, told);
  EXPECT_TRUE(queues().send(caller(), id, 1, bytes_of("x"), 0, nullptr, note).ok());
  EXPECT_EQ(0, told);
}

TEST_F(SysvMessages, WhatFailsIsNotConfirmed) {
  const int id = create();
  const Confirm never = [](int64_t) {
    ADD_FAILURE() << "asked";
    return true;
  };
  EXPECT_EQ(EINVAL, queues().send(caller(), id, 0, bytes_of("x"), 0, nullptr, never).code());
  EXPECT_EQ(ENOENT, queues().get(caller(), 7, 0, never).code());
  EXPECT_EQ(EPERM, queues().remove(stranger(), id, never).code());
  set(id, 1);
  FakeWaiter waiter;
  EXPECT_EQ(Outcome::kWaiting, *queues().send(caller(), id, 1, bytes_of("long"), 0, &waiter, never));
}

TEST_F(SysvMessages, AWaitingReceiverWhoIsGoneIsPassedOver) {
  const int id = create();
  FakeWaiter absent(false), present;
  wait_to_receive(id, absent);
  wait_to_receive(id, present);
  send(id, 1, "x");
  EXPECT_EQ(Offers{"0 1:x"}, present.offered);
  EXPECT_FALSE(absent.is_waiting());
}

TEST_F(SysvMessages, WhenAllWaitingReceiversAreGoneTheMessageIsQueued) {
  const int id = create();
  FakeWaiter absent(false);
  wait_to_receive(id, absent);
  send(id, 1, "x");
  EXPECT_EQ(0, status(id).lrpid);
  EXPECT_EQ("1:x", receive(id));
}

TEST_F(SysvMessages, AWaitingSenderWhoIsGoneIsPassedOver) {
  const int id = create();
  set(id, 1);
  send(id, 1, "x");
  FakeWaiter absent(false), present;
  wait_to_send(id, 2, "a", absent);
  wait_to_send(id, 3, "b", present);
  receive(id);
  EXPECT_EQ("3:b", receive(id));
}

// --- memory ---

TEST_F(SysvMessages, MessagesAreChargedToWhoHoldsThem) {
  const int id = create(0666);
  const uint64_t before = budget.used(1000);
  send(id, 1, std::string(100, 'x'));
  EXPECT_GE(budget.used(1000), before + 100);
  FakeWaiter strange;
  receive(id);
  EXPECT_EQ(before, budget.used(1000));
  ASSERT_EQ("waits", receive_as(stranger(), id, 0, 0, 8192, &strange));
  send(id, 1, std::string(100, 'x'));
  EXPECT_EQ(before, budget.used(1000));
  EXPECT_GE(budget.used(2000), 100u);
  strange.message = {};
  EXPECT_EQ(0u, budget.used(2000));
  ASSERT_TRUE(queues().remove(caller(), id, confirm).ok());
  EXPECT_EQ(0u, budget.used(1000));
}

TEST_F(SysvMessages, OverTheUsersCeilingThereIsNoMemory) {
  MemoryBudget small(1000);
  SysvIpc poor(Surroundings{tasks, small, limits, nullptr});
  const int id = *poor.messages().get(caller(), IPC_PRIVATE, 0666, confirm);
  const std::string text(500, 'x');
  EXPECT_EQ(ENOMEM, poor.messages().send(caller(), id, 1, bytes_of(text), 0, nullptr, confirm).code());
  EXPECT_EQ(0, poor.messages().send(stranger(), id, 1, bytes_of(text), 0, nullptr, confirm).code());
  EXPECT_EQ(ENOMEM, poor.messages().get(caller(), IPC_PRIVATE, 0666, confirm).code());
}

}  // namespace
}  // namespace mqueuefs::ipc::sysv
