// Sending and receiving: mqueuefs_timedsend and its kin. The checks are in the kernel's order (doc/behaviour.md E1 to E3); a
// descriptor that is not ours is the kernel's to answer.
#include <fcntl.h>
#include <sys/syscall.h>

#include <algorithm>
#include <optional>

#include "client/call.h"
#include "client/kernel_call.h"
#include "client/known_memory.h"
#include "client/mapped_queues.h"
#include "client/mapped_transfer.h"
#include "client/queue_file.h"
#include "client/transfer.h"
#include "client/user_memory.h"
#include "mqueuefs/mqueuefs.h"

namespace mqueuefs::client {
namespace {

constexpr unsigned kPriorities = 32768;  // MQ_PRIO_MAX

// doc/behaviour.md E1. EFAULT, EINVAL.
Result<Deadline> read_deadline(const timespec* given) {
  if (given == nullptr) return Deadline{};
  if (!readable(given, sizeof *given)) return Error{EFAULT, "timeout"};
  const timespec copy = *given;
  return deadline_of(&copy);
}

// What comes before EFAULT for the message (doc/behaviour.md E2), asked only when it is EFAULT or worse.
Status why_not_sent(int queue, size_t size) {
  const int flags = fcntl(queue, F_GETFL);
  const int access = flags & O_ACCMODE;
  if (flags < 0 || (access != O_WRONLY && access != O_RDWR)) return Error{EBADF, "send"};
  const auto status = get_status(queue);
  if (!status) return status.error();
  return Error{size > status->msgsize ? EMSGSIZE : EFAULT, "send"};
}

// A kernel without message queues: what it would have said of a descriptor that is none.
template <typename Check>
long or_bad_descriptor(long result, Check check) {
  if (result >= 0 || errno != ENOSYS) return result;
  const Status checked = check();
  errno = checked ? EBADF : checked.code();
  return -1;
}

// False: to be answered otherwise.
MQUEUEFS_HOT bool read_known_deadline(const timespec* timeout, Deadline& deadline) {
  if (timeout == nullptr) return true;
  if (!known_readable(timeout, sizeof *timeout)) return false;
  const timespec copy = *timeout;
  const auto read = deadline_of(&copy);
  if (read) deadline = *read;
  return read.ok();
}

// 0, an errno, or kNotAnswered.
MQUEUEFS_HOT int send_in_memory(mqd_t queue, const char* message, size_t size, unsigned priority,
                                const timespec* timeout) {
  Deadline deadline;
  if (!read_known_deadline(timeout, deadline)) return kNotAnswered;
  if (priority >= kPriorities || !known_readable(message, size)) return kNotAnswered;
  return send_mapped(queue, std::as_bytes(std::span(message, size)), priority, deadline);
}

MQUEUEFS_HOT int receive_in_memory(mqd_t queue, char* buffer, size_t size, unsigned* priority,
                                   const timespec* timeout, Received& received) {
  Deadline deadline;
  if (!read_known_deadline(timeout, deadline)) return kNotAnswered;
  if (priority != nullptr && !known_writable(priority, sizeof *priority)) return kNotAnswered;
  const int code = receive_mapped(queue, std::as_writable_bytes(std::span(buffer, size)), deadline, received);
  if (code == 0 && priority != nullptr) *priority = received.priority;
  return code;
}

// Of what the short way says, this is the answer; the rest is for the long one.
bool is_final(int code) { return code == EBADF || code == EMSGSIZE; }

int send_otherwise(mqd_t queue, const char* message, size_t size, unsigned priority, const timespec* timeout);
ssize_t receive_otherwise(mqd_t queue, char* buffer, size_t size, unsigned* priority, const timespec* timeout);

MQUEUEFS_HOT int timed_send(mqd_t queue, const char* message, size_t size, unsigned priority,
                            const timespec* timeout) {
  pthread_testcancel();
  const int code = send_in_memory(queue, message, size, priority, timeout);
  if (code == 0) [[likely]] return 0;
  if (code == kNotAnswered) return send_otherwise(queue, message, size, priority, timeout);
  errno = code;
  return -1;
}

MQUEUEFS_HOT ssize_t timed_receive(mqd_t queue, char* buffer, size_t size, unsigned* priority,
                                   const timespec* timeout) {
  pthread_testcancel();
  Received received;
  const int code = receive_in_memory(queue, buffer, size, priority, timeout, received);
  if (code == 0) [[likely]] return static_cast<ssize_t>(received.size);
  if (code == kNotAnswered) return receive_otherwise(queue, buffer, size, priority, timeout);
  errno = code;
  return -1;
}

// True: it is mapped from now on.
bool maps_now(mqd_t queue) { return !is_known(queue) && may_be_queue(queue) && map_queue(queue); }

// The usual case is one system call, the ioctl itself: it says by ENOTTY that the descriptor is not ours, and by
// EFAULT that a pointer is bad.
MQUEUEFS_COLD int send_otherwise(mqd_t queue, const char* message, size_t size, unsigned priority,
                                 const timespec* timeout) {
  if (maps_now(queue)) return timed_send(queue, message, size, priority, timeout);
  Tried tried = Tried::kNo;
  if (timeout == nullptr && can_send_direct(queue, size, priority)) {
    Call call;
    const Status sent = send_direct(queue, std::as_bytes(std::span(message, size)), priority);
    if (sent || is_final(sent.code())) return call.finish(sent);
    if (sent.code() == EAGAIN) tried = Tried::kYes;
  }
  if (tried == Tried::kNo && !may_be_queue(queue)) {
    const long sent = kernel_call(SYS_mq_timedsend, queue, reinterpret_cast<long>(message), static_cast<long>(size),
                                  static_cast<long>(priority), reinterpret_cast<long>(timeout));
    return static_cast<int>(or_bad_descriptor(sent, [&]() -> Status {
      if (const auto deadline = read_deadline(timeout); !deadline) return deadline.error();
      if (priority >= kPriorities) return Error{EINVAL, "priority"};
      return {};
    }));
  }
  Call call;
  const auto deadline = read_deadline(timeout);
  if (!deadline) return call.fail(deadline.code());
  if (priority >= kPriorities) return call.fail(EINVAL);
  // A longer one is looked at when its length has been found right.
  if (size <= kInlineSendBytes && !readable(message, size)) return call.finish(why_not_sent(queue, size));
  SleepLease lease(call);
  return call.finish(send(lease, queue, std::as_bytes(std::span(message, size)), priority, *deadline, tried));
}

MQUEUEFS_COLD ssize_t receive_otherwise(mqd_t queue, char* buffer, size_t size, unsigned* priority,
                                        const timespec* timeout) {
  if (maps_now(queue)) return timed_receive(queue, buffer, size, priority, timeout);
  Tried tried = Tried::kNo;
  const std::span<std::byte> room = std::as_writable_bytes(std::span(buffer, size));
  if (timeout == nullptr && can_receive_direct(queue, room)) {
    Call call;
    if (writable_when_last_seen(buffer, size) && (priority == nullptr || writable(priority, sizeof *priority))) {
      const auto received = receive_direct(queue, room);
      if (received) {
        if (priority != nullptr) *priority = received->priority;
        return static_cast<ssize_t>(received->size);
      }
      if (is_final(received.code())) return call.fail(received.code());
      if (received.code() == EAGAIN) tried = Tried::kYes;
    }
  }
  if (tried == Tried::kNo && !may_be_queue(queue)) {
    const long received =
        kernel_call(SYS_mq_timedreceive, queue, reinterpret_cast<long>(buffer), static_cast<long>(size),
                    reinterpret_cast<long>(priority), reinterpret_cast<long>(timeout));
    return or_bad_descriptor(received, [&]() -> Status {
      const auto deadline = read_deadline(timeout);
      return deadline ? Status() : deadline.error();
    });
  }
  Call call;
  const auto deadline = read_deadline(timeout);
  if (!deadline) return call.fail(deadline.code());
  Memory memory = Memory::kGood;
  if (priority != nullptr && !writable(priority, sizeof *priority)) {
    memory = Memory::kBad;
  } else if (!writable(buffer, std::min(size, kInlineReceiveBytes))) {
    memory = Memory::kDoubtful;
  }
  SleepLease lease(call);
  const auto received = receive(lease, queue, room, *deadline, memory, tried);
  if (!received) return call.fail(received.code());
  if (priority != nullptr) *priority = received->priority;
  return static_cast<ssize_t>(received->size);
}

}  // namespace
}  // namespace mqueuefs::client

using namespace mqueuefs::client;

extern "C" {

int mqueuefs_send(mqd_t queue, const char* message, size_t size, unsigned priority) {
  return timed_send(queue, message, size, priority, nullptr);
}

int mqueuefs_timedsend(mqd_t queue, const char* message, size_t size, unsigned priority,
                       const struct timespec* deadline) {
  return timed_send(queue, message, size, priority, deadline);
}

ssize_t mqueuefs_receive(mqd_t queue, char* buffer, size_t size, unsigned* priority) {
  return timed_receive(queue, buffer, size, priority, nullptr);
}

ssize_t mqueuefs_timedreceive(mqd_t queue, char* buffer, size_t size, unsigned* priority,
                              const struct timespec* deadline) {
  return timed_receive(queue, buffer, size, priority, deadline);
}

}  // extern "C"
