#include "client/transfer.h"

#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include <algorithm>
#include <new>

#include "client/habit.h"
#include "client/held_signals.h"
#include "client/user_memory.h"
#include "control/queue_ioctl.h"

namespace mqueuefs::client {
namespace {

using control::queue_ioctl;
using control::QueueIoctl;

// A header and room for what follows it, on the stack: as much as this call needs, since the threads of a program
// may have little of it.
template <typename Header>
struct Argument {
  Header* header;
  std::byte* payload;
  unsigned long command;
};
#define MQUEUEFS_STACK_ARGUMENT(Header, number, payload_bytes)                                             \
  make_argument<Header>(number, payload_bytes, __builtin_alloca(sizeof(Header) + (payload_bytes)))

template <typename Header>
Argument<Header> make_argument(QueueIoctl number, size_t payload_bytes, void* memory) {
  auto* header = new (memory) Header{};
  return {header, reinterpret_cast<std::byte*>(header + 1),
          queue_ioctl(number, static_cast<uint32_t>(sizeof(Header) + payload_bytes))};
}

// FUSE answers ENOTTY for an ioctl of a file that is no queue; mq_* know only EBADF for that.
Error ioctl_error(const char* step) { return errno == ENOTTY ? Error{EBADF, step} : last_error(step); }

// As ask(), for a call that may have to sleep on `connection` then: it must not forget a signal that came just before
// (wq_sleep looks at pending signals first).
Result<int> ask_to_wait(Connection& connection, int queue, unsigned long command, void* argument, const char* step,
                        std::span<std::byte> news_room = {}) {
  connection.begin_wait(news_room);
  HeldSignals held;
  const int outcome = ioctl(queue, command, argument);
  const Error error = outcome >= 0 ? Error{} : ioctl_error(step);
  if (held.release()) connection.interrupt_wait();
  if (outcome >= 0) return outcome;
  return error;
}

Result<bool> may_block(int queue) {
  const int flags = fcntl(queue, F_GETFL);
  if (flags < 0) return last_error("F_GETFL");
  return (flags & O_NONBLOCK) == 0;
}

template <typename Header>
void set_wait(Header& header, Deadline deadline) {
  header.flags |= control::kMayWait;
  if (deadline) {
    header.flags |= control::kHasDeadline;
    header.deadline_ns = *deadline;
  }
}

// Asks with the channel of a connection, which is in `connection` then. A connection that was kept for long may be
// one that this daemon does not know.
template <typename Header>
Result<int> ask_with_channel(Lender& lender, Connection*& connection, int queue, const Argument<Header>& argument,
                             const Header& request, const char* step, std::span<std::byte> news_room = {}) {
  auto lent = lender.connection();
  for (bool renewed = false;; renewed = true) {
    if (!lent) return lent.error();
    connection = *lent;
    *argument.header = request;
    argument.header->channel = connection->channel();
    const bool may_wait = (request.flags & control::kMayWait) != 0;
    auto outcome = may_wait ? ask_to_wait(*connection, queue, argument.command, argument.header, step, news_room)
                            : ask(queue, argument.command, argument.header, step);
    if (renewed || outcome.code() != ENOTCONN) return outcome;
    lent = lender.renewed();
  }
}

constinit Habit send_habit;
constinit Habit receive_habit;

Status wait_until_sent(Connection& connection) {
  const auto done = connection.wait();
  if (!done) return done.error();
  if (done->status != 0) return Error{done->status, "wait"};
  return {};
}

Status stage(Connection& connection, std::span<const std::byte> message) {
  const auto total = static_cast<uint32_t>(message.size());
  for (uint32_t offset = 0; offset < total;) {
    const uint32_t size = std::min(total - offset, control::kMaxPieceBytes);
    const control::Stage piece{total, offset};
    const auto staged = connection.request(control::Type::kStage, control::bytes_of(piece), {}, -1,
                                           message.subspan(offset, size));
    if (!staged) return staged.error();
    offset += size;
  }
  return {};
}

void give_back(Connection& connection) {
  static_cast<void>(connection.request(control::Type::kGiveBack, {}).ok());
}

// A message that is too long for one ioctl: into the channel, and from there into the queue.
Status send_staged(Lender& lender, int queue, std::span<const std::byte> message, uint32_t priority,
                   Deadline deadline) {
  // Before megabytes are carried for nothing.
  const auto status = get_status(queue);
  if (!status) return status.error();
  const int flags = fcntl(queue, F_GETFL);
  if (flags < 0) return last_error("F_GETFL");
  if ((flags & O_ACCMODE) != O_WRONLY && (flags & O_ACCMODE) != O_RDWR) return Error{EBADF, "send"};
  if (message.size() > status->msgsize) return Error{EMSGSIZE, "send"};
  if (!readable(message.data(), message.size())) return Error{EFAULT, "send"};
  const bool blocks = (flags & O_NONBLOCK) == 0;
  if (!blocks && status->curmsgs >= status->maxmsg) return Error{EAGAIN, "send"};

  auto lent = lender.connection();
  if (!lent) return lent.error();
  Status staged = stage(**lent, message);
  if (!staged && !(*lent)->healthy()) {
    lent = lender.renewed();
    if (!lent) return lent.error();
    staged = stage(**lent, message);
  }
  if (!staged) return staged;
  Connection& connection = **lent;

  auto argument = MQUEUEFS_STACK_ARGUMENT(control::SendHeader, QueueIoctl::kSend, 0);
  *argument.header = {priority, control::kFromStaging, connection.channel(), 0,
                      static_cast<uint32_t>(message.size()), 0};
  if (blocks) set_wait(*argument.header, deadline);
  const auto outcome = blocks ? ask_to_wait(connection, queue, argument.command, argument.header, "send")
                              : ask(queue, argument.command, argument.header, "send");
  if (outcome) return *outcome == control::kWaiting ? wait_until_sent(connection) : Status();
  give_back(connection);
  return outcome.error();
}

// Takes over the message that is in the channel. It stays there, to go back to its place, until all of it is here.
Result<Received> fetch(Connection& connection, const Received& message, std::span<std::byte> buffer, Memory memory) {
  if (message.size > buffer.size()) return Error{EPROTO, "message longer than agreed"};
  if (memory == Memory::kBad || !writable(buffer.data(), message.size)) {
    give_back(connection);
    return Error{EFAULT, "receive"};
  }
  uint32_t offset = 0;
  do {
    const auto size = static_cast<uint32_t>(std::min<size_t>(message.size - offset, control::kMaxPieceBytes));
    const control::Fetch piece{offset, size};
    const auto reply =
        connection.request(control::Type::kFetch, control::bytes_of(piece), buffer.subspan(offset, size));
    if (!reply) return reply.error();
    if (reply->size != size) return Error{EPROTO, "fetch"};
    offset += size;
  } while (offset < message.size);
  return message;
}

Result<Received> fetch_after_wait(Connection& connection, std::span<std::byte> buffer, Memory memory) {
  const auto done = connection.wait();
  if (!done) return done.error();
  if (done->status != 0) return Error{done->status, "wait"};
  if (done->enclosed != 0) return Received{done->total, done->priority};
  return fetch(connection, {done->total, done->priority}, buffer, memory);
}

// For a plain connection.
class OneConnection final : public Lender {
 public:
  explicit OneConnection(Connection& connection) : connection_(connection) {}
  Result<Connection*> connection() override { return &connection_; }
  Result<Connection*> renewed() override { return Error{ENOTCONN, "channel"}; }

