// Waiting in mapped memory.
//
// First a moment of looking again and again: the answer of a process on another core comes in less time than it takes to
// fall asleep. How long, each mapping learns: a wait that was over in time makes the next one longer, one that was not
// makes it shorter, down to nothing, from where it is tried again now and then. Nobody stands in the line meanwhile.
//
// Then the caller is in the wait queue, and sleeps on its word there, in futex_waitv(2): the one sleep with an absolute
// deadline that is restarted, or not, as SA_RESTART says. It is one sleep, up to the caller's own deadline. A sleep in pieces
// would forget signals: a handler that runs just when a piece is over is not seen, since the piece ends with ETIMEDOUT. The
// waker may die between the hand-over and its wake-up; then the daemon wakes the sleeper within a second (wake_served).

#include "client/mapped_transfer.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "client/kernel_call.h"
#include "client/known_memory.h"
#include "client/mapped_queues.h"
#include "control/queue_ioctl.h"

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449  // Linux 5.16, the same number everywhere
#endif

namespace mqueuefs::client {
namespace {

constexpr int64_t kNsPerSecond = 1'000'000'000;

// ---- looking ----

// Between two looks the other side must be able to work with the line of the state in its own cache.
constexpr uint32_t kPausesPerLook = 8;
constexpr uint32_t kMostSpinRounds = 512;
// A mapping that has learnt not to look tries it again after so many waits, and ever more while it stays useless. Such a
// try takes longer than it takes to wake somebody on another processor (some 50 us in a virtual machine): if both sides
// have learnt to sleep a shorter one never finds the other awake.
constexpr uint32_t kFirstRetry = 16;
constexpr uint32_t kLastRetry = 1024;
constexpr uint32_t kTrySpinRounds = 512;
constexpr uint32_t kLeastSpinRounds = 32;

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ __volatile__("yield");
#endif
}

/// Looks until `ready` says so, for as long as has been worth while lately.
template <typename Ready>
bool spin(MappedQueue& mapping, Ready ready) {
  uint32_t rounds = mapping.spin_rounds.load(std::memory_order_relaxed);
  const uint32_t retry = mapping.spin_retry.load(std::memory_order_relaxed);
  if (rounds == 0) {
    const uint32_t left = mapping.spin_countdown.load(std::memory_order_relaxed);
    if (left > 0) {
      mapping.spin_countdown.store(left - 1, std::memory_order_relaxed);
      return false;
    }
    rounds = kTrySpinRounds;
  }
  for (uint32_t round = 0; round < rounds; ++round) {
    for (uint32_t pauses = 0; pauses < kPausesPerLook; ++pauses) pause();
    if (!ready()) continue;
    mapping.spin_rounds.store(std::min(rounds * 2, kMostSpinRounds), std::memory_order_relaxed);
    mapping.spin_retry.store(0, std::memory_order_relaxed);
    return true;
  }
  const bool given_up = retry > 0 || rounds / 2 < kLeastSpinRounds;
  const uint32_t next_retry = std::clamp(retry * 2, kFirstRetry, kLastRetry);
  mapping.spin_rounds.store(given_up ? 0 : rounds / 2, std::memory_order_relaxed);
  mapping.spin_retry.store(given_up ? next_retry : 0, std::memory_order_relaxed);
  mapping.spin_countdown.store(given_up ? next_retry : 0, std::memory_order_relaxed);
  return false;
}

// ---- sleeping ----

// By ISO C's name: clock_gettime(2) is a system call in this library (own_calls.cc).
int64_t realtime_ns() {
  timespec now{};
  timespec_get(&now, TIME_UTC);
  return now.tv_sec * kNsPerSecond + now.tv_nsec;
}

bool is_past(Deadline deadline) { return deadline && *deadline <= realtime_ns(); }

struct Sleep {
  uint32_t* word;
  uint32_t value;
  bool ends;         // at until_ns, CLOCK_REALTIME
  int64_t until_ns;
};

// 0 or an errno, of which EINTR, ETIMEDOUT and EAGAIN (the word has changed) are the ordinary ones.
int sleep_on(const Sleep& sleep) {
  struct {
    uint64_t value;
    uint64_t address;
    uint32_t flags;
    uint32_t reserved;
  } waitv{sleep.value, reinterpret_cast<uint64_t>(sleep.word), FUTEX_32, 0};
  const timespec deadline{sleep.until_ns / kNsPerSecond, sleep.until_ns % kNsPerSecond};
  const timespec* const until = sleep.ends ? &deadline : nullptr;
  static constinit std::atomic<bool> missing{false};
  if (!missing.load(std::memory_order_relaxed)) {
    if (syscall(SYS_futex_waitv, &waitv, 1, 0, until, CLOCK_REALTIME) >= 0) return 0;
    if (errno != ENOSYS && errno != EPERM) return errno;
    missing.store(true, std::memory_order_relaxed);
  }
  // Before 5.16: with a deadline no handler lets this one go on, whatever SA_RESTART says.
  const long slept = syscall(SYS_futex, sleep.word, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, sleep.value, until, nullptr,
                             FUTEX_BITSET_MATCH_ANY);
  return slept == 0 ? 0 : errno;
}

// ipc/mqueue.c orders by the kernel's prio: 0 to 99 real-time, 100 to 139 by nice (doc/behaviour.md E7).
uint32_t rank_of_this_thread() {
  struct {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t more[6];
  } attributes{};
  if (syscall(SYS_sched_getattr, 0, &attributes, sizeof attributes, 0) != 0) return 120;
  if (attributes.policy == SCHED_FIFO || attributes.policy == SCHED_RR) return 99 - std::min(attributes.priority, 99U);
  constexpr uint32_t kDeadline = 6;
  if (attributes.policy == kDeadline) return 0;
  return static_cast<uint32_t>(120 + attributes.nice);
}

// Who polls, or waits through the daemon, is told by it.
MQUEUEFS_COLD void tell(int fd, const Aftermath& after) {
  uint32_t flags = after.used_notification ? uint32_t{control::kUsedNotification} : 0;
  if (after.woke_nobody) flags |= control::kWokeNobody;
  control::TellHeader header{flags, 0};
  static_cast<void>(ask(fd, control::queue_ioctl(control::QueueIoctl::kTell, sizeof header), &header, "tell").ok());
}

MQUEUEFS_HOT void tell_if_asked(int fd, const Aftermath& after) {
  if (after.tell_owner || after.used_notification || after.woke_nobody) [[unlikely]] tell(fd, after);
}

// Somebody traces the queue.
MQUEUEFS_COLD void tell_message(int fd, bool received, uint32_t priority, std::span<const std::byte> message) {
  constexpr size_t kMost = 4096;
  struct {
    control::TellMessageHeader header;
    std::byte payload[kMost];
  } told;
  const size_t size = std::min(message.size(), kMost);
  told.header = {received ? 1U : 0U, priority, static_cast<uint32_t>(message.size()), static_cast<uint32_t>(size)};
  memcpy(told.payload, message.data(), size);
  const auto argument = static_cast<uint32_t>(sizeof told.header + size);
  const auto command = control::queue_ioctl(control::QueueIoctl::kTellMessage, argument);
  static_cast<void>(ask(fd, command, &told, "tell").ok());
}

/// An operation on the queue of a descriptor.
struct Operation {
  const int fd;
  const QueueUse use;
  Aftermath after;

