// What POSIX lacks: a walk without taking, several messages in a call, waiting for several queues.
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <new>

#include "client/call.h"
#include "client/peek.h"
#include "client/queue_file.h"
#include "client/transfer.h"
#include "client/user_memory.h"
#include "control/queue_ioctl.h"
#include "mqueuefs/mqueuefs.h"

struct mqueuefs_peek {
  explicit mqueuefs_peek(int queue) : iterator(queue) {}
  mqueuefs::client::PeekIterator iterator;
};

namespace mqueuefs::client {
namespace {

using control::ManyEntry;
using control::ManyHeader;
using control::queue_ioctl;
using control::QueueIoctl;

constexpr size_t kManyBytes = (control::kMaxIoctlBytes - sizeof(ManyHeader)) / 8 * 8;
constexpr size_t padded(size_t size) { return (size + 7) / 8 * 8; }

struct ManyArgument {
  ManyHeader header;
  alignas(8) std::byte bytes[kManyBytes];
};
static_assert(sizeof(ManyArgument) == sizeof(ManyHeader) + kManyBytes);

// Puts as many messages as fit into the argument: how many, and the bytes used.
struct Packed {
  uint32_t count = 0;
  size_t bytes = 0;
};
Packed pack(ManyArgument& argument, std::span<const mqueuefs_message> messages) {
  Packed packed;
  for (const mqueuefs_message& message : messages) {
    if (message.size > kManyBytes || packed.bytes + sizeof(ManyEntry) + padded(message.size) > kManyBytes) break;
    if (!readable(message.data, message.size)) break;
    const ManyEntry entry{message.priority, static_cast<uint32_t>(message.size)};
    memcpy(argument.bytes + packed.bytes, &entry, sizeof entry);
    packed.bytes += sizeof entry;
    if (message.size > 0) memcpy(argument.bytes + packed.bytes, message.data, message.size);
    packed.bytes += padded(message.size);
    ++packed.count;
  }
  argument.header = {packed.count, 0};
  return packed;
}

// How far a call of several messages has got by one request.
struct Progress {
  size_t done = 0;         // 0: the next one has to go by itself, for whatever reason
  bool would_wait = false;  // the queue is full or empty now
};

// Sends several together, without waiting.
Progress send_some(int queue, std::span<const mqueuefs_message> messages) {
  ManyArgument argument;
  const Packed packed = pack(argument, messages);
  if (packed.count == 0) return {};
  const auto sent = ask(queue, queue_ioctl(QueueIoctl::kSendMany, static_cast<uint32_t>(sizeof(ManyHeader) + packed.bytes)),
                        &argument, "send");
  if (!sent) return {0, sent.code() == EAGAIN};
  const size_t done = std::min<size_t>(static_cast<size_t>(*sent), packed.count);
  return {done, done < packed.count};
}

// The same for receiving; an answer that makes no sense counts as nothing.
Progress receive_some(int queue, std::span<mqueuefs_message> messages) {
  ManyArgument argument;
  size_t shortest = SIZE_MAX;
  uint32_t wanted = 0;
  for (const mqueuefs_message& message : messages) {
    // No message of this answer is longer than all of it.
    if (wanted == UINT32_MAX || !writable(message.data, std::min(message.size, kManyBytes))) break;
    shortest = std::min(shortest, message.size);
    if (++wanted >= kManyBytes / sizeof(ManyEntry)) break;
  }
  if (wanted == 0) return {};
  argument.header = {wanted, static_cast<uint32_t>(std::min<size_t>(shortest, UINT32_MAX))};
  const auto received = ask(queue, queue_ioctl(QueueIoctl::kReceiveMany, sizeof argument), &argument, "receive");
  if (!received) return {0, received.code() == EAGAIN};
  size_t at = 0;
  size_t count = 0;
  while (count < static_cast<size_t>(*received) && count < wanted && kManyBytes - at >= sizeof(ManyEntry)) {
    ManyEntry entry;
    memcpy(&entry, argument.bytes + at, sizeof entry);
    at += sizeof entry;
    mqueuefs_message& message = messages[count];
    if (entry.size > kManyBytes - at || entry.size > message.size) break;
    if (entry.size > 0) memcpy(message.data, argument.bytes + at, entry.size);
    at += std::min(padded(entry.size), kManyBytes - at);
    message.length = entry.size;
    message.priority = entry.priority;
    ++count;
  }
  return {count, false};
}

// Several at a time as long as that works, else one by one; only the first is waited for.
template <typename Step>
ssize_t go_through(int queue, size_t count, const timespec* deadline, Step step) {
  const bool ours = may_be_queue(queue);
  const int saved_errno = errno;
  for (size_t done = 0;;) {
    if (done == count) return static_cast<ssize_t>(done);
    Progress progress;
    if (ours) progress = step(true, done, nullptr);
    if (progress.done == 0 && !(progress.would_wait && done > 0)) {
      constexpr timespec kNoWaiting{};
      progress = step(false, done, done == 0 ? deadline : &kNoWaiting);
      if (progress.done == 0 && done == 0) return -1;
    }
    done += progress.done;
    if (progress.done == 0 || progress.would_wait) {
      errno = saved_errno;
      return static_cast<ssize_t>(done);
    }
  }
}

}  // namespace
}  // namespace mqueuefs::client