 private:
  Connection& connection_;
};

}  // namespace

const size_t kInlineSendBytes = control::kMaxIoctlBytes - sizeof(control::SendHeader);
const size_t kInlineReceiveBytes = control::kMaxIoctlBytes - sizeof(control::ReceiveHeader);

// EINTR says only that this request had not been looked at.
Result<int> ask(int queue, unsigned long command, void* argument, const char* step) {
  for (;;) {
    const int outcome = ioctl(queue, command, argument);
    if (outcome >= 0) return outcome;
    if (errno != EINTR) return ioctl_error(step);
  }
}

Result<Deadline> deadline_of(const timespec* timeout) {
  if (timeout == nullptr) return Deadline{};
  if (timeout->tv_sec < 0 || timeout->tv_nsec < 0 || timeout->tv_nsec >= 1'000'000'000) {
    return Error{EINVAL, "timeout"};
  }
  int64_t deadline_ns = 0;
  if (__builtin_mul_overflow(static_cast<int64_t>(timeout->tv_sec), int64_t{1'000'000'000}, &deadline_ns) ||
      __builtin_add_overflow(deadline_ns, static_cast<int64_t>(timeout->tv_nsec), &deadline_ns)) {
    return Deadline{};
  }
  return Deadline{deadline_ns};
}

namespace {

// ENOTTY stays: who is asked may be no queue of ours.
Result<int> ask_directly(int queue, unsigned long command, void* memory, const char* step) {
  for (;;) {
    const int outcome = ioctl(queue, command, memory);
    if (outcome >= 0) return outcome;
    if (errno != EINTR) return last_error(step);
  }
}

}  // namespace

bool can_send_direct(int queue, size_t size, uint32_t priority) {
  return size > 0 && size <= control::kMaxIoctlBytes && priority <= control::kMaxDirectPriority && !send_habit.waits(queue);
}

Status send_direct(int queue, std::span<const std::byte> message, uint32_t priority) {
  const auto command = control::send_direct_ioctl(priority, static_cast<uint32_t>(message.size()));
  // The kernel only reads it.
  const auto sent = ask_directly(queue, command, const_cast<std::byte*>(message.data()), "send");
  return sent ? Status() : sent.error();
}

bool can_receive_direct(int queue, std::span<std::byte> buffer) {
  return !buffer.empty() && buffer.size() <= control::kMaxIoctlBytes && !receive_habit.waits(queue);
}

Result<Received> receive_direct(int queue, std::span<std::byte> buffer) {
  const auto command = control::receive_direct_ioctl(static_cast<uint32_t>(buffer.size()));
  const auto outcome = ask_directly(queue, command, buffer.data(), "receive");
  if (!outcome) return outcome.error();
  return Received{control::direct_size(*outcome), control::direct_priority(*outcome)};
}

Status send(Lender& lender, int queue, std::span<const std::byte> message, uint32_t priority, Deadline deadline,
            Tried already) {
  if (message.size() > kInlineSendBytes) {
    for (;;) {
      const Status sent = send_staged(lender, queue, message, priority, deadline);
      if (sent.code() != ERESTART) return sent;
    }
  }
  auto argument = MQUEUEFS_STACK_ARGUMENT(control::SendHeader, QueueIoctl::kSend, message.size());
  argument.header->priority = priority;
  argument.header->size = static_cast<uint32_t>(message.size());
  if (!message.empty()) memcpy(argument.payload, message.data(), message.size());

  Result<bool> blocks = already == Tried::kYes || send_habit.waits(queue) ? may_block(queue) : Result<bool>(false);
  if (!blocks) return blocks.error();
  if (!*blocks) {
    if (already == Tried::kYes) return Error{EAGAIN, "send"};
    const auto tried = ask(queue, argument.command, argument.header, "send");
    if (tried) return {};
    if (tried.code() != EAGAIN) return tried.error();
    blocks = may_block(queue);
    if (!blocks) return blocks.error();
    if (!*blocks) return tried.error();
  }

  control::SendHeader request = *argument.header;
  set_wait(request, deadline);
  for (;;) {
    Connection* connection = nullptr;
    const auto outcome = ask_with_channel(lender, connection, queue, argument, request, "send");
    if (!outcome) return outcome.error();
    send_habit.note(queue, *outcome == control::kWaiting);
    if (*outcome != control::kWaiting) return {};
    const Status sent = wait_until_sent(*connection);
    if (sent.code() != ERESTART) return sent;
  }
}

Status send(Connection& connection, int queue, std::span<const std::byte> message, uint32_t priority,
            Deadline deadline) {
  OneConnection lender(connection);
  return send(lender, queue, message, priority, deadline);
}

Result<Received> receive(Lender& lender, int queue, std::span<std::byte> buffer, Deadline deadline, Memory memory,
                         Tried tried) {
  const auto buffer_size = static_cast<uint32_t>(std::min<size_t>(buffer.size(), UINT32_MAX));
  const size_t capacity = memory == Memory::kGood ? std::min(buffer.size(), kInlineReceiveBytes) : 0;
  auto argument = MQUEUEFS_STACK_ARGUMENT(control::ReceiveHeader, QueueIoctl::kReceive, capacity);
  control::ReceiveHeader request{};
  request.buffer_size = buffer_size;
  if (memory != Memory::kGood) request.flags = control::kIntoChannel;
  const bool needs_channel = buffer.size() > capacity;

  bool waiting = false;
  if (tried == Tried::kYes || receive_habit.waits(queue)) {
    const auto blocks = may_block(queue);
    if (!blocks) return blocks.error();
    if (!*blocks && tried == Tried::kYes) return Error{EAGAIN, "receive"};
    waiting = *blocks;
  }
  Connection* connection = nullptr;
  for (;; waiting = true) {
    if (waiting) {
      set_wait(request, deadline);
      if (memory == Memory::kGood) request.flags |= control::kWithNews;
    }
    *argument.header = request;
    const auto outcome = waiting || needs_channel
                             ? ask_with_channel(lender, connection, queue, argument, request, "receive", buffer)
                             : ask(queue, argument.command, argument.header, "receive");
    if (!outcome) {
      if (outcome.code() != EAGAIN || waiting) return outcome.error();
      const auto blocks = may_block(queue);
      if (!blocks) return blocks.error();
      if (!*blocks) return outcome.error();
      continue;
    }
    if (waiting) receive_habit.note(queue, *outcome == control::kWaiting);
    const control::ReceiveHeader& header = *argument.header;
    switch (*outcome) {
      case control::kDone:
        if (header.buffer_size > capacity) return Error{EPROTO, "receive"};
        if (memory == Memory::kBad) return Error{EFAULT, "receive"};
        if (header.buffer_size > 0) memcpy(buffer.data(), argument.payload, header.buffer_size);
        return Received{header.buffer_size, header.priority};
      case control::kInPieces:
        if (connection == nullptr) return Error{EPROTO, "receive"};
        return fetch(*connection, {header.total, header.priority}, buffer, memory);
      case control::kWaiting:
        if (connection == nullptr) return Error{EPROTO, "receive"};
        if (auto received = fetch_after_wait(*connection, buffer, memory); received.code() != ERESTART) return received;
        break;
      default:
        return Error{EPROTO, "receive"};
    }
  }
}

Result<Received> receive(Connection& connection, int queue, std::span<std::byte> buffer, Deadline deadline) {
  OneConnection lender(connection);
  return receive(lender, queue, buffer, deadline);
}

Result<QueueStatus> get_status(int queue) {
  control::AttributesReply reply{};
  const auto asked = ask(queue, queue_ioctl(QueueIoctl::kGetAttributes, sizeof reply), &reply, "attributes");
  if (!asked) return asked.error();
  return QueueStatus{reply.maxmsg, reply.msgsize, reply.curmsgs};
}

}  // namespace mqueuefs::client