  MQUEUEFS_HOT explicit Operation(int descriptor) : fd(descriptor), use(descriptor) {}

  const SharedQueue& queue() const { return use.mapping().queue(); }

  /// What is only a want of places here, the daemon may have.
  MQUEUEFS_HOT int end(int code, bool received, uint32_t priority, std::span<const std::byte> message) const {
    // Before anybody else hears of it.
    if (code == 0 && queue().is_traced()) [[unlikely]] tell_message(fd, received, priority, message);
    tell_if_asked(fd, after);
    if (code == 0) [[likely]] return 0;
    return code == EBUSY || code == ENOMEM ? kNotAnswered : code;
  }
};

/// One that has to wait.
class Waiting {
 public:
  Waiting(Operation& operation, Deadline deadline) : operation_(operation), deadline_(deadline) {}

  /// After an attempt that was EAGAIN, as more of `attempt` may be: `stand` then stands in the line, `ready` looks whether
  /// to try again, and `finish` takes what a served waiter got.
  template <typename Attempt, typename Ready, typename Stand, typename Finish>
  int wait_for(Attempt attempt, Ready ready, Stand stand, Finish finish) {
    const int flags = fcntl(operation_.fd, F_GETFL);
    if (flags < 0) return errno;
    if ((flags & O_NONBLOCK) != 0) return EAGAIN;
    for (;;) {
      if (is_past(deadline_)) return ETIMEDOUT;
      if (!spin(mapping(), ready)) {
        const uint32_t rank = rank_of_this_thread();
        // From here to the sleep there is no system call, and so next to no time in which a handler could run and be
        // forgotten (held_signals.h is about the long way, where the line is the daemon's).
        const Result<uint32_t> waiter = stand(rank);
        if (waiter) {
          const int waited = wait(*waiter);
          if (waited == 0) return finish(*waiter);
          queue().finish_wait(seat(), *waiter);
          return waited;
        }
        if (waiter.code() != EAGAIN) return waiter.code();
      }
      const int tried = attempt();
      if (tried != EAGAIN) return tried;
    }
  }

