// semop(2), semctl(2), semget(2): arrays of operations, who waits for what, and what is undone when a process ends.
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <climits>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/unique_fd.h"
#include "support/child.h"
#include "support/credentials.h"
#include "support/diary.h"
#include "support/expect.h"
#include "support/sysv_calls.h"
#include "support/target.h"
#include "support/wait.h"

namespace mqueuefs::test {
namespace {

class SysvSemaphore : public SysvTest {};

constexpr int kMostValue = 32767;

std::vector<unsigned short> values_of(int id) {
  std::vector<unsigned short> values(status_of_semaphores(id).sem_nsems);
  SemaphoreArgument argument{};
  argument.array = values.data();
  EXPECT_OK(semctl(id, 0, GETALL, argument));
  return values;
}

int set_values(int id, std::vector<unsigned short> values) {
  SemaphoreArgument argument{};
  argument.array = values.data();
  return semctl(id, 0, SETALL, argument);
}

int remove_semaphores(int id) {
  return semctl(id, 0, IPC_RMID);
}
int waiting_for_more(int id, int number = 0) {
  return semctl(id, number, GETNCNT);
}
int waiting_for_zero(int id, int number = 0) {
  return semctl(id, number, GETZCNT);
}
int last_process(int id, int number = 0) {
  return semctl(id, number, GETPID);
}

using Values = std::vector<unsigned short>;

// Sets. semget(2).

TEST_F(SysvSemaphore, ANewSetHasTheNumberAskedForAllZero) {
  in_new_ipc_namespace([] {
    const int id = new_semaphores(5);
    ASSERT_OK(id);
    EXPECT_EQ(5u, status_of_semaphores(id).sem_nsems);
    EXPECT_EQ(Values(5, 0), values_of(id));
    for (int number = 0; number < 5; ++number)
      EXPECT_EQ(0, last_process(id, number));
  });
}

TEST_F(SysvSemaphore, TheNumberOfANewSet) {
  in_new_ipc_namespace([] {
    EXPECT_ERRNO(EINVAL, new_semaphores(0));
    EXPECT_ERRNO(EINVAL, new_semaphores(-1));
    EXPECT_ERRNO(EINVAL, semget(kKey, 0, IPC_CREAT | 0600));
    EXPECT_ERRNO(EINVAL, semget(kKey, 32001, 0600)) << "before it is looked up";
    EXPECT_ERRNO(ENOENT, semget(kKey, 0, 0600));
  });
}

TEST_F(SysvSemaphore, TheNumberOfAnExistingSet) {
  in_new_ipc_namespace([] {
    const int id = semget(kKey, 3, IPC_CREAT | 0600);
    EXPECT_EQ(id, semget(kKey, 0, 0600));
    EXPECT_EQ(id, semget(kKey, 3, IPC_CREAT | 0600));
    EXPECT_EQ(id, semget(kKey, 2, 0600));
    EXPECT_ERRNO(EINVAL, semget(kKey, 4, 0600));
    EXPECT_ERRNO(EEXIST, semget(kKey, 4, IPC_CREAT | IPC_EXCL | 0600)) << "before its number";
    run_as(kBob, [] { EXPECT_ERRNO(EINVAL, semget(kKey, 4, 0600)) << "before the permissions"; });
  });
}

TEST_F(SysvSemaphore, H2_Semmsl) {
  in_new_ipc_namespace([] {
    EXPECT_EQ(32000, Target::current().limit("semmsl"));
    EXPECT_OK(new_semaphores(32000));
    EXPECT_ERRNO(EINVAL, new_semaphores(32001));
    ASSERT_EQ(0, Target::current().set_limit("semmsl", 10));
    EXPECT_ERRNO(EINVAL, new_semaphores(11));
    EXPECT_OK(new_semaphores(10));
  });
}

TEST_F(SysvSemaphore, H2_Semmns) {
  in_new_ipc_namespace([] {
    EXPECT_EQ(1024000000, Target::current().limit("semmns"));
    ASSERT_EQ(0, Target::current().set_limit("semmns", 10));
    const int id = new_semaphores(7);
    ASSERT_OK(id);
    EXPECT_ERRNO(ENOSPC, new_semaphores(4));
    EXPECT_OK(new_semaphores(3));
    ASSERT_OK(remove_semaphores(id));
    EXPECT_OK(new_semaphores(7));
  });
}

TEST_F(SysvSemaphore, H2_Semopm) {
  in_new_ipc_namespace([] {
    EXPECT_EQ(500, Target::current().limit("semopm"));
    const int id = new_semaphores(600);
    std::vector<sembuf> operations;
    for (unsigned short i = 0; i < 501; ++i)
      operations.push_back({i, 1, 0});
    EXPECT_ERRNO(E2BIG, semop(id, operations.data(), 501));
    EXPECT_OK(semop(id, operations.data(), 500));
    const Values values = values_of(id);
    EXPECT_EQ(1, values[499]);
    EXPECT_EQ(0, values[500]);
    ASSERT_EQ(0, Target::current().set_limit("semopm", 2));
    EXPECT_ERRNO(E2BIG, semop(id, operations.data(), 3));
    EXPECT_OK(semop(id, operations.data(), 2));
  });
}

// Values. semctl(2).

TEST_F(SysvSemaphore, ValuesAreSetAndRead) {
  in_new_ipc_namespace([] {
    const int id = new_semaphores(3);
    ASSERT_OK(set_values(id, {1, kMostValue, 3}));
    EXPECT_EQ((Values{1, kMostValue, 3}), values_of(id));
    ASSERT_OK(set_value(id, 1, 0));
    EXPECT_EQ((Values{1, 0, 3}), values_of(id));
    EXPECT_EQ(3, value_of(id, 2));
  });
}

TEST_F(SysvSemaphore, ALargeSet) {
  in_new_ipc_namespace([] {
    Values values(5000);
    for (size_t i = 0; i < values.size(); ++i)
      values[i] = static_cast<unsigned short>(i * 13 % 32768);
    const int id = new_semaphores(5000);
    ASSERT_OK(set_values(id, values));
    EXPECT_EQ(values, values_of(id));
    ASSERT_OK(operate(id, {{4999, 1, 0}}));
    EXPECT_EQ(values[4999] + 1, value_of(id, 4999));
  });
}

TEST_F(SysvSemaphore, AValueIsFrom0To32767) {
  in_new_ipc_namespace([] {
    const int id = new_semaphores(2);
    ASSERT_OK(set_values(id, {5, 6}));
    EXPECT_ERRNO(ERANGE, set_value(id, 0, -1));
    EXPECT_ERRNO(ERANGE, set_value(id, 0, kMostValue + 1));
    EXPECT_ERRNO(ERANGE, set_value(777, 0, -1)) << "before it is looked up";
    EXPECT_ERRNO(ERANGE, set_values(id, {1, kMostValue + 1}));
    EXPECT_EQ((Values{5, 6}), values_of(id)) << "all or nothing";
    EXPECT_OK(set_value(id, 0, kMostValue));
  });
}

TEST_F(SysvSemaphore, ANumberBeyondTheSetIsEinvalInSemctl) {
  in_new_ipc_namespace([] {
    const int id = new_semaphores(2);
    for (const int number : {-1, 2, INT_MAX}) {
      SCOPED_TRACE(number);
      EXPECT_ERRNO(EINVAL, set_value(id, number, 1));
      for (const int command : {GETVAL, GETPID, GETNCNT, GETZCNT})
        EXPECT_ERRNO(EINVAL, semctl(id, number, command));
    }
    SemaphoreArgument argument{};
    Values values(2);
    argument.array = values.data();
    EXPECT_OK(semctl(id, 99, GETALL, argument)) << "means nothing there";
    EXPECT_OK(semctl(id, 99, IPC_RMID)) << "nor there";
  });
}

TEST_F(SysvSemaphore, ReadingAValueTakesReadAndSettingTakesWrite) {
  in_new_ipc_namespace([] {
    const int readable = new_semaphores(1, 0604), writable = new_semaphores(1, 0602);
    run_as(kBob, [&] {
      Values values(1);
      SemaphoreArgument argument{};
      argument.array = values.data();
      for (const int command : {GETVAL, GETPID, GETNCNT, GETZCNT}) {
        EXPECT_OK(semctl(readable, 0, command));
        EXPECT_ERRNO(EACCES, semctl(writable, 0, command));
      }
      EXPECT_OK(semctl(readable, 0, GETALL, argument));
      EXPECT_ERRNO(EACCES, semctl(writable, 0, GETALL, argument));
      EXPECT_ERRNO(EACCES, set_value(readable, 0, 1));
      EXPECT_ERRNO(EACCES, set_values(readable, {1}));
      EXPECT_OK(set_value(writable, 0, 1));
      EXPECT_OK(set_values(writable, {1}));
    });
  });
}

TEST_F(SysvSemaphore, ABadPointerIsEfault) {
  in_new_ipc_namespace([] {
    const int id = new_semaphores(2);
    ASSERT_OK(set_values(id, {1, 2}));
    SemaphoreArgument argument{};
    for (const uintptr_t address : {uintptr_t{0}, uintptr_t{8}, UINTPTR_MAX - 4095}) {
      argument.array = reinterpret_cast<unsigned short*>(address);
      EXPECT_ERRNO(EFAULT, semctl(id, 0, GETALL, argument));
      EXPECT_ERRNO(EFAULT, semctl(id, 0, SETALL, argument));
      EXPECT_ERRNO(EFAULT, semop(id, reinterpret_cast<sembuf*>(address), 1));
      EXPECT_ERRNO(EFAULT, semop(777, reinterpret_cast<sembuf*>(address), 1)) << "read first";
      EXPECT_ERRNO(EINVAL, semop(id, reinterpret_cast<sembuf*>(address), 0));
      EXPECT_ERRNO(E2BIG, semop(id, reinterpret_cast<sembuf*>(address), 501));
      if (address == 0) continue;  // no timeout
      sembuf up{0, 1, 0};
      EXPECT_ERRNO(EFAULT, semtimedop(id, &up, 1, reinterpret_cast<timespec*>(address)));
    }
    EXPECT_EQ((Values{1, 2}), values_of(id));
  });
}

// Operations. semop(2).

TEST_F(SysvSemaphore, UpAndDown) {
  in_new_ipc_namespace([] {
    const int id = new_semaphores(2);
    EXPECT_ERRNO(EAGAIN, operate(id, {{0, -1, IPC_NOWAIT}}));
    EXPECT_OK(operate(id, {{0, 5, 0}}));
    EXPECT_OK(operate(id, {{0, -3, IPC_NOWAIT}}));
    EXPECT_ERRNO(EAGAIN, operate(id, {{0, -3, IPC_NOWAIT}}));
    EXPECT_EQ((Values{2, 0}), values_of(id));
  });
}

TEST_F(SysvSemaphore, ZeroIsAskedFor) {
  in_new_ipc_namespace([] {
    const int id = new_semaphores(1);
    EXPECT_OK(operate(id, {{0, 0, 0}}));
    EXPECT_OK(operate(id, {{0, 1, 0}}));
    EXPECT_ERRNO(EAGAIN, operate(id, {{0, 0, IPC_NOWAIT}}));
  });
}

// ipc/sem.c:do_smart_wakeup_zero: each semaphore has a line of its own, and the array one for who asks for several.
TEST_F(SysvSemaphore, WhoWaitsForOneZeroComesBeforeWhoWaitsForSeveral) {
  in_new_ipc_namespace([] {
    const int id = new_semaphores(2);
    ASSERT_OK(set_values(id, {1, 0}));
    Companion first([&] { EXPECT_OK(operate(id, {{0, 0, 0}, {1, 0, 0}})); });
    ASSERT_TRUE(wait_until_asleep(first.pid()));
    Companion second([&] { EXPECT_OK(operate(id, {{0, 0, 0}})); });
    ASSERT_TRUE(wait_until_asleep(second.pid()));
    ASSERT_OK(set_values(id, {0, 0}));
    EXPECT_EQ(first.pid(), last_process(id, 0)) << "the last of the two";
    EXPECT_EQ(first.pid(), last_process(id, 1));
    first.join();
    second.join();
  });
}

TEST_F(SysvSemaphore, AnArrayIsDoneWholeOrNotAtAll) {
  in_new_ipc_namespace([] {
    const int id = new_semaphores(3);
    ASSERT_OK(set_values(id, {1, 0, 5}));
    EXPECT_ERRNO(EAGAIN, operate(id, {{0, -1, IPC_NOWAIT}, {2, 3, IPC_NOWAIT}, {1, -1, IPC_NOWAIT}}));
    EXPECT_EQ((Values{1, 0, 5}), values_of(id));
    EXPECT_OK(operate(id, {{0, -1, IPC_NOWAIT}, {1, 1, IPC_NOWAIT}, {2, -5, IPC_NOWAIT}}));
    EXPECT_EQ((Values{0, 1, 0}), values_of(id));
  });
}

TEST_F(SysvSemaphore, AnArrayIsDoneInItsOrder) {
  in_new_ipc_namespace([] {
    const int id = new_semaphores(1);
    EXPECT_ERRNO(EAGAIN, operate(id, {{0, -1, IPC_NOWAIT}, {0, 1, IPC_NOWAIT}}));
    EXPECT_OK(operate(id, {{0, 1, IPC_NOWAIT}, {0, -1, IPC_NOWAIT}}));
    EXPECT_OK(operate(id, {{0, 0, IPC_NOWAIT}, {0, 1, IPC_NOWAIT}}));
    EXPECT_ERRNO(EAGAIN, operate(id, {{0, 0, IPC_NOWAIT}, {0, 1, IPC_NOWAIT}}));
    EXPECT_OK(operate(id, {{0, -1, IPC_NOWAIT}, {0, 0, IPC_NOWAIT}, {0, 2, IPC_NOWAIT}}));
    EXPECT_EQ(2, value_of(id));
  });
}

TEST_F(SysvSemaphore, TheFlagOfTheOperationThatCanNotBeDoneCounts) {
  in_new_ipc_namespace([] {
    const int id = new_semaphores(2);
    EXPECT_ERRNO(EAGAIN, operate(id, {{0, 1, 0}, {1, -1, IPC_NOWAIT}}));
    Companion waits([&] { EXPECT_OK(operate(id, {{0, 1, IPC_NOWAIT}, {1, -1, 0}})); });
    ASSERT_TRUE(wait_until_asleep(waits.pid()));
    ASSERT_OK(operate(id, {{1, 1, 0}}));
    waits.join();
    EXPECT_EQ((Values{1, 0}), values_of(id));
  });
}

TEST_F(SysvSemaphore, NoOperationIsEinval) {
  in_new_ipc_namespace([] {
    const int id = new_semaphores(1);
    EXPECT_ERRNO(EINVAL, operate(id, {}));
    EXPECT_ERRNO(EINVAL, operate(-1, {{0, 1, 0}}));
  });
}

TEST_F(SysvSemaphore, ANumberBeyondTheSetIsEfbigInSemop) {
  in_new_ipc_namespace([] {
    const int id = new_semaphores(2, 0604);
    EXPECT_ERRNO(EFBIG, operate(id, {{0, 1, 0}, {2, 1, 0}}));
    EXPECT_ERRNO(EFBIG, operate(id, {{65535, 0, 0}}));
    EXPECT_EQ((Values{0, 0}), values_of(id));
    run_as(kBob, [&] { EXPECT_ERRNO(EFBIG, operate(id, {{2, 1, 0}})) << "before the permissions"; });
  });
}

TEST_F(SysvSemaphore, AlteringTakesWriteAndAskingForZeroTakesRead) {
  in_new_ipc_namespace([] {
    const int readable = new_semaphores(2, 0604), writable = new_semaphores(2, 0602);
    run_as(kBob, [&] {
      EXPECT_OK(operate(readable, {{0, 0, 0}, {1, 0, 0}}));
      EXPECT_ERRNO(EACCES, operate(readable, {{0, 0, 0}, {1, 1, 0}}));
      EXPECT_ERRNO(EACCES, operate(writable, {{0, 0, 0}}));
      EXPECT_OK(operate(writable, {{0, 0, 0}, {1, 1, 0}})) << "an array that alters is asked for write only";
    });
  });
}

TEST_F(SysvSemaphore, AValueAbove32767IsErange) {
  in_new_ipc_namespace([] {
    const int id = new_semaphores(2);
    EXPECT_OK(operate(id, {{0, kMostValue, 0}}));
    EXPECT_ERRNO(ERANGE, operate(id, {{1, 1, 0}, {0, 1, 0}}));
    EXPECT_EQ((Values{kMostValue, 0}), values_of(id));
    EXPECT_ERRNO(ERANGE, operate(id, {{0, 1, 0}, {0, -1, 0}})) << "not even on the way";
    EXPECT_OK(operate(id, {{0, -1, 0}, {0, 1, 0}}));
    EXPECT_OK(operate(id, {{0, -kMostValue, 0}}));
  });
}

// What a set tells of itself. semctl(2).

TEST_F(SysvSemaphore, TimesOfASet) {
  in_new_ipc_namespace([] {
    const time_t before = time(nullptr);
    const int id = new_semaphores(1);
    semid_ds status = status_of_semaphores(id);
    EXPECT_EQ(0, status.sem_otime);
    EXPECT_LE(before, status.sem_ctime);
    EXPECT_ERRNO(EAGAIN, operate(id, {{0, -1, IPC_NOWAIT}}));
    EXPECT_EQ(0, status_of_semaphores(id).sem_otime);
    const time_t created = status.sem_ctime;
    ASSERT_TRUE(wait_until([&] { return time(nullptr) > created; }));
    EXPECT_OK(operate(id, {{0, 0, 0}}));
    status = status_of_semaphores(id);
    EXPECT_LT(created, status.sem_otime) << "asking for zero is an operation";
    EXPECT_EQ(created, status.sem_ctime);
    const time_t operated = status.sem_otime;
    ASSERT_TRUE(wait_until([&] { return time(nullptr) > operated; }));
    ASSERT_OK(set_value(id, 0, 1));
    status = status_of_semaphores(id);
    EXPECT_EQ(operated, status.sem_otime);
    EXPECT_LT(operated, status.sem_ctime);
    const time_t set = status.sem_ctime;
    ASSERT_TRUE(wait_until([&] { return time(nullptr) > set; }));
    ASSERT_OK(set_values(id, {2}));
    EXPECT_LT(set, status_of_semaphores(id).sem_ctime);
  });
}

TEST_F(SysvSemaphore, GetpidIsTheLastWhoOperated) {
  in_new_ipc_namespace([] {
    const int id = new_semaphores(4);
    pid_t other = 0;
    {
      Companion companion([&] { EXPECT_OK(operate(id, {{0, 1, 0}, {1, 0, 0}})); });
      other = companion.pid();
    }
    EXPECT_EQ(other, last_process(id, 0));
    EXPECT_EQ(other, last_process(id, 1)) << "asking for zero, too";
    EXPECT_EQ(0, last_process(id, 2));
    EXPECT_ERRNO(EAGAIN, operate(id, {{0, 1, 0}, {1, -1, IPC_NOWAIT}}));
    EXPECT_EQ(other, last_process(id, 0)) << "nothing was done";
    ASSERT_OK(set_value(id, 0, 1));
    EXPECT_EQ(getpid(), last_process(id, 0));
    EXPECT_EQ(other, last_process(id, 1));
    ASSERT_OK(set_values(id, {1, 1, 1, 1}));
    EXPECT_EQ(getpid(), last_process(id, 3));
    std::thread([&] { EXPECT_OK(operate(id, {{2, 1, 0}})); }).join();
    EXPECT_EQ(getpid(), last_process(id, 2)) << "the process of a thread";
  });
}

TEST_F(SysvSemaphore, GetpidOfWhoWasServedWhileHeWaited) {
  in_new_ipc_namespace([] {
    const int id = new_semaphores(1);
    Companion waiter([&] { EXPECT_OK(operate(id, {{0, -1, 0}})); });
    ASSERT_TRUE(wait_until([&] { return waiting_for_more(id) == 1; }));
    ASSERT_OK(operate(id, {{0, 1, 0}}));
    EXPECT_EQ(waiter.pid(), last_process(id));
  });
}

TEST_F(SysvSemaphore, ProcessesAreShownAsTheReaderNumbersThem) {
  in_new_ipc_namespace([] {
    const int id = new_semaphores(1);
    ASSERT_OK(operate(id, {{0, 1, 0}}));
    in_new_pid_namespace([&] {
      EXPECT_EQ(0, last_process(id)) << "not to be seen from here";
      EXPECT_OK(operate(id, {{0, 1, 0}}));
      EXPECT_EQ(1, last_process(id));
    });
    EXPECT_NE(1, last_process(id));
  });
}

TEST_F(SysvSemaphore, H2_InfoTellsTheLimits) {
  in_new_ipc_namespace([] {
    ASSERT_EQ(0, Target::current().set_limit("semopm", 123));
    seminfo info{};
    SemaphoreArgument argument{};
    argument.info = &info;
    ASSERT_OK(semctl(0, 0, IPC_INFO, argument));
    EXPECT_EQ(32000, info.semmni);
    EXPECT_EQ(1024000000, info.semmns);
    EXPECT_EQ(32000, info.semmsl);
    EXPECT_EQ(123, info.semopm);
    EXPECT_EQ(32767, info.semvmx);
    EXPECT_EQ(32767, info.semaem);
    EXPECT_EQ(20, info.semusz);
    EXPECT_EQ(1024000000, info.semmnu);
    EXPECT_EQ(1024000000, info.semmap);
    EXPECT_EQ(500, info.semume);
  });
}

TEST_F(SysvSemaphore, SemInfoCountsWhatThereIs) {
  in_new_ipc_namespace([] {
    seminfo info{};
    SemaphoreArgument argument{};
    argument.info = &info;
    const int first = new_semaphores(5);
    ASSERT_OK(new_semaphores(6));
    EXPECT_EQ(1, semctl(0, 0, SEM_INFO, argument));
    EXPECT_EQ(2, info.semusz) << "sets";
    EXPECT_EQ(11, info.semaem) << "semaphores";
    ASSERT_OK(remove_semaphores(first));
    EXPECT_EQ(1, semctl(0, 0, SEM_INFO, argument));
    EXPECT_EQ(1, info.semusz);
    EXPECT_EQ(6, info.semaem);
  });
}

// Who waits.

// Companions that wait in a row: each is in line before the next one starts.
class Line {
 public:
  explicit Line(int id) : id_(id) {}
  Companion& add(const std::string& name, std::vector<sembuf> operations, int outcome = 0) {
    companions_.push_back(std::make_unique<Companion>([this, name, operations, outcome]() mutable {
      EXPECT_ERRNO(outcome, semop(id_, operations.data(), operations.size()));
      diary_.note(name);
    }));
    EXPECT_TRUE(wait_until_asleep(companions_.back()->pid()));
    return *companions_.back();
  }
  // Whoever of them has gone on so far, in any order of those that went at once.
  ::testing::AssertionResult gone(const std::string& names) {
    if (wait_until([&] { return sorted(diary_.all()) == sorted(names); })) return ::testing::AssertionSuccess();
    return ::testing::AssertionFailure() << "\"" << diary_.all() << "\" have gone on instead of \"" << names << "\"";
  }

