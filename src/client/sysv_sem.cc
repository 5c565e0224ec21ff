// semget(2), semop(2), semctl(2).
#include <atomic>

#include "client/sysv.h"
#include "client/sysv_status.h"

namespace mqueuefs::client {
namespace {

using control::SysvNumber;

constexpr int64_t kSecond_ns = 1'000'000'000;
constexpr size_t kMostOperations = control::kSysvMaxBytes / sizeof(sembuf);
constexpr size_t kMostValues = control::kSysvMaxBytes / sizeof(unsigned short);
static_assert(sizeof(sembuf) == 6);

// Whether this process, or one that it was forked from, has asked for something to be undone.
constinit std::atomic<bool> has_undo{false};

void note_undo(std::span<const sembuf> operations) {
  for (const sembuf& one : operations) {
    if ((one.sem_flg & SEM_UNDO) != 0) has_undo.store(true, std::memory_order_relaxed);
  }
}

int64_t deadline_after(const timespec& timeout) {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  int64_t deadline_ns = 0;
  if (__builtin_mul_overflow(static_cast<int64_t>(timeout.tv_sec) + now.tv_sec, kSecond_ns, &deadline_ns) ||
      __builtin_add_overflow(deadline_ns, static_cast<int64_t>(timeout.tv_nsec) + now.tv_nsec, &deadline_ns)) {
    return INT64_MAX;
  }
  return deadline_ns;
}

// All values at once: how many that are is known to the daemon only.
int set_all(Call& call, int id, const unsigned short* values) {
  SysvRequest request;
  request.head.number = SysvNumber::kSemControl;
  request.head.id = id;
  request.head.command = SETALL;
  request.head.how = control::kSysvProbe;
  const auto probed = sysv_call(call, request);
  if (!probed) return call.fail(probed.code());
  const auto count = static_cast<size_t>(probed->value);
  if (count > kMostValues) return call.fail(ENOMEM);
  request.head.how = 0;
  request.in = std::as_bytes(std::span(values, count));
  const auto answer = sysv_call(call, request);
  return answer ? static_cast<int>(answer->value) : call.fail(answer.code());
}

}  // namespace

int sem_get(key_t key, int count, int flags) {
  Call call;
  if (count < 0) return call.fail(EINVAL);
  SysvRequest request;
  request.head.number = SysvNumber::kSemGet;
  request.head.id = key;
  request.head.flags = static_cast<uint32_t>(flags);
  request.head.size = static_cast<uint64_t>(count);
  const auto answer = sysv_call(call, request);
  return answer ? static_cast<int>(answer->value) : call.fail(answer.code());
}

int sem_operate(int id, const sembuf* operations, size_t count, const timespec* timeout) {
  Call call;
  SysvRequest request;
  request.sleep = SysvSleep::kLikeSemaphores;
  bool valid = id >= 0;
  if (timeout != nullptr) {
    timespec given;
    if (!copy_in(given, timeout)) return call.fail(EFAULT);
    valid = valid && given.tv_sec >= 0 && given.tv_nsec >= 0 && given.tv_nsec < kSecond_ns;
    if (valid) request.deadline_ns = deadline_after(given);
    if (given.tv_sec == 0 && given.tv_nsec == 0) request.sleep = SysvSleep::kNever;
  }
  if (count < 1) return call.fail(EINVAL);
  if (count > kMostOperations) return call.fail(E2BIG);
  // The kernel looks at the operations first.
  if (!valid) return call.fail(readable(operations, count * sizeof *operations) ? EINVAL : EFAULT);
  request.head.number = SysvNumber::kSemOperate;
  request.head.id = id;
  request.head.size = count;
  request.in = std::as_bytes(std::span(operations, count));
  const auto answer = sysv_call(call, request);
  if (answer) {
    if (!has_undo.load(std::memory_order_relaxed)) note_undo({operations, count});
    return 0;
  }
  if (answer.code() != EFAULT) return call.fail(answer.code());
  // How many they are is looked at before what they are.
  request.head.how = control::kSysvProbe;
  request.in = {};
  request.sleep = SysvSleep::kNever;
  const auto probed = sysv_call(call, request);
  return call.fail(probed ? EFAULT : probed.code());
}

void sem_left() {
  if (!has_undo.load(std::memory_order_relaxed)) return;
  Call call;
  SysvRequest request;
  request.head.number = SysvNumber::kSemUndo;
  static_cast<void>(sysv_call(call, request).ok());
}

bool sem_control_has_argument(int command) {
  switch (command) {
    case IPC_STAT:
    case IPC_SET:
    case IPC_INFO:
    case SEM_INFO:
    case SEM_STAT:
    case SEM_STAT_ANY:
    case GETALL:
    case SETALL:
    case SETVAL:
      return true;
    default:
      return false;
  }
}

int sem_control(int id, int number, int command, SemArgument argument) {
  Call call;
  constexpr auto kNumber = SysvNumber::kSemControl;
  switch (command) {
    case IPC_INFO:
    case SEM_INFO:
      return info_control<seminfo>(call, kNumber, id, command, argument.info);
    case IPC_STAT:
    case SEM_STAT:
    case SEM_STAT_ANY: {
      control::SysvStat stat{};
      const auto answer = control_call(call, kNumber, id, command, control::writable_bytes_of(stat));
      if (!answer) return call.fail(answer.code());
      semid_ds result{};
      fill_permissions(result.sem_perm, stat.permissions);
      result.sem_otime = stat.times[0];
      result.sem_ctime = stat.times[1];
      result.sem_nsems = stat.counts[0];
      return deliver(call, argument.status, result, answer->value);
    }
    case IPC_SET: {
      semid_ds copy;
      if (!copy_in(copy, argument.status)) return call.fail(EFAULT);
      return set_control(call, kNumber, id, copy.sem_perm);
    }
    case SETALL:
      return set_all(call, id, argument.values);
    default: {
      SysvRequest request;
      request.head.number = kNumber;
      request.head.id = id;
      request.head.command = command;
      request.head.type = number;
      if (command == SETVAL) request.head.size = static_cast<uint64_t>(static_cast<int64_t>(argument.number));
      if (command == GETALL) request.out = std::as_writable_bytes(std::span(argument.values, kMostValues));
      const auto answer = sysv_call(call, request);
      return answer ? static_cast<int>(answer->value) : call.fail(answer.code());
    }
  }
}

}  // namespace mqueuefs::client
