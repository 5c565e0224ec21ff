// Semaphore arrays: semop(2), semctl(2), and what is undone, in the order in which ipc/sem.c looks at things.
#include "unit/ipc_sysv_fixture.h"

namespace mqueuefs::ipc::sysv {
namespace {

constexpr short kNoWait = IPC_NOWAIT;

/// Notes in a common list that it was served.
class NamedWaiter : public Waiter {
 public:
  NamedWaiter(std::string name, std::vector<std::string>& order) : name_(std::move(name)), order_(order) {}
  ~NamedWaiter() override { cancel(); }

 private:
  bool offer(int, const Received*) override {
    order_.push_back(name_);
    return true;
  }
  const std::string name_;
  std::vector<std::string>& order_;
};

class SysvSemaphores : public SysvTest {
 protected:
  Semaphores& arrays() { return sysv.semaphores(); }
  int create(int nsems = 3, int flags = 0600, key_t key = IPC_PRIVATE) {
    const auto id = arrays().get(caller(), key, nsems, flags, confirm);
    return id ? *id : -id.code();
  }
  /// 0, the errno, or -1: waits.
  int operate(int id, std::vector<sembuf> operations, Waiter* waiter = nullptr, pid_t process = kProcess) {
    const auto done = arrays().operate(caller(process), id, operations, waiter, confirm);
    return !done ? done.code() : *done == Outcome::kWaiting ? -1 : 0;
  }
  void wait(int id, std::vector<sembuf> operations, Waiter& waiter, pid_t process = kProcess) {
    ASSERT_EQ(-1, operate(id, std::move(operations), &waiter, process));
  }
  int set(int id, int semnum, int value) { return arrays().set_value(caller(), id, semnum, value, confirm).code(); }
  int value(int id, int semnum) { return *arrays().value(caller(), id, semnum); }
  int last(int id, int semnum) { return *arrays().last_process(caller(), id, semnum); }
  int ncnt(int id, int semnum) { return *arrays().waiting_for_increase(caller(), id, semnum); }
  int zcnt(int id, int semnum) { return *arrays().waiting_for_zero(caller(), id, semnum); }
  SemaphoreArrayStatus status(int id) { return *arrays().status(caller(), id, Lookup::kId); }
};

TEST_F(SysvSemaphores, WhatSemgetRefusesInOrder) {
  EXPECT_EQ(-EINVAL, create(-1));
  EXPECT_EQ(-EINVAL, create(32001));
  EXPECT_EQ(-EINVAL, create(0));
  EXPECT_EQ(-ENOENT, create(0, 0, 7));
  const int id = create(2, 0600 | IPC_CREAT, 7);
  EXPECT_EQ(0, id);
  EXPECT_EQ(-EINVAL, create(32001, 0, 7));
  EXPECT_EQ(-EEXIST, create(3, IPC_CREAT | IPC_EXCL, 7));
  EXPECT_EQ(-EINVAL, create(3, 0, 7));
  EXPECT_EQ(EINVAL, arrays().get(stranger(), 7, 3, 0600, confirm).code());
  EXPECT_EQ(EACCES, arrays().get(stranger(), 7, 2, 0600, confirm).code());
  EXPECT_EQ(id, create(0, 0, 7));
  EXPECT_EQ(id, create(2, 0600, 7));
}

TEST_F(SysvSemaphores, AsManySemaphoresAsSemmnsAndArraysAsSemmni) {
  limits.semmns = 5;
  EXPECT_EQ(0, create(3));
  EXPECT_EQ(-ENOSPC, create(3));
  EXPECT_EQ(1, create(2));
  ASSERT_TRUE(arrays().remove(caller(), 0, confirm).ok());
  limits.semmni = 1;
  EXPECT_EQ(-ENOSPC, create(1));
  limits.semmni = 2;
  EXPECT_EQ(2, create(3));
  EXPECT_EQ(5u, arrays().usage().semaphores);
}

TEST_F(SysvSemaphores, WhatSemopRefusesInOrder) {
  const int id = create(3, 0);
  limits.semopm = 3;
  EXPECT_EQ(E2BIG, operate(-1, std::vector<sembuf>(4)));
  EXPECT_EQ(EINVAL, operate(id, {}));
  EXPECT_EQ(EINVAL, operate(-1, {{0, 1, 0}}));
  EXPECT_EQ(EINVAL, operate(9, {{0, 1, 0}}));
  EXPECT_EQ(EFBIG, operate(id, {{0, 1, 0}, {3, 1, 0}}));
  EXPECT_EQ(EFBIG, operate(id, {{0xffff, 1, 0}}));
  EXPECT_EQ(EACCES, operate(id, {{0, 1, 0}}));
  EXPECT_EQ(EACCES, operate(id, {{0, 0, 0}}));
}

TEST_F(SysvSemaphores, WaitingForZeroNeedsReadAlteringNeedsWrite) {
  const int id = create(1, 0400);
  EXPECT_EQ(0, operate(id, {{0, 0, 0}}));
  EXPECT_EQ(EACCES, operate(id, {{0, 1, 0}}));
  const int other = create(1, 0200);
  EXPECT_EQ(0, operate(other, {{0, 1, 0}}));
  EXPECT_EQ(EACCES, operate(other, {{0, 0, 0}}));
  EXPECT_EQ(EACCES, arrays().value(caller(), other, 0).code());
}

TEST_F(SysvSemaphores, AllOperationsHappenOrNone) {
  const int id = create();
  ASSERT_EQ(0, set(id, 1, 5));
  EXPECT_EQ(EAGAIN, operate(id, {{0, 2, 0}, {1, -5, 0}, {2, -1, kNoWait}}));
  EXPECT_EQ(0, value(id, 0));
  EXPECT_EQ(5, value(id, 1));
  EXPECT_EQ(0, operate(id, {{0, 2, 0}, {1, -5, 0}, {2, 1, kNoWait}, {0, -1, 0}}));
  EXPECT_EQ(1, value(id, 0));
  EXPECT_EQ(0, value(id, 1));
  EXPECT_EQ(0, operate(id, {{1, 1, 0}, {1, -1, 0}, {1, 0, 0}}));
  EXPECT_EQ(EAGAIN, operate(id, {{1, 1, 0}, {1, -2, kNoWait}}));
}

TEST_F(SysvSemaphores, ValuesAndUndoValuesHaveARange) {
  const int id = create();
  EXPECT_EQ(0, operate(id, {{0, 32767, 0}}));
  EXPECT_EQ(ERANGE, operate(id, {{1, 1, 0}, {0, 1, 0}}));
  EXPECT_EQ(0, value(id, 1));
  // What is undone goes from -32768 to 32767.
  EXPECT_EQ(0, operate(id, {{0, -32767, SEM_UNDO}}));
  EXPECT_EQ(0, operate(id, {{0, 1, 0}}));
  EXPECT_EQ(ERANGE, operate(id, {{0, -1, SEM_UNDO}}));
  EXPECT_EQ(1, value(id, 0));
  EXPECT_EQ(0, operate(id, {{1, 32767, SEM_UNDO}}));
  EXPECT_EQ(0, set(id, 1, 0));  // clears
  EXPECT_EQ(0, operate(id, {{1, 32767, SEM_UNDO}}));
  EXPECT_EQ(0, operate(id, {{1, -32767, 0}}));
  EXPECT_EQ(0, operate(id, {{1, 1, SEM_UNDO}}));
  EXPECT_EQ(ERANGE, operate(id, {{1, 1, SEM_UNDO}}));
  EXPECT_EQ(EINVAL, operate(id + 1, {{1, 1, SEM_UNDO}}));
}

TEST_F(SysvSemaphores, EachOperationLeavesItsProcessAndTheTime) {
  const int id = create();
  EXPECT_EQ(0, last(id, 0));
  EXPECT_EQ(0, status(id).otime_s);
  EXPECT_GT(status(id).ctime_s, 0);
  EXPECT_EQ(0, operate(id, {{0, 0, 0}, {1, 1, 0}}, nullptr, 42));
  EXPECT_EQ(42, last(id, 0));
  EXPECT_EQ(42, last(id, 1));
  EXPECT_EQ(0, last(id, 2));
  EXPECT_GT(status(id).otime_s, 0);
}

TEST_F(SysvSemaphores, SettingChecksTheValueFirst) {
  const int id = create(3, 0400);
  EXPECT_EQ(ERANGE, set(-1, -1, -1));
  EXPECT_EQ(ERANGE, set(99, 0, 32768));
  EXPECT_EQ(EINVAL, set(99, 0, 1));
  EXPECT_EQ(EINVAL, set(id, 3, 1));
  EXPECT_EQ(EINVAL, set(id, -1, 1));
  EXPECT_EQ(EACCES, set(id, 0, 1));
}

TEST_F(SysvSemaphores, GettingChecksThePermissionsFirst) {
  const int id = create(3, 0200);
  EXPECT_EQ(EINVAL, arrays().value(caller(), id + 1, 99).code());
  EXPECT_EQ(EACCES, arrays().value(caller(), id, 99).code());
  rights.ipc_owner = true;
  EXPECT_EQ(EINVAL, arrays().value(caller(), id, 3).code());
  EXPECT_EQ(EINVAL, arrays().last_process(caller(), id, -1).code());
  EXPECT_EQ(EINVAL, arrays().waiting_for_zero(caller(), id, INT_MAX).code());
  EXPECT_EQ(EINVAL, arrays().waiting_for_increase(caller(), id, INT_MIN).code());
}

TEST_F(SysvSemaphores, AllValuesAreSetAndGotAtOnce) {
  const int id = create();
  const std::vector<uint16_t> values{1, 2, 32767};
  EXPECT_EQ(0, arrays().set_values(caller(7), id, values, confirm).code());
  EXPECT_EQ(values, *arrays().values(caller(), id));
  EXPECT_EQ(7, last(id, 2));
  EXPECT_EQ(0, status(id).otime_s);
  EXPECT_EQ(ERANGE, arrays().set_values(caller(), id, std::vector<uint16_t>{9, 9, 32768}, confirm).code());
  EXPECT_EQ(EINVAL, arrays().set_values(caller(), id, std::vector<uint16_t>{9, 9}, confirm).code());
  EXPECT_EQ(EACCES, arrays().set_values(stranger(), id, values, confirm).code());
  EXPECT_EQ(EACCES, arrays().size_for_setting(stranger(), id).code());
  EXPECT_EQ(EACCES, arrays().values(stranger(), id).code());
  EXPECT_EQ(3u, *arrays().size_for_setting(caller(), id));
  EXPECT_EQ(values, *arrays().values(caller(), id));
}

TEST_F(SysvSemaphores, StatusSetAndRemove) {
  const int id = create(3, 0640);
  EXPECT_EQ(3u, status(id).nsems);
  EXPECT_EQ(EACCES, arrays().status(stranger(), id, Lookup::kIndex).code());
  EXPECT_TRUE(arrays().status(stranger(), id + kIndexes, Lookup::kIndexUnasked).ok());
  EXPECT_EQ(EPERM, arrays().set(stranger(), id, {2000, 2000, 0}, confirm).code());
  EXPECT_EQ(EINVAL, arrays().set(caller(), id, {static_cast<uid_t>(-1), 2000, 0}, confirm).code());
  EXPECT_EQ(0, arrays().set(caller(), id, {2000, 2000, 01666}, confirm).code());
  EXPECT_EQ(0666u, status(id).permissions.mode);
  EXPECT_EQ(0, arrays().remove(stranger(), id, confirm).code());
  EXPECT_EQ(0u, arrays().usage().semaphores);
}

// --- who waits ---

TEST_F(SysvSemaphores, WhoWaitsIsCountedWhereHeStopped) {
  const int id = create();
  ASSERT_EQ(0, set(id, 2, 1));
  FakeWaiter a, b, c;
  wait(id, {{0, -1, 0}}, a);
  wait(id, {{2, -1, 0}, {1, -1, 0}, {0, -1, 0}}, b);
  wait(id, {{2, 0, 0}}, c);
  EXPECT_EQ(1, ncnt(id, 0));
  EXPECT_EQ(1, ncnt(id, 1));
  EXPECT_EQ(0, ncnt(id, 2));
  EXPECT_EQ(1, zcnt(id, 2));
  EXPECT_EQ(0, zcnt(id, 0));
  EXPECT_EQ(3u, status(id).waiting);
  // He comes further, and stops at another.
  EXPECT_EQ(0, operate(id, {{1, 1, 0}}));
  EXPECT_EQ(0, ncnt(id, 1));
  EXPECT_EQ(2, ncnt(id, 0));
}

TEST_F(SysvSemaphores, WhoeverCanGoOnDoesInOrderOfArrival) {
  const int id = create();
  FakeWaiter two, one, another;
  wait(id, {{0, -2, 0}}, two, 1);
  wait(id, {{0, -1, 0}}, one, 2);
  wait(id, {{0, -1, 0}}, another, 3);
  EXPECT_EQ(0, operate(id, {{0, 1, 0}}));
  EXPECT_EQ(Offers{"0"}, one.offered);
  EXPECT_EQ(2, last(id, 0));
  EXPECT_EQ(0, operate(id, {{0, 2, 0}}));
  EXPECT_EQ(Offers{"0"}, two.offered);
  EXPECT_TRUE(another.is_waiting());
  EXPECT_EQ(0, value(id, 0));
}

TEST_F(SysvSemaphores, WhoWaitsForZeroGoesBeforeWhoAlters) {
  const int id = create();
  ASSERT_EQ(0, set(id, 0, 1));
  FakeWaiter alters, zero, zero_and_more;
  wait(id, {{0, 0, 0}, {0, 1, 0}}, alters);
  wait(id, {{0, 0, 0}}, zero);
  wait(id, {{0, 0, 0}, {1, 0, 0}}, zero_and_more);
  EXPECT_EQ(0, operate(id, {{0, -1, 0}}));
  EXPECT_EQ(Offers{"0"}, zero.offered);
  EXPECT_EQ(Offers{"0"}, zero_and_more.offered);
  EXPECT_EQ(Offers{"0"}, alters.offered);
  EXPECT_EQ(1, value(id, 0));
}

TEST_F(SysvSemaphores, WhatOneDoesMayBeWhatAnEarlierOneWaitsFor) {
  const int id = create();
  FakeWaiter first, second, zero;
  wait(id, {{1, -1, 0}}, first);
  wait(id, {{0, -1, 0}, {1, 1, 0}, {2, -1, 0}}, second);
  ASSERT_EQ(0, set(id, 2, 1));
  wait(id, {{2, 0, 0}}, zero);
  EXPECT_EQ(0, operate(id, {{0, 1, 0}}));
  EXPECT_EQ(Offers{"0"}, second.offered);
  EXPECT_EQ(Offers{"0"}, first.offered);
  EXPECT_EQ(Offers{"0"}, zero.offered);
}

TEST_F(SysvSemaphores, AWaitMayEndWithAnErrorOnceItComesFurther) {
  const int id = create();
  ASSERT_EQ(0, set(id, 1, 32767));
  FakeWaiter refuses, overflows;
  wait(id, {{0, -1, 0}, {2, -1, kNoWait}}, refuses);
  wait(id, {{0, -1, 0}, {1, 1, 0}}, overflows);
  EXPECT_EQ(0, operate(id, {{0, 1, 0}}));
  EXPECT_EQ(Offers{"E" + std::to_string(EAGAIN)}, refuses.offered);
  EXPECT_EQ(Offers{"E" + std::to_string(ERANGE)}, overflows.offered);
  EXPECT_EQ(1, value(id, 0));
}

TEST_F(SysvSemaphores, SettingServesWhoWaits) {
  const int id = create();
  FakeWaiter a, b;
  wait(id, {{0, -3, 0}}, a);
  wait(id, {{1, -1, 0}}, b);
  EXPECT_EQ(0, set(id, 0, 3));
  EXPECT_EQ(Offers{"0"}, a.offered);
  EXPECT_EQ(0, arrays().set_values(caller(), id, std::vector<uint16_t>{0, 1, 0}, confirm).code());
  EXPECT_EQ(Offers{"0"}, b.offered);
  EXPECT_GT(status(id).otime_s, 0);
}

TEST_F(SysvSemaphores, WithoutAWaiterOrWithOneInUseNobodyWaits) {
  const int id = create();
  EXPECT_EQ(EAGAIN, operate(id, {{0, -1, 0}}));
  FakeWaiter waiter;
  wait(id, {{0, -1, 0}}, waiter);
  EXPECT_EQ(EBUSY, operate(id, {{1, -1, 0}}, &waiter));
  EXPECT_TRUE(waiter.cancel());
  EXPECT_EQ(0, ncnt(id, 0));
}

TEST_F(SysvSemaphores, RemovalEndsAllWaits) {
  const int id = create();
  ASSERT_EQ(0, set(id, 0, 1));
  FakeWaiter zero, alters;
  wait(id, {{0, 0, 0}}, zero);
  wait(id, {{1, -1, SEM_UNDO}}, alters);
  EXPECT_TRUE(arrays().remove(caller(), id, confirm).ok());
  EXPECT_EQ(Offers{"E" + std::to_string(EIDRM)}, zero.offered);
  EXPECT_EQ(Offers{"E" + std::to_string(EIDRM)}, alters.offered);
  EXPECT_FALSE(sysv.holds_for(kProcess));
}

TEST_F(SysvSemaphores, ChangingTheIdLeavesValuesWaitersAndUndo) {
  const int id = create();
  FakeWaiter waiter;
  EXPECT_EQ(0, operate(id, {{1, 3, SEM_UNDO}}, nullptr, 5));
  wait(id, {{0, -1, 0}}, waiter);
  ASSERT_TRUE(sysv.table(Kind::kSemaphores).change_id(id, 99).ok());
  EXPECT_EQ(3, value(99, 1));
  EXPECT_EQ(0, operate(99, {{0, 1, 0}}));
  EXPECT_EQ(Offers{"0"}, waiter.offered);
  sysv.process_ended(5);
  EXPECT_EQ(0, value(99, 1));
}

// --- SEM_UNDO ---

TEST_F(SysvSemaphores, WhatAProcessDidWithUndoIsUndoneWhenItEnds) {
  const int id = create();
  ASSERT_EQ(0, set(id, 0, 5));
  EXPECT_EQ(0, operate(id, {{0, -2, SEM_UNDO}, {1, 4, SEM_UNDO}, {2, 1, 0}}, nullptr, 7));
  EXPECT_EQ(0, operate(id, {{0, -1, SEM_UNDO}}, nullptr, 7));
  EXPECT_EQ(0, operate(id, {{0, -1, SEM_UNDO}}, nullptr, 8));
  EXPECT_TRUE(sysv.holds_for(7));
  sysv.process_ended(7);
  EXPECT_FALSE(sysv.holds_for(7));
  EXPECT_EQ(4, value(id, 0));
  EXPECT_EQ(0, value(id, 1));
  EXPECT_EQ(1, value(id, 2));
  EXPECT_EQ(7, last(id, 0));
  sysv.process_ended(7);
  sysv.process_ended(8);
  EXPECT_EQ(5, value(id, 0));
}

TEST_F(SysvSemaphores, UndoingStaysInTheRangeOfValues) {
  const int id = create();
  EXPECT_EQ(0, operate(id, {{0, 1, SEM_UNDO}}, nullptr, 7));
  EXPECT_EQ(0, operate(id, {{0, -1, 0}}));
  ASSERT_EQ(0, set(id, 1, 10));
  EXPECT_EQ(0, operate(id, {{1, -5, SEM_UNDO}}, nullptr, 7));
  EXPECT_EQ(0, operate(id, {{1, 32760, 0}}));
  sysv.process_ended(7);
  EXPECT_EQ(0, value(id, 0));
  EXPECT_EQ(32767, value(id, 1));
}

TEST_F(SysvSemaphores, UndoingServesWhoWaits) {
  const int id = create();
  ASSERT_EQ(0, set(id, 0, 1));
  EXPECT_EQ(0, operate(id, {{0, -1, SEM_UNDO}}, nullptr, 7));
  FakeWaiter waiter;
  wait(id, {{0, -1, 0}}, waiter);
  sysv.process_ended(7);
  EXPECT_EQ(Offers{"0"}, waiter.offered);
  EXPECT_EQ(0, value(id, 0));
}

TEST_F(SysvSemaphores, SettingForgetsWhatWouldBeUndone) {
  const int id = create();
  EXPECT_EQ(0, operate(id, {{0, 3, SEM_UNDO}, {1, 3, SEM_UNDO}}, nullptr, 7));
  EXPECT_EQ(0, set(id, 0, 3));
  sysv.process_ended(7);
  EXPECT_EQ(3, value(id, 0));
  EXPECT_EQ(0, value(id, 1));
  EXPECT_EQ(0, operate(id, {{0, 3, SEM_UNDO}, {1, 3, SEM_UNDO}}, nullptr, 7));
  EXPECT_EQ(0, arrays().set_values(caller(), id, std::vector<uint16_t>{8, 9, 9}, confirm).code());
  sysv.process_ended(7);
  EXPECT_EQ(8, value(id, 0));
}

TEST_F(SysvSemaphores, WhoOnlyTriedWithUndoMovesTheTimeWhenHeEnds) {
  const int id = create();
  EXPECT_EQ(EAGAIN, operate(id, {{0, -1, static_cast<short>(SEM_UNDO | IPC_NOWAIT)}}, nullptr, 7));
  EXPECT_EQ(0, status(id).otime_s);
  sysv.process_ended(7);
  EXPECT_GT(status(id).otime_s, 0);
  EXPECT_EQ(0, last(id, 0));
}

TEST_F(SysvSemaphores, AWaitersUndoCountsOnceHeIsServed) {
  const int id = create();
  FakeWaiter waiter;
  wait(id, {{0, -1, SEM_UNDO}}, waiter, 7);
  EXPECT_EQ(0, operate(id, {{0, 1, 0}}));
  EXPECT_EQ(0, value(id, 0));
  sysv.process_ended(7);
  EXPECT_EQ(1, value(id, 0));
}

TEST_F(SysvSemaphores, TheNewestArrayIsUndoneFirst) {
  const int older = create(1), newer = create(1);
  for (const int id : {older, newer}) EXPECT_EQ(0, operate(id, {{0, 1, SEM_UNDO}}, nullptr, 7));
  std::vector<std::string> order;
  NamedWaiter on_older("older", order), on_newer("newer", order);
  wait(older, {{0, 0, 0}}, on_older);
  wait(newer, {{0, 0, 0}}, on_newer);
  sysv.process_ended(7);
  EXPECT_EQ((std::vector<std::string>{"newer", "older"}), order);
}

TEST_F(SysvSemaphores, AWaiterWhoseProcessHasEndedDoesNoHarm) {
  const int id = create();
  FakeWaiter waiter;
  wait(id, {{0, -1, SEM_UNDO}}, waiter, 7);
  sysv.process_ended(7);
  EXPECT_EQ(0, operate(id, {{0, 1, 0}}));
  EXPECT_EQ(0, value(id, 0));
  EXPECT_FALSE(sysv.holds_for(7));
}

TEST_F(SysvSemaphores, ExecutingAnotherProgramKeepsWhatWillBeUndone) {
  const int id = create();
  EXPECT_EQ(0, operate(id, {{0, 3, SEM_UNDO}}, nullptr, 7));
  sysv.process_executed(7);
  EXPECT_EQ(3, value(id, 0));
  EXPECT_TRUE(sysv.holds_for(7));
}

// --- two phases ---

TEST_F(SysvSemaphores, WhoIsGoneHasDoneNothing) {
  EXPECT_EQ(ESRCH, arrays().get(caller(), IPC_PRIVATE, 3, 0600, gone).code());
  EXPECT_EQ(0u, arrays().usage().semaphores);
  const int id = create();
  ASSERT_EQ(0, set(id, 1, 5));
  const std::vector<sembuf> operations{{0, 2, SEM_UNDO}, {1, -1, 0}};
  EXPECT_EQ(ESRCH, arrays().operate(caller(7), id, operations, nullptr, gone).code());
  EXPECT_FALSE(sysv.holds_for(7));
  EXPECT_EQ(0, value(id, 0));
  EXPECT_EQ(5, value(id, 1));
  EXPECT_EQ(0, last(id, 0));
  EXPECT_EQ(0, status(id).otime_s);
  EXPECT_EQ(ESRCH, arrays().set_value(caller(), id, 0, 9, gone).code());
  EXPECT_EQ(ESRCH, arrays().set_values(caller(), id, std::vector<uint16_t>{9, 9, 9}, gone).code());
  EXPECT_EQ(ESRCH, arrays().set(caller(), id, {9, 9, 0}, gone).code());
  EXPECT_EQ(ESRCH, arrays().remove(caller(), id, gone).code());
  EXPECT_EQ(0, value(id, 0));
}

TEST_F(SysvSemaphores, UndoOfWhatWasDoneBeforeStaysIfHeIsGone) {
  const int id = create();
  EXPECT_EQ(0, operate(id, {{0, 3, SEM_UNDO}}, nullptr, 7));
  const std::vector<sembuf> operations{{0, 2, SEM_UNDO}};
  EXPECT_EQ(ESRCH, arrays().operate(caller(7), id, operations, nullptr, gone).code());
  EXPECT_EQ(3, value(id, 0));
  sysv.process_ended(7);
  EXPECT_EQ(0, value(id, 0));
}

TEST_F(SysvSemaphores, AWaiterWhoIsGoneIsPassedOver) {
  const int id = create();
  FakeWaiter absent(false), present;
  wait(id, {{0, -1, SEM_UNDO}}, absent, 7);
  wait(id, {{0, -1, 0}}, present, 8);
  EXPECT_EQ(0, operate(id, {{0, 1, 0}}));
  EXPECT_EQ(Offers{"0"}, present.offered);
  EXPECT_EQ(8, last(id, 0));
  sysv.process_ended(7);
  EXPECT_EQ(0, value(id, 0));
}

// --- memory ---

TEST_F(SysvSemaphores, ArraysAndUndoValuesAreCharged) {
  MemoryBudget small(90000);
  SysvIpc poor(Surroundings{tasks, small, limits, nullptr});
  EXPECT_EQ(ENOMEM, poor.semaphores().get(caller(), IPC_PRIVATE, 32000, 0600, confirm).code());
  const int id = *poor.semaphores().get(caller(), IPC_PRIVATE, 8000, 0600, confirm);
  const std::vector<sembuf> operations{{0, 1, SEM_UNDO}};
  EXPECT_TRUE(poor.semaphores().operate(caller(7), id, operations, nullptr, confirm).ok());
  EXPECT_TRUE(poor.semaphores().operate(caller(7), id, operations, nullptr, confirm).ok());
  EXPECT_EQ(ENOMEM, poor.semaphores().operate(caller(8), id, operations, nullptr, confirm).code());
  EXPECT_EQ(2, *poor.semaphores().value(caller(), id, 0));
  poor.process_ended(7);
  EXPECT_TRUE(poor.semaphores().remove(caller(), id, confirm).ok());
  EXPECT_EQ(0u, small.used(1000));
}

}  // namespace
}  // namespace mqueuefs::ipc::sysv