 private:
  static std::string sorted(std::string names) {
    std::sort(names.begin(), names.end());
    return names;
  }
  int id_;
  Diary diary_;
  std::vector<std::unique_ptr<Companion>> companions_;
};

TEST_F(SysvSemaphore, WhoWaitsIsCounted) {
  in_new_ipc_namespace([] {
    const int id = new_semaphores(3);
    ASSERT_OK(set_values(id, {0, 1, 0}));
    EXPECT_EQ(0, waiting_for_more(id, 0));
    Line line(id);
    line.add("a", {{0, -1, 0}});
    line.add("b", {{0, -2, 0}});
    line.add("c", {{1, 0, 0}});
    // Where an array can't go on is where it is counted.
    line.add("d", {{2, 0, 0}, {1, 1, 0}, {0, -3, 0}, {2, -1, 0}}, EIDRM);
    EXPECT_EQ(3, waiting_for_more(id, 0));
    EXPECT_EQ(0, waiting_for_more(id, 1));
    EXPECT_EQ(1, waiting_for_zero(id, 1));
    EXPECT_EQ(0, waiting_for_zero(id, 0));
    EXPECT_EQ(0, waiting_for_more(id, 2));
    EXPECT_EQ(0, waiting_for_zero(id, 2));
    ASSERT_OK(set_value(id, 0, 3));
    EXPECT_TRUE(line.gone("ab"));
    EXPECT_EQ(1, waiting_for_more(id, 0));
    ASSERT_OK(set_value(id, 2, 1));
    EXPECT_EQ(1, waiting_for_zero(id, 2)) << "now it can't go on here";
    EXPECT_EQ(0, waiting_for_more(id, 0));
    ASSERT_OK(set_values(id, {3, 0, 1}));
    EXPECT_TRUE(line.gone("abc"));
    ASSERT_OK(set_values(id, {3, 0, 0}));
    EXPECT_EQ(1, waiting_for_more(id, 2));
    ASSERT_OK(operate(id, {{2, 1, 0}, {2, -1, 0}})) << "seen by nobody in between";
    EXPECT_EQ(1, waiting_for_more(id, 2));
    ASSERT_OK(set_value(id, 0, 0));
    EXPECT_EQ(1, waiting_for_more(id, 0));
    ASSERT_OK(remove_semaphores(id));
  });
}

TEST_F(SysvSemaphore, FirstInFirstOut) {
  in_new_ipc_namespace([] {
    const int id = new_semaphores(1);
    Line line(id);
    for (const char* name : {"a", "b", "c", "d"})
      line.add(name, {{0, -1, 0}});
    ASSERT_OK(operate(id, {{0, 1, 0}}));
    EXPECT_TRUE(line.gone("a"));
    ASSERT_OK(operate(id, {{0, 2, 0}}));
    EXPECT_TRUE(line.gone("abc"));
    EXPECT_EQ(0, value_of(id));
    ASSERT_OK(set_value(id, 0, 5));
    EXPECT_TRUE(line.gone("abcd"));
    EXPECT_EQ(4, value_of(id));
  });
}

TEST_F(SysvSemaphore, WhoWantsLessPassesWhoWantsMore) {
  in_new_ipc_namespace([] {
    const int id = new_semaphores(1);
    Line line(id);
    line.add("a", {{0, -3, 0}});
    line.add("b", {{0, -1, 0}});
    line.add("c", {{0, -2, 0}});
    ASSERT_OK(operate(id, {{0, 1, 0}}));
    EXPECT_TRUE(line.gone("b"));
    ASSERT_OK(operate(id, {{0, 2, 0}}));
    EXPECT_TRUE(line.gone("bc"));
    EXPECT_EQ(1, waiting_for_more(id));
    ASSERT_OK(operate(id, {{0, 1, 0}}));
    EXPECT_OK(operate(id, {{0, -1, IPC_NOWAIT}})) << "so does who comes now";
    ASSERT_OK(operate(id, {{0, 3, 0}}));
    EXPECT_TRUE(line.gone("abc"));
  });
}

TEST_F(SysvSemaphore, TheFirstInLineIsAskedFirstAndMayTakeAll) {
  in_new_ipc_namespace([] {
    const int id = new_semaphores(1);
    Line line(id);
    line.add("a", {{0, -2, 0}});
    line.add("b", {{0, -1, 0}});
    line.add("c", {{0, -1, 0}});
    ASSERT_OK(operate(id, {{0, 2, 0}}));
    EXPECT_TRUE(line.gone("a"));
    EXPECT_EQ(2, waiting_for_more(id));
    ASSERT_OK(operate(id, {{0, 1, 0}}));
    EXPECT_TRUE(line.gone("ab"));
    ASSERT_OK(operate(id, {{0, 1, 0}}));
  });
}

TEST_F(SysvSemaphore, WhoWaitsForZeroIsServedBeforeItIsTakenAway) {
  in_new_ipc_namespace([] {
    const int id = new_semaphores(1);
    ASSERT_OK(set_value(id, 0, 1));
    Line line(id);
    // As soon as it is zero, this one makes it one again.
    line.add("a", {{0, 0, 0}, {0, 1, 0}});
    line.add("b", {{0, 0, 0}});
    line.add("c", {{0, 0, 0}});
    EXPECT_EQ(3, waiting_for_zero(id));
    ASSERT_OK(operate(id, {{0, -1, 0}}));
    EXPECT_TRUE(line.gone("abc"));
    EXPECT_EQ(1, value_of(id));
  });
}

// kernel do_smart_wakeup_zero(): who alters nothing looks again only when what was changed has become zero.
TEST_F(SysvSemaphore, WhoOnlyWaitsForZeroLooksAgainWhenOneIsZero) {
  in_new_ipc_namespace([] {
    const int id = new_semaphores(2);
    ASSERT_OK(set_values(id, {2, 0}));
    {
      Companion waiter([&] { EXPECT_ERRNO(EIDRM, operate(id, {{1, 0, 0}, {0, 0, 0}})); });
      ASSERT_TRUE(wait_until([&] { return waiting_for_zero(id, 0) == 1; }));
      ASSERT_OK(operate(id, {{1, 1, 0}}));
      EXPECT_EQ(1, waiting_for_zero(id, 0)) << "not moved to where it would stop now";
      EXPECT_EQ(0, waiting_for_zero(id, 1));
      ASSERT_OK(operate(id, {{0, -2, 0}}));
      EXPECT_EQ(0, waiting_for_zero(id, 0));
      EXPECT_EQ(1, waiting_for_zero(id, 1)) << "moved";
      ASSERT_OK(remove_semaphores(id));
    }
    const int other = new_semaphores(2);
    ASSERT_OK(set_values(other, {0, 2}));
    Companion waiter([&] { EXPECT_ERRNO(EAGAIN, operate(other, {{0, 0, IPC_NOWAIT}, {1, 0, 0}})); });
    ASSERT_TRUE(wait_until([&] { return waiting_for_zero(other, 1) == 1; }));
    ASSERT_OK(operate(other, {{0, 2, 0}}));
    ASSERT_TRUE(wait_until_asleep(waiter.pid()));
    EXPECT_EQ(1, waiting_for_zero(other, 1)) << "IPC_NOWAIT acts when it looks again";
    ASSERT_OK(operate(other, {{1, -2, 0}}));
  });
}

TEST_F(SysvSemaphore, OneThatGoesOnMayLetTheNextGoOn) {
  in_new_ipc_namespace([] {
    const int id = new_semaphores(4);
    Line line(id);
    line.add("c", {{2, -1, 0}, {3, 1, 0}});
    line.add("b", {{1, -1, 0}, {2, 1, 0}});
    line.add("a", {{0, -1, 0}, {1, 1, 0}});
    ASSERT_OK(operate(id, {{0, 1, 0}}));
    EXPECT_TRUE(line.gone("abc"));
    EXPECT_EQ((Values{0, 0, 0, 1}), values_of(id));
  });
}

TEST_F(SysvSemaphore, AnArrayWaitsUntilAllOfItCanBeDone) {
  in_new_ipc_namespace([] {
    const int id = new_semaphores(2);
    Line line(id);
    line.add("a", {{0, -1, 0}, {1, -1, 0}});
    ASSERT_OK(operate(id, {{0, 1, 0}}));
    EXPECT_EQ((Values{1, 0}), values_of(id)) << "nothing is taken in advance";
    EXPECT_EQ(1, waiting_for_more(id, 1));
    EXPECT_OK(operate(id, {{0, -1, IPC_NOWAIT}}));
    ASSERT_OK(operate(id, {{1, 1, 0}}));
    EXPECT_EQ(1, waiting_for_more(id, 0));
    ASSERT_OK(operate(id, {{0, 1, 0}}));
    EXPECT_TRUE(line.gone("a"));
    EXPECT_EQ((Values{0, 0}), values_of(id));
  });
}

TEST_F(SysvSemaphore, SimpleAndComplexOperationsStandInOneLine) {
  in_new_ipc_namespace([] {
    const int id = new_semaphores(2);
    Line line(id);
    line.add("a", {{0, -1, 0}});
    line.add("b", {{0, -1, 0}, {1, 1, 0}});
    line.add("c", {{0, -1, 0}});
    for (const char* gone : {"a", "ab", "abc"}) {
      ASSERT_OK(operate(id, {{0, 1, 0}}));
      EXPECT_TRUE(line.gone(gone));
    }
    EXPECT_EQ(1, value_of(id, 1));
  });
}

TEST_F(SysvSemaphore, WhoWaitsGetsErangeIfThatIsWhatComesOfIt) {
  in_new_ipc_namespace([] {
    const int id = new_semaphores(2);
    ASSERT_OK(set_value(id, 1, kMostValue));
    Companion waiter([&] { EXPECT_ERRNO(ERANGE, operate(id, {{0, -1, 0}, {1, 1, 0}})); });
    ASSERT_TRUE(wait_until([&] { return waiting_for_more(id) == 1; }));
    ASSERT_OK(operate(id, {{0, 1, 0}}));
    waiter.join();
    EXPECT_EQ((Values{1, kMostValue}), values_of(id));
  });
}

TEST_F(SysvSemaphore, IpcNowaitOfWhoWaitsActsWhereHeStopsLater) {
  in_new_ipc_namespace([] {
    const int id = new_semaphores(2);
    Companion waiter([&] { EXPECT_ERRNO(EAGAIN, operate(id, {{0, -1, 0}, {1, -1, IPC_NOWAIT}})); });
    ASSERT_TRUE(wait_until([&] { return waiting_for_more(id) == 1; }));
    ASSERT_OK(operate(id, {{0, 1, 0}}));
    waiter.join();
    EXPECT_EQ((Values{1, 0}), values_of(id));
  });
}

TEST_F(SysvSemaphore, H1_WhoWaitsWhenTheSetIsRemovedGetsEidrm) {
  in_new_ipc_namespace([] {
    const int id = new_semaphores(2);
    ASSERT_OK(set_value(id, 1, 1));
    Companion one([&] { EXPECT_ERRNO(EIDRM, operate(id, {{0, -1, 0}})); });
    Companion zero([&] { EXPECT_ERRNO(EIDRM, operate(id, {{1, 0, 0}})); });
    Companion both([&] { EXPECT_ERRNO(EIDRM, operate(id, {{0, -1, 0}, {1, 0, 0}})); });
    Companion timed([&] { EXPECT_ERRNO(EIDRM, operate_within(id, {{0, -1, 0}}, {1000, 0})); });
    ASSERT_TRUE(wait_until([&] { return waiting_for_more(id, 0) == 3 && waiting_for_zero(id, 1) == 1; }));
    ASSERT_OK(remove_semaphores(id));
  });
}

TEST_F(SysvSemaphore, LosingThePermissionBySetChangesNothingForWhoWaits) {
  in_new_ipc_namespace([] {
    const int id = new_semaphores(1, 0666);
    Companion waiter([&] {
      ASSERT_TRUE(become_user(kBob, kBob));
      EXPECT_OK(operate(id, {{0, -1, 0}}));
    });
    ASSERT_TRUE(wait_until([&] { return waiting_for_more(id) == 1; }));
    semid_ds status = status_of_semaphores(id);
    status.sem_perm.mode = 0600;
    SemaphoreArgument argument{};
    argument.buf = &status;
    ASSERT_OK(semctl(id, 0, IPC_SET, argument));
    EXPECT_EQ(1, waiting_for_more(id));
    ASSERT_OK(operate(id, {{0, 1, 0}}));
  });
}

TEST_F(SysvSemaphore, AKilledCallerLeavesNothingBehind) {
  in_new_ipc_namespace([] {
    const int id = new_semaphores(1);
    {
      Companion waiter([&] { operate(id, {{0, -1, SEM_UNDO}}); });
      ASSERT_TRUE(wait_until([&] { return waiting_for_more(id) == 1; }));
      waiter.kill();
    }
    EXPECT_TRUE(wait_until([&] { return waiting_for_more(id) == 0; }));
    ASSERT_OK(operate(id, {{0, 1, 0}}));
    EXPECT_EQ(1, value_of(id));
  });
}

// semtimedop(2).

TEST_F(SysvSemaphore, ATimeoutIsEagain) {
  in_new_ipc_namespace([] {
    const int id = new_semaphores(1);
    const int64_t before_ms = monotonic_ms();
    EXPECT_ERRNO(EAGAIN, operate_within(id, {{0, -1, 0}}, {0, 50'000'000}));
    EXPECT_LE(50, monotonic_ms() - before_ms);
    EXPECT_EQ(0, waiting_for_more(id));
    EXPECT_ERRNO(EAGAIN, operate_within(id, {{0, -1, 0}}, {0, 0}));
    ASSERT_OK(set_value(id, 0, 1));
    EXPECT_ERRNO(EAGAIN, operate_within(id, {{0, 0, 0}}, {0, 1000}));
    EXPECT_OK(operate_within(id, {{0, -1, 0}}, {0, 0})) << "no need to wait";
  });
}

TEST_F(SysvSemaphore, ATimeoutThatIsNoneIsEinval) {
  in_new_ipc_namespace([] {
    const int id = new_semaphores(1);
    for (const timespec timeout : {timespec{0, -1}, timespec{0, 1'000'000'000}, timespec{-1, 0}}) {
      EXPECT_ERRNO(EINVAL, operate_within(id, {{0, -1, 0}}, timeout));
      EXPECT_ERRNO(EINVAL, operate_within(id, {{0, 1, 0}}, timeout)) << "even where it would not wait";
    }
    EXPECT_EQ(0, value_of(id));
  });
}

TEST_F(SysvSemaphore, ServedWithinTheTimeout) {
  in_new_ipc_namespace([] {
    const int id = new_semaphores(1);
    Companion waiter([&] { EXPECT_OK(operate_within(id, {{0, -1, 0}}, {1000, 0})); });
    ASSERT_TRUE(wait_until([&] { return waiting_for_more(id) == 1; }));
    ASSERT_OK(operate(id, {{0, 1, 0}}));
    waiter.join();
    EXPECT_EQ(0, value_of(id));
  });
}

TEST_F(SysvSemaphore, NoTimeoutIsForever) {
  in_new_ipc_namespace([] {
    const int id = new_semaphores(1);
    Companion waiter([&] {
      sembuf down{0, -1, 0};
      EXPECT_OK(semtimedop(id, &down, 1, nullptr));
    });
    ASSERT_TRUE(wait_until([&] { return waiting_for_more(id) == 1; }));
    ASSERT_TRUE(wait_until_asleep(waiter.pid()));
    ASSERT_OK(operate(id, {{0, 1, 0}}));
  });
}

// signal(7): semop and semtimedop are never restarted.
struct WaitingCall {
  const char* what;
  int (*call)(int id);
};

constexpr WaitingCall kWaitingCalls[] = {
    {"semop", [](int id) { return operate(id, {{0, -1, 0}}); }},
    {"semop of two", [](int id) { return operate(id, {{0, -1, 0}, {0, 0, 0}}); }},
    {"semop with SEM_UNDO", [](int id) { return operate(id, {{0, -1, SEM_UNDO}}); }},
    {"semtimedop", [](int id) { return operate_within(id, {{0, -1, 0}}, {1000, 0}); }},
};

void for_each_waiting_call(const std::function<void(const WaitingCall&, int id)>& body) {
  for (const WaitingCall& call : kWaitingCalls) {
    SCOPED_TRACE(call.what);
    body(call, new_semaphores(1, 0666));
  }
}

TEST_F(SysvSemaphore, AHandledSignalIsEintrWithAndWithoutSaRestart) {
  in_new_ipc_namespace([] {
    for (const int flags : {0, SA_RESTART}) {
      for_each_waiting_call([&](const WaitingCall& call, int id) {
        Companion waiter([&] {
          handle_signal(SIGUSR1, flags);
          EXPECT_ERRNO(EINTR, call.call(id));
          EXPECT_EQ(1, handled());
        });
        ASSERT_TRUE(wait_until([&] { return waiting_for_more(id) == 1; }));
        ASSERT_TRUE(wait_until_asleep(waiter.pid()));
        kill(waiter.pid(), SIGUSR1);
        waiter.join();
        EXPECT_EQ(0, waiting_for_more(id));
        ASSERT_OK(operate(id, {{0, 1, 0}}));
        EXPECT_EQ(1, value_of(id)) << "nor is he served later";
      });
    }
  });
}

TEST_F(SysvSemaphore, AnIgnoredSignalDoesNothing) {
  in_new_ipc_namespace([] {
    for_each_waiting_call([](const WaitingCall& call, int id) {
      Companion waiter([&] {
        signal(SIGUSR1, SIG_IGN);
        EXPECT_OK(call.call(id));
      });
      ASSERT_TRUE(wait_until([&] { return waiting_for_more(id) == 1; }));
      ASSERT_TRUE(wait_until_asleep(waiter.pid()));
      kill(waiter.pid(), SIGUSR1);
      ASSERT_TRUE(wait_until_asleep(waiter.pid()));
      ASSERT_OK(operate(id, {{0, 1, 0}}));
    });
  });
}

TEST_F(SysvSemaphore, StopAndContinueIsEintr) {
  in_new_ipc_namespace([] {
    for_each_waiting_call([](const WaitingCall& call, int id) {
      Companion waiter([&] { EXPECT_ERRNO(EINTR, call.call(id)); });
      ASSERT_TRUE(wait_until([&] { return waiting_for_more(id) == 1; }));
      ASSERT_TRUE(wait_until_asleep(waiter.pid()));
      kill(waiter.pid(), SIGSTOP);
      ASSERT_TRUE(wait_until([&] { return is_in_state(waiter.pid(), 'T'); }));
      kill(waiter.pid(), SIGCONT);
      waiter.join();
      EXPECT_EQ(0, waiting_for_more(id));
    });
  });
}

TEST_F(SysvSemaphore, AStoppedCallerIsNoLongerInTheLine) {
  in_new_ipc_namespace([] {
    const int id = new_semaphores(1);
    Companion waiter([&] { EXPECT_ERRNO(EINTR, operate(id, {{0, -1, 0}})); });
    ASSERT_TRUE(wait_until([&] { return waiting_for_more(id) == 1; }));
    ASSERT_TRUE(wait_until_asleep(waiter.pid()));
    kill(waiter.pid(), SIGSTOP);
    ASSERT_TRUE(wait_until([&] { return is_in_state(waiter.pid(), 'T'); }));
    EXPECT_EQ(0, waiting_for_more(id));
    ASSERT_OK(operate(id, {{0, 1, 0}}));
    EXPECT_EQ(1, value_of(id));
    kill(waiter.pid(), SIGCONT);
  });
}

TEST_F(SysvSemaphore, ThreadsWaitEachForItself) {
  in_new_ipc_namespace([] {
    const int id = new_semaphores(4);
    std::vector<std::thread> threads;
    std::atomic<int> done = 0;
    for (unsigned short i = 0; i < 4; ++i)
      threads.emplace_back([&, i] { done += operate(id, {{i, -1, 0}}) == 0 ? 1 : 100; });
    for (unsigned short i = 0; i < 4; ++i)
      EXPECT_OK(operate(id, {{i, 1, 0}}));
    for (std::thread& thread : threads)
      thread.join();
    EXPECT_EQ(4, done);
  });
}

struct Uncancelled {
  int id;
  std::atomic<pid_t> tid{0};
  std::atomic<bool> returned{false};
  static void* run(void* argument) {
    auto* self = static_cast<Uncancelled*>(argument);
    self->tid = static_cast<pid_t>(syscall(SYS_gettid));
    sembuf down{0, -1, 0};
    semop(self->id, &down, 1);
    self->returned = true;
    return nullptr;
  }
};

// pthreads(7) does not name it.
TEST_F(SysvSemaphore, AWaitingCallIsNoCancellationPoint) {
  in_new_ipc_namespace([] {
    Uncancelled caller{new_semaphores(1)};
    pthread_t thread;
    ASSERT_EQ(0, pthread_create(&thread, nullptr, Uncancelled::run, &caller));
    ASSERT_TRUE(wait_until([&] { return waiting_for_more(caller.id) == 1; }));
    ASSERT_EQ(0, pthread_cancel(thread));
    ASSERT_TRUE(wait_until_asleep(caller.tid));
    EXPECT_EQ(1, waiting_for_more(caller.id));
    ASSERT_OK(operate(caller.id, {{0, 1, 0}}));
    ASSERT_EQ(0, pthread_join(thread, nullptr));
    EXPECT_TRUE(caller.returned);
    EXPECT_EQ(0, value_of(caller.id));
  });
}

// SEM_UNDO. semop(2).

TEST_F(SysvSemaphore, UndoActsWhenTheProcessEnds) {
  in_new_ipc_namespace([] {
    for (const bool killed : {false, true}) {
      SCOPED_TRACE(killed);
      const int id = new_semaphores(3);
      ASSERT_OK(set_values(id, {5, 5, 5}));
      Gate done;
      Companion process([&] {
        EXPECT_OK(operate(id, {{0, -2, SEM_UNDO}, {1, 3, SEM_UNDO}, {2, 1, 0}}));
        EXPECT_OK(operate(id, {{0, -1, SEM_UNDO}}));
        if (!killed) return;
        done.open();
        pause();
      });
      if (killed) {
        done.wait();
        EXPECT_EQ((Values{2, 8, 6}), values_of(id));
        process.kill();
      }
      process.join();
      EXPECT_TRUE(wait_until([&] { return values_of(id) == (Values{5, 5, 6}); })) << value_of(id);
    }
  });
}

TEST_F(SysvSemaphore, UndoServesWhoWaitsAndCountsAsAnOperation) {
  in_new_ipc_namespace([] {
    const int id = new_semaphores(1);
    ASSERT_OK(set_value(id, 0, 1));
    Gate done;
    Companion holder([&] {
      EXPECT_OK(operate(id, {{0, -1, SEM_UNDO}}));
      done.open();
      pause();
    });
    done.wait();
    Companion waiter([&] { EXPECT_OK(operate(id, {{0, -1, 0}})); });
    ASSERT_TRUE(wait_until([&] { return waiting_for_more(id) == 1; }));
    holder.kill();
    waiter.join();
    EXPECT_EQ(0, value_of(id));
  });
}

TEST_F(SysvSemaphore, GetpidAfterAnUndoIsWhoEnded) {
  in_new_ipc_namespace([] {
    const int id = new_semaphores(1);
    Companion process([&] { EXPECT_OK(operate(id, {{0, 1, SEM_UNDO}})); });
    ASSERT_TRUE(wait_until([&] { return last_process(id) == process.pid() && value_of(id) == 0; }));
    ASSERT_OK(set_value(id, 0, 0));
    EXPECT_EQ(getpid(), last_process(id));
    const pid_t pid = process.pid();
    process.join();
    Gate gate;
    Companion next([&] {
      EXPECT_OK(operate(id, {{0, 1, SEM_UNDO}}));
      gate.open();
      pause();
    });
    gate.wait();
    ASSERT_OK(operate(id, {{0, 1, 0}}));
    EXPECT_EQ(getpid(), last_process(id));
    next.kill();
    EXPECT_TRUE(wait_until([&] { return value_of(id) == 1; }));
    EXPECT_EQ(next.pid(), last_process(id));
    EXPECT_NE(pid, last_process(id));
  });
}

TEST_F(SysvSemaphore, UndoStopsAtZeroAndAt32767) {
  in_new_ipc_namespace([] {
    const int id = new_semaphores(2);
    Gate done, end;
    Companion process([&] {
      EXPECT_OK(operate(id, {{0, 5, SEM_UNDO}}));
      EXPECT_OK(operate(id, {{1, 10, 0}, {1, -10, SEM_UNDO}}));
      done.open();
      end.wait();
    });
    done.wait();
    ASSERT_OK(operate(id, {{0, -3, 0}, {1, kMostValue, 0}}));
    end.open();
    process.join();
    EXPECT_TRUE(wait_until([&] { return values_of(id) == (Values{0, kMostValue}); }));
  });
}

TEST_F(SysvSemaphore, UndoIsNotInheritedByAChild) {
  in_new_ipc_namespace([] {
    const int id = new_semaphores(1);
    EXPECT_OK(operate(id, {{0, 1, SEM_UNDO}}));
    run_in_child([&] { EXPECT_OK(operate(id, {{0, 2, 0}})); });
    // Who ends later must not undo either: a look after another process has come and gone.
    run_in_child([&] { EXPECT_EQ(3, value_of(id)); });
    EXPECT_EQ(3, value_of(id));
  });
}

TEST_F(SysvSemaphore, UndoIsKeptOverExec) {
  in_new_ipc_namespace([] {
    const int id = new_semaphores(1);
    int ends[2];
    ASSERT_OK(pipe(ends));
    Companion process([&] {
      EXPECT_OK(operate(id, {{0, 1, SEM_UNDO}}));
      dup2(ends[0], 0);
      close(ends[1]);
      execl("/bin/cat", "cat", nullptr);
    });
    close(ends[0]);
    const std::string exe = "/proc/" + std::to_string(process.pid()) + "/comm";
    ASSERT_TRUE(wait_until([&] {
      char name[32] = {};
      const UniqueFd fd(open(exe.c_str(), O_RDONLY | O_CLOEXEC));
      return read(fd.get(), name, sizeof name - 1) > 0 && std::string(name) == "cat\n";
    }));
    ASSERT_TRUE(wait_until_asleep(process.pid()));
    EXPECT_EQ(1, value_of(id));
    close(ends[1]);
    process.join();
    EXPECT_TRUE(wait_until([&] { return value_of(id) == 0; }));
  });
}

TEST_F(SysvSemaphore, AThreadsEndUndoesNothing) {
  in_new_ipc_namespace([] {
    const int id = new_semaphores(1);
    run_in_child([&] {
      std::thread([&] { EXPECT_OK(operate(id, {{0, 1, SEM_UNDO}})); }).join();
      EXPECT_EQ(1, value_of(id));
      std::thread([&] { EXPECT_OK(operate(id, {{0, -1, SEM_UNDO}})); }).join();
      EXPECT_EQ(0, value_of(id));
      std::thread([&] { EXPECT_OK(operate(id, {{0, 2, SEM_UNDO}})); }).join();
    });
    EXPECT_TRUE(wait_until([&] { return value_of(id) == 0; }));
  });
}

void* wait_at_gate(void* gate) {
  static_cast<Gate*>(gate)->wait();
  _exit(0);
}

TEST_F(SysvSemaphore, TheFirstThreadsEndUndoesNothingWhileOthersGoOn) {
  in_new_ipc_namespace([] {
    const int id = new_semaphores(1);
    Gate end;
    Companion process([&] {
      EXPECT_OK(operate(id, {{0, 1, SEM_UNDO}}));
      pthread_t thread;
      pthread_create(&thread, nullptr, wait_at_gate, &end);
      // pthread_exit would unwind through frames that do not expect it.
      syscall(SYS_exit, 0);
    });
    ASSERT_TRUE(wait_until([&] { return is_in_state(process.pid(), 'Z'); }));
    EXPECT_EQ(1, value_of(id));
    end.open();
    EXPECT_TRUE(wait_until([&] { return value_of(id) == 0; }));
  });
}

TEST_F(SysvSemaphore, SettingAValueForgetsWhatWouldBeUndone) {
  in_new_ipc_namespace([] {
    const int id = new_semaphores(2);
    Gate done, end;
    Companion process([&] {
      EXPECT_OK(operate(id, {{0, 1, SEM_UNDO}, {1, 1, SEM_UNDO}}));
      done.open();
      end.wait();
    });
    done.wait();
    ASSERT_OK(set_value(id, 0, 7));
    end.open();
    process.join();
    EXPECT_TRUE(wait_until([&] { return values_of(id) == (Values{7, 0}); }));

    Gate done_again, end_again;
    Companion again([&] {
      EXPECT_OK(operate(id, {{0, 1, SEM_UNDO}, {1, 1, SEM_UNDO}}));
      done_again.open();
      end_again.wait();
      EXPECT_OK(operate(id, {{1, 5, SEM_UNDO}}));
    });
    done_again.wait();
    ASSERT_OK(set_values(id, {3, 4}));
    end_again.open();
    again.join();
    EXPECT_TRUE(wait_until([&] { return values_of(id) == (Values{3, 4}); }));
  });
}

TEST_F(SysvSemaphore, WhatWouldBeUndoneIsLimited) {
  in_new_ipc_namespace([] {
    const int id = new_semaphores(1);
    run_in_child([&] {
      EXPECT_OK(operate(id, {{0, kMostValue, SEM_UNDO}}));
      EXPECT_OK(operate(id, {{0, -kMostValue, 0}}));
      EXPECT_OK(operate(id, {{0, 1, SEM_UNDO}})) << "to -32768";
      EXPECT_ERRNO(ERANGE, operate(id, {{0, 1, SEM_UNDO}}));
      EXPECT_EQ(1, value_of(id)) << "nothing was done";
      EXPECT_OK(operate(id, {{0, 1, 0}}));
    });
    EXPECT_TRUE(wait_until([&] { return value_of(id) == 0; }));
  });
}

TEST_F(SysvSemaphore, AnUndoneSetMayBeGone) {
  in_new_ipc_namespace([] {
    const int id = new_semaphores(1), other = new_semaphores(1);
    run_in_child([&] {
      EXPECT_OK(operate(id, {{0, 1, SEM_UNDO}}));
      EXPECT_OK(operate(other, {{0, 1, SEM_UNDO}}));
      ASSERT_OK(remove_semaphores(id));
    });
    EXPECT_TRUE(wait_until([&] { return value_of(other) == 0; }));
  });
}

TEST_F(SysvSemaphore, WhatFailsIsNotUndone) {
  in_new_ipc_namespace([] {
    const int id = new_semaphores(2);
    ASSERT_OK(set_values(id, {5, 0}));
    run_in_child([&] {
      EXPECT_ERRNO(EAGAIN, operate(id, {{0, -1, SEM_UNDO}, {1, -1, IPC_NOWAIT}}));
      EXPECT_ERRNO(EAGAIN, operate_within(id, {{0, -1, SEM_UNDO}, {1, -1, SEM_UNDO}}, {0, 1000}));
    });
    run_in_child([&] { EXPECT_EQ((Values{5, 0}), values_of(id)); });
    EXPECT_EQ((Values{5, 0}), values_of(id));
  });
}

TEST_F(SysvSemaphore, WhatWasDoneForWhoWaitedIsUndone) {
  in_new_ipc_namespace([] {
    const int id = new_semaphores(1);
    Gate done, end;
    Companion waiter([&] {
      EXPECT_OK(operate(id, {{0, -2, SEM_UNDO}}));
      done.open();
      end.wait();
    });
    ASSERT_TRUE(wait_until([&] { return waiting_for_more(id) == 1; }));
    ASSERT_OK(operate(id, {{0, 2, 0}}));
    done.wait();
    EXPECT_EQ(0, value_of(id));
    end.open();
    waiter.join();
    EXPECT_TRUE(wait_until([&] { return value_of(id) == 2; }));
  });
}

// unshare(2): CLONE_SYSVSEM undoes at once.
TEST_F(SysvSemaphore, UnsharingUndoesAtOnce) {
  in_new_ipc_namespace([] {
    const int id = new_semaphores(1);
    run_in_child([&] {
      EXPECT_OK(operate(id, {{0, 1, SEM_UNDO}}));
      ASSERT_OK(unshare(CLONE_SYSVSEM));
      EXPECT_TRUE(wait_until([&] { return value_of(id) == 0; }));
    });
  });
}

TEST_F(SysvSemaphore, LeavingTheNamespaceUndoesAtOnce) {
  in_new_ipc_namespace([] {
    const int id = new_semaphores(1);
    Gate left, end;
    Companion process([&] {
      EXPECT_OK(operate(id, {{0, 1, SEM_UNDO}}));
      ASSERT_OK(unshare(CLONE_NEWIPC));
      left.open();
      end.wait();
    });
    left.wait();
    EXPECT_TRUE(wait_until([&] { return value_of(id) == 0; }));
    end.open();
  });
}

TEST_F(SysvSemaphore, ManyProcessesAndTheirUndo) {
  in_new_ipc_namespace([] {
    const int id = new_semaphores(2);
    ASSERT_OK(set_values(id, {1, 0}));
    // A lock whose holders die in the middle: the counter is only touched by who holds it.
    for (int round = 0; round < 10; ++round) {
      std::vector<std::unique_ptr<Companion>> processes;
      for (int i = 0; i < 4; ++i) {
        processes.push_back(std::make_unique<Companion>([&] {
          EXPECT_OK(operate(id, {{0, -1, SEM_UNDO}}));
          EXPECT_EQ(0, value_of(id, 0));
          EXPECT_OK(operate(id, {{1, 1, 0}}));
        }));
      }
    }
    EXPECT_TRUE(wait_until([&] { return values_of(id) == (Values{1, 40}); }));
  });
}

}  // namespace
}  // namespace mqueuefs::test