 private:
  const SharedQueue& queue() const { return operation_.queue(); }
  MappedQueue& mapping() const { return operation_.use.mapping(); }
  Seat seat() const { return operation_.use.seat(); }

  // 0: served.
  int end_wait(uint32_t waiter, int why) const {
    const auto ended = queue().cancel_wait(waiter, operation_.after);
    if (!ended) return ended.code();
    return *ended == Wait::kServed ? 0 : why;
  }

  int wait(uint32_t waiter) {
    for (;;) {
      switch (queue().wait_state(waiter)) {
        case Wait::kServed:
          return 0;
        case Wait::kCancelled:
          return EUCLEAN;
        case Wait::kGoesOn:
          break;
      }
      if (queue().dead()) return EUCLEAN;
      if (!queue().fall_asleep(waiter)) continue;
      const Sleep sleep{queue().futex_of(waiter), SharedQueue::kAsleepValue, static_cast<bool>(deadline_), deadline_ ? *deadline_ : 0};
      const int slept = sleep_cancellable(sleep, waiter);
      if (slept == EINTR) return end_wait(waiter, EINTR);
      if (slept != ETIMEDOUT) continue;
      if (is_past(deadline_)) return end_wait(waiter, ETIMEDOUT);  // else the clock was set
    }
  }

  // Cancellable if the program's thread is. (In a function of its own: no object with a destructor may be alive in it.)
  int sleep_cancellable(const Sleep& sleep, uint32_t waiter) {
    volatile int error = 0;  // read after what may be a longjmp
    waiter_to_leave_ = waiter;
    pthread_cleanup_push(&Waiting::leave, this);
    int type = PTHREAD_CANCEL_DEFERRED;
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &type);
    error = sleep_on(sleep);
    pthread_setcanceltype(type, nullptr);
    pthread_cleanup_pop(0);
    return error;
  }

  // The thread ends in its sleep. What it was served in the last moment goes back.
  static void leave(void* self) {
    const auto& waiting = *static_cast<Waiting*>(self);
    Operation& operation = waiting.operation_;
    const uint32_t waiter = waiting.waiter_to_leave_;
    if (waiting.end_wait(waiter, ECANCELED) == 0) {
      static_cast<void>(operation.queue().give_back_handed(waiting.seat(), waiter, operation.after).ok());
    } else {
      operation.queue().finish_wait(waiting.seat(), waiter);
    }
    tell_if_asked(operation.fd, operation.after);
    operation.~Operation();
  }

  Operation& operation_;
  const Deadline deadline_;
  uint32_t waiter_to_leave_ = 0;
};

MQUEUEFS_HOT int try_send(Operation& operation, std::span<const std::byte> message, uint32_t priority) {
  return operation.queue().try_send(operation.use.seat(), priority, message, operation.after).code();
}

MQUEUEFS_HOT int note(const Result<MessageInfo>& info, Received& received) {
  if (!info) return info.code();
  received.size = info->size;
  received.priority = info->priority;
  return 0;
}

MQUEUEFS_HOT int try_receive(Operation& operation, std::span<std::byte> buffer, Received& received) {
  return note(operation.queue().try_receive(operation.use.seat(), buffer, operation.after), received);
}