using namespace mqueuefs::client;

extern "C" {

struct mqueuefs_peek* mqueuefs_peek_begin(mqd_t queue) {
  Call call;
  if (!may_be_queue(queue) || !get_status(queue)) {
    call.fail(EBADF);
    return nullptr;
  }
  void* const memory = malloc(sizeof(mqueuefs_peek));
  if (memory == nullptr) {
    call.fail(ENOMEM);
    return nullptr;
  }
  return new (memory) mqueuefs_peek(queue);
}

ssize_t mqueuefs_peek_next(struct mqueuefs_peek* walk, char* buffer, size_t size, unsigned* priority) {
  Call call;
  if (!writable(buffer, size)) return call.fail(EFAULT);
  PeekedMessage message;
  const auto found = walk->iterator.next(message, std::as_writable_bytes(std::span(buffer, size)));
  if (!found) return call.fail(found.code());
  if (!*found) return call.fail(ENOMSG);
  if (priority != nullptr && !copy_out(priority, message.priority)) return call.fail(EFAULT);
  return static_cast<ssize_t>(message.size);
}

void mqueuefs_peek_end(struct mqueuefs_peek* walk) {
  if (walk == nullptr) return;
  walk->~mqueuefs_peek();
  free(walk);
}

ssize_t mqueuefs_send_many(mqd_t queue, const struct mqueuefs_message* messages, size_t count,
                           const struct timespec* deadline) {
  return go_through(queue, count, deadline, [&](bool together, size_t done, const timespec* until) -> Progress {
    if (together) return send_some(queue, {messages + done, count - done});
    const mqueuefs_message& message = messages[done];
    const int sent = mqueuefs_timedsend(queue, static_cast<const char*>(message.data), message.size, message.priority, until);
    return {sent == 0 ? size_t{1} : 0, false};
  });
}

ssize_t mqueuefs_receive_many(mqd_t queue, struct mqueuefs_message* messages, size_t count,
                              const struct timespec* deadline) {
  return go_through(queue, count, deadline, [&](bool together, size_t done, const timespec* until) -> Progress {
    if (together) return receive_some(queue, {messages + done, count - done});
    mqueuefs_message& message = messages[done];
    const ssize_t length =
        mqueuefs_timedreceive(queue, static_cast<char*>(message.data), message.size, &message.priority, until);
    if (length < 0) return {};
    message.length = static_cast<size_t>(length);
    return {1, false};
  });
}

int mqueuefs_wait(struct mqueuefs_waiting* queues, size_t count, const struct timespec* deadline) {
  constexpr int kAll = MQUEUEFS_READABLE | MQUEUEFS_WRITABLE;
  timespec until{};
  if (deadline != nullptr && !copy_in(until, deadline)) {
    errno = EFAULT;
    return -1;
  }
  if (deadline != nullptr && !deadline_of(&until)) {
    errno = EINVAL;
    return -1;
  }
  if (!readable(queues, count * sizeof *queues) || !writable(queues, count * sizeof *queues)) {
    errno = EFAULT;
    return -1;
  }
  pollfd few[16];
  pollfd* const polled = count <= std::size(few) ? few : static_cast<pollfd*>(calloc(count, sizeof *polled));
  if (polled == nullptr) return -1;
  int ready = 0;
  for (size_t i = 0; i < count && ready >= 0; ++i) {
    if ((queues[i].wanted & ~kAll) != 0) ready = -1;
    polled[i].fd = queues[i].queue;
    polled[i].events = static_cast<short>(((queues[i].wanted & MQUEUEFS_READABLE) != 0 ? POLLIN : 0) |
                                          ((queues[i].wanted & MQUEUEFS_WRITABLE) != 0 ? POLLOUT : 0));
  }
  int error = ready < 0 ? EINVAL : 0;
  while (error == 0) {
    timespec left{};
    if (deadline != nullptr) {
      timespec now{};
      clock_gettime(CLOCK_REALTIME, &now);
      left = {until.tv_sec - now.tv_sec, until.tv_nsec - now.tv_nsec};
      if (left.tv_nsec < 0) left = {left.tv_sec - 1, left.tv_nsec + 1'000'000'000};
      if (left.tv_sec < 0) left = {};
      // A clock that is set is noticed within a minute.
      if (left.tv_sec > 60) left = {60, 0};
    }
    ready = ppoll(polled, count, deadline != nullptr ? &left : nullptr, nullptr);
    if (ready < 0) error = errno;
    if (ready != 0 || (left.tv_sec == 0 && left.tv_nsec == 0)) break;
  }
  for (size_t i = 0; i < count && error == 0; ++i) {
    const short events = polled[i].revents;
    queues[i].ready = ((events & POLLIN) != 0 ? MQUEUEFS_READABLE : 0) | ((events & POLLOUT) != 0 ? MQUEUEFS_WRITABLE : 0);
    if ((events & (POLLNVAL | POLLERR)) != 0) queues[i].ready = MQUEUEFS_BROKEN;
  }
  if (polled != few) free(polled);
  if (error == 0) return ready;
  errno = error;
  return -1;
}

}  // extern "C"
