// Messages in and out of a queue's descriptor: mq_timedsend(2), mq_timedreceive(2), mq_getattr(2).
//
// A call first tries, with a short message by a single system call. If it has to wait, and the descriptor's open file description has no O_NONBLOCK, it asks
// again (or, if the queue's last caller here had to wait, at once) with a connection's channel and then sleeps on the connection, outside of the file system, where
// signals do what they do to the kernel's calls. A message too long for one ioctl goes in pieces through the
// connection and is one message all the same. Nothing else needs a connection.
//
// Each ioctl through the descriptor is a whole call by itself: if the program puts another queue in its place in
// between, the call is as one that began later. Once a message has left its queue the descriptor is not used.
//
// If the process dies: a message being sent is in the queue whole or not at all; one being received goes back to
// its place unless all of it was fetched.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "base/result.h"
#include "client/connection.h"

struct timespec;

namespace mqueuefs::client {

/// CLOCK_REALTIME in nanoseconds; none: for ever.
class Deadline {
 public:
  Deadline() = default;
  explicit Deadline(int64_t ns) : ns_(ns) {}
  explicit operator bool() const { return ns_ != kNever; }
  int64_t operator*() const { return ns_; }

 private:
  static constexpr int64_t kNever = INT64_MAX;
  int64_t ns_ = kNever;
};

/// doc/behaviour.md E1: EINVAL for a negative time or nanoseconds out of range. Null: no deadline. Times that nanoseconds
/// can't count are as good as for ever.
Result<Deadline> deadline_of(const timespec* timeout);

/// Sends by one ioctl, with the caller's memory as it is. Never sleeps.
///
/// Errors: EAGAIN, EBADF, EMSGSIZE: as mq_send(2) has them, and in its order. Anything else (EFAULT and ENOTTY among
/// it) says that it has to be looked at in the long way: send().
Status send_direct(int queue, std::span<const std::byte> message, uint32_t priority);
bool can_send_direct(int queue, size_t size, uint32_t priority);

struct Received {
  size_t size = 0;
  uint32_t priority = 0;
};

/// Receives by one ioctl into the caller's memory. Errors: as send_direct().
Result<Received> receive_direct(int queue, std::span<std::byte> buffer);
/// Whether it can be done so, and is not likely to have to wait.
bool can_receive_direct(int queue, std::span<std::byte> buffer);

/// Whether a call has been tried already, and found the queue full or empty.
enum class Tried { kNo, kYes };

/// Where a call gets a connection if it turns out to need one.
class Lender {
 public:
  virtual Result<Connection*> connection() = 0;
  /// Another one, since the daemon does not know the last one.
  virtual Result<Connection*> renewed() = 0;

 protected:
  ~Lender() = default;
};

/// Sends one message. Blocks as mq_send does.
///
/// Errors: EINVAL: `priority` over 32767; EBADF: not a queue open for writing; EMSGSIZE: longer than msgsize;
/// EFAULT: `message` can't be read; EAGAIN: full, and O_NONBLOCK; ETIMEDOUT; EINTR: nothing was sent; ENOMEM;
/// ENOTCONN, ENODEV, ECONNRESET: the daemon or the file system is gone.
Status send(Lender& lender, int queue, std::span<const std::byte> message, uint32_t priority, Deadline deadline,
            Tried tried = Tried::kNo);
Status send(Connection& connection, int queue, std::span<const std::byte> message, uint32_t priority,
            Deadline deadline);

/// What is known of the memory that a message is to go to.
enum class Memory {
  kGood,
  kDoubtful,  ///< its beginning may not be writable: the message has to be shorter than that
  kBad,       ///< no message can be delivered: EFAULT in place of success
};

/// Takes the oldest message of the highest priority. Blocks as mq_receive does.
///
/// Errors: as send(), but EMSGSIZE: `buffer` is smaller than the queue's msgsize; EAGAIN: empty; EFAULT: `buffer`
/// can't be written: the message is back in its place. EINTR, or any other error: nothing was taken.
Result<Received> receive(Lender& lender, int queue, std::span<std::byte> buffer, Deadline deadline,
                         Memory memory = Memory::kGood, Tried tried = Tried::kNo);
Result<Received> receive(Connection& connection, int queue, std::span<std::byte> buffer, Deadline deadline);

/// Bytes of a message that go through one ioctl.
extern const size_t kInlineSendBytes;
extern const size_t kInlineReceiveBytes;

struct QueueStatus {
  uint32_t maxmsg = 0;
  uint32_t msgsize = 0;
  uint32_t curmsgs = 0;
};

/// An ioctl that does not sleep, again if it was interrupted: its value. ENOTTY, a file that is no queue, is EBADF.
Result<int> ask(int queue, unsigned long command, void* argument, const char* step);

/// mq_getattr without the flag, which is fcntl(F_GETFL)'s. EBADF: not a queue.
Result<QueueStatus> get_status(int queue);

}  // namespace mqueuefs::client