MQUEUEFS_COLD int wait_to_send(Operation& operation, std::span<const std::byte> message, uint32_t priority,
                               Deadline deadline) {
  const SharedQueue& queue = operation.queue();
  const uint32_t maxmsg = queue.attributes().maxmsg;
  return Waiting(operation, deadline).wait_for(
      [&] { return try_send(operation, message, priority); },
      // While others are at it, it is better to let them than to take each place at once: the line of the state goes back
      // and forth between the processors less often.
      [&, before = maxmsg]() mutable {
        const uint32_t taken = queue.places_taken();
        const bool ready = taken < maxmsg && (taken == before || 2 * taken <= maxmsg);
        before = taken;
        return ready;
      },
      [&](uint32_t rank) {
        return queue.wait_to_send(operation.use.seat(), priority, message, rank, kSends, operation.use.thread(),
                                  operation.after);
      },
      [&](uint32_t waiter) {
        queue.finish_wait(operation.use.seat(), waiter);
        return 0;
      });
}

MQUEUEFS_COLD int wait_to_receive(Operation& operation, std::span<std::byte> buffer, Received& received,
                                  Deadline deadline) {
  const SharedQueue& queue = operation.queue();
  const uint32_t maxmsg = queue.attributes().maxmsg;
  return Waiting(operation, deadline).wait_for(
      [&] { return try_receive(operation, buffer, received); },
      [&, before = uint32_t{0}]() mutable {
        const uint32_t taken = queue.places_taken();
        const bool ready = taken > 0 && (taken == before || 2 * taken >= maxmsg);
        before = taken;
        return ready;
      },
      [&](uint32_t rank) {
        return queue.wait_to_receive(operation.use.seat(), rank, kReceives, operation.use.thread(),
                                     operation.after);
      },
      [&](uint32_t waiter) {
        return note(queue.finish_receive(operation.use.seat(), waiter, buffer), received);
      });
}

}  // namespace

int send_mapped(int queue, std::span<const std::byte> message, uint32_t priority, Deadline deadline) {
  Operation operation(queue);
  if (!operation.use) return kNotAnswered;
  // mq_send(3): "EBADF  The descriptor specified in mqdes was invalid or not opened for writing."
  if (!operation.use.may_send()) [[unlikely]] return EBADF;
  int code = try_send(operation, message, priority);
  if (code == EAGAIN) [[unlikely]] code = wait_to_send(operation, message, priority, deadline);
  return operation.end(code, false, priority, message);
}

int receive_mapped(int queue, std::span<std::byte> buffer, Deadline deadline, Received& received) {
  Operation operation(queue);
  if (!operation.use) return kNotAnswered;
  // mq_receive(3): "EBADF  The descriptor specified in mqdes was invalid or not opened for reading."
  if (!operation.use.may_receive()) [[unlikely]] return EBADF;
  const size_t msgsize = operation.queue().attributes().msgsize;
  if (buffer.size() < msgsize) return EMSGSIZE;
  buffer = buffer.first(msgsize);
  if (!known_writable(buffer.data(), buffer.size())) return kNotAnswered;
  int code = try_receive(operation, buffer, received);
  if (code == EAGAIN) [[unlikely]] code = wait_to_receive(operation, buffer, received, deadline);
  return operation.end(code, true, received.priority, buffer.first(code == 0 ? received.size : 0));
}

bool get_mapped_attributes(int queue, mq_attr* result) {
  if (!known_writable(result, sizeof *result)) return false;
  Operation operation(queue);
  if (!operation.use) return false;
  const long flags = syscall(SYS_fcntl, queue, F_GETFL);
  // Settled: while the admission of a waiting sender is half done a message too few is counted.
  const auto state = operation.queue().look(operation.after);
  if (!state || flags < 0) return false;
  const QueueAttributes& attributes = operation.queue().attributes();
  *result = mq_attr{};
  result->mq_flags = flags & O_NONBLOCK;
  result->mq_maxmsg = attributes.maxmsg;
  result->mq_msgsize = attributes.msgsize;
  result->mq_curmsgs = operation.queue().messages(*state);
  tell_if_asked(queue, operation.after);
  return true;
}

}  // namespace mqueuefs::client
