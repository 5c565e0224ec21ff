// One function a command. Everything in `argument` was written by an unprivileged process: copied out once,
// checked, then used.
#include "fuse/queue_ioctl.h"

#include <signal.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <type_traits>
#include <utility>

#include "control/queue_ioctl.h"

namespace mqueuefs::fuse {
namespace {

using control::QueueIoctl;
using Bytes = std::span<const std::byte>;
using Room = std::span<std::byte>;

IoctlReply fail(int error) {
  return {.error = error};
}

/// Takes a header off the front of `bytes`, or nothing if it is not there.
template <typename Header>
std::optional<Header> take_header(Bytes& bytes) {
  static_assert(std::is_trivially_copyable_v<Header>);
  if (bytes.size() < sizeof(Header)) return std::nullopt;
  Header header;
  std::memcpy(&header, bytes.data(), sizeof(header));
  bytes = bytes.subspan(sizeof(Header));
  return header;
}

template <typename Header>
void put_header(Room room, const Header& header) {
  std::memcpy(room.data(), &header, sizeof(header));
}

ipc::WaitRequest wait_request(const IoctlContext& context, const ipc::Channel& channel, uint32_t flags,
                              int64_t deadline_ns) {
  ipc::WaitRequest request;
  request.rank = context.tasks.rank_of(context.caller.task);
  request.process = channel.process();
  request.task = context.caller.task;
  if ((flags & control::kWithNews) != 0) request.inline_bytes = control::kMaxNewsBytes;
  if ((flags & control::kHasDeadline) != 0) request.deadline_ns = deadline_ns;
  return request;
}

IoctlReply reply_sent(const Result<ipc::Outcome>& sent) {
  if (!sent) return fail(sent.code());
  return {.outcome = *sent == ipc::Outcome::kWaiting ? control::kWaiting : control::kDone};
}

// mq_timedsend(2). The order is that of doc/behaviour.md E2: priority, descriptor, length; only then what is ours alone.
IoctlReply send(const IoctlContext& context, Bytes argument) {
  const auto header = take_header<control::SendHeader>(argument);
  if (!header) return fail(EINVAL);
  ipc::QueueInode& queue = *context.file.queue;
  if (header->priority >= kPriorities) return fail(EINVAL);
  if (!context.file.writable) return fail(EBADF);
  if (header->size > queue.attributes().msgsize) return fail(EMSGSIZE);

  const bool may_wait = (header->flags & control::kMayWait) != 0;
  const bool staged = (header->flags & control::kFromStaging) != 0;
  if ((header->flags & ~(control::kMayWait | control::kFromStaging | control::kHasDeadline)) != 0)
    return fail(EINVAL);
  ipc::Channel* channel = nullptr;
  if (may_wait || staged) {
    channel = context.services.find_channel(header->channel);
    if (channel == nullptr) return fail(ENOTCONN);
    channel->settle();
  }

  if (staged) {
    const auto whole = channel->staged();
    if (!whole || whole->size() != header->size) return fail(EINVAL);
    std::optional<ipc::WaitRequest> request;
    if (may_wait) request = wait_request(context, *channel, header->flags, header->deadline_ns);
    return reply_sent(queue.send_staged(header->priority, context.caller, *channel, request));
  }

  if (header->size > argument.size()) return fail(EINVAL);
  const Bytes payload = argument.first(header->size);
  const Status sent = queue.try_send(header->priority, payload, context.caller);
  if (sent) return {};
  if (sent.code() != EAGAIN || !may_wait) return fail(sent.code());
  // Only who really waits is looked up in /proc.
  return reply_sent(queue.send(header->priority, payload, context.caller, *channel,
                               wait_request(context, *channel, header->flags, header->deadline_ns)));
}

// mq_timedreceive(2), in the order of doc/behaviour.md E3.
IoctlReply receive(const IoctlContext& context, Bytes argument, Room answer) {
  const auto header = take_header<control::ReceiveHeader>(argument);
  if (!header || answer.size() < sizeof(*header)) return fail(EINVAL);
  ipc::QueueInode& queue = *context.file.queue;
  if (!context.file.readable) return fail(EBADF);
  if (header->buffer_size < queue.attributes().msgsize) return fail(EMSGSIZE);

  const bool may_wait = (header->flags & control::kMayWait) != 0;
  const bool into_channel = (header->flags & control::kIntoChannel) != 0;
  constexpr uint32_t kKnown = control::kMayWait | control::kHasDeadline | control::kIntoChannel | control::kWithNews;
  if ((header->flags & ~kKnown) != 0) return fail(EINVAL);
  ipc::Channel* channel = header->channel != 0 ? context.services.find_channel(header->channel) : nullptr;
  if (channel == nullptr && (may_wait || into_channel || header->channel != 0)) return fail(ENOTCONN);
  if (channel != nullptr) channel->settle();

  const Room room = into_channel ? Room() : answer.subspan(sizeof(*header));
  std::optional<MessageInfo> info;
  const auto received = queue.try_receive(header->buffer_size, room, channel, context.caller.task);
  if (received) {
    info = *received;
  } else {
    if (received.code() != EAGAIN || !may_wait) return fail(received.code());
    const auto later = queue.receive(header->buffer_size, room, *channel,
                                     wait_request(context, *channel, header->flags, header->deadline_ns));
    if (!later) return fail(later.code());
    if (!*later) return {.outcome = control::kWaiting};
    info = **later;
  }

  control::ReceiveHeader out{};
  out.channel = header->channel;
  out.priority = info->priority;
  out.total = info->size;
  const bool in_pieces = info->size > room.size();
  out.buffer_size = in_pieces ? 0 : info->size;
  put_header(answer, out);
  if (in_pieces) return {.outcome = control::kInPieces, .size = sizeof(out)};
  return {.size = sizeof(out) + info->size, .taken = IoctlReply::Taken{*info, sizeof(out)}};
}

// The same checks in the same order as send() and receive(); the priority and the buffer's length are in range.
IoctlReply send_direct(const IoctlContext& context, uint32_t priority, Bytes payload) {
  if (!context.file.writable) return fail(EBADF);
  return {.error = context.file.queue->try_send(priority, payload, context.caller).code()};
}

IoctlReply receive_direct(const IoctlContext& context, Room answer) {
  if (!context.file.readable) return fail(EBADF);
  const auto received = context.file.queue->try_receive(answer.size(), answer, nullptr, context.caller.task);
  if (!received) return fail(received.code());
  return {.outcome = control::direct_outcome(received->size, received->priority),
          .size = received->size,
          .taken = IoctlReply::Taken{*received, 0}};
}

constexpr size_t padded(size_t size) {
  return (size + 7) / 8 * 8;
}

/// Pads what was put into `answer` up to `used`. With zeros: the room was used for other callers' answers
/// before.
size_t pad(Room answer, size_t used) {
  while (used % 8 != 0 && used < answer.size())
    answer[used++] = std::byte{0};
  return used;
}

// Each as if sent by itself; the first that can't be ends it. Priorities and lengths are checked before that,
// as a caller would who sends them one by one and looks.
IoctlReply send_many(const IoctlContext& context, Bytes argument) {
  const auto header = take_header<control::ManyHeader>(argument);
  if (!header) return fail(EINVAL);
  if (!context.file.writable) return fail(EBADF);
  int sent = 0;
  for (uint32_t i = 0; i < header->entries; ++i) {
    const auto entry = take_header<control::ManyEntry>(argument);
    int error = !entry || entry->size > argument.size() ? EINVAL : 0;
    if (error == 0) {
      error =
          context.file.queue->try_send(entry->priority, argument.first(entry->size), context.caller).code();
    }
    if (error != 0) return sent > 0 ? IoctlReply{.outcome = sent} : fail(error);
    ++sent;
    argument = argument.subspan(std::min(padded(entry->size), argument.size()));
  }
  return {.outcome = sent};
}

IoctlReply receive_many(const IoctlContext& context, Bytes argument, Room answer) {
  const auto header = take_header<control::ManyHeader>(argument);
  if (!header || answer.size() < sizeof(*header)) return fail(EINVAL);
  ipc::QueueInode& queue = *context.file.queue;
  if (!context.file.readable) return fail(EBADF);
  if (header->buffer_size < queue.attributes().msgsize) return fail(EMSGSIZE);

  IoctlReply reply{.size = sizeof(*header)};
  uint32_t entries = 0;
  while (entries < header->entries && reply.size + sizeof(control::ManyEntry) <= answer.size()) {
    const size_t offset = reply.size + sizeof(control::ManyEntry);
    const auto received =
        queue.try_receive(header->buffer_size, answer.subspan(offset), nullptr, context.caller.task);
    if (!received) {
      // EINVAL: it begins the next answer, or is too long for any and has to come through a channel.
      if (entries == 0) return fail(received.code());
      break;
    }
    put_header(answer.subspan(reply.size), control::ManyEntry{received->priority, received->size});
    reply.further.push_back({*received, offset});
    ++entries;
    reply.size = pad(answer, offset + received->size);
  }
  put_header(answer, control::ManyHeader{entries, header->buffer_size});
  reply.outcome = static_cast<int>(entries);
  return reply;
}

IoctlReply get_attributes(const IoctlContext& context, Room answer) {
  control::AttributesReply out{};
  if (answer.size() < sizeof(out)) return fail(EINVAL);
  ipc::QueueInode& queue = *context.file.queue;
  out.maxmsg = queue.attributes().maxmsg;
  out.msgsize = queue.attributes().msgsize;
  out.curmsgs = queue.curmsgs();
  put_header(answer, out);
  return {.size = sizeof(out)};
}

// The attributes are those before, as mq_setattr(3) reports them; it asks for them only if its caller does.
IoctlReply touch(const IoctlContext& context, Room answer) {
  IoctlReply reply =
      answer.size() >= sizeof(control::AttributesReply) ? get_attributes(context, answer) : IoctlReply{};
  context.file.queue->touch();
  return reply;
}

// mq_notify(2), in the order of doc/behaviour.md F2.
IoctlReply notify(const IoctlContext& context, Bytes argument) {
  const auto header = take_header<control::NotifyHeader>(argument);
  if (!header) return fail(EINVAL);
  ipc::QueueInode& queue = *context.file.queue;
  if (header->register_it != 0) {
    const Status type_ok = ipc::notification_type_ok(header->type, header->signo);
    if (!type_ok) return fail(type_ok.code());
  }
  const pid_t process = context.tasks.process_of(context.caller.task);
  if (header->register_it == 0) {
    if (process != 0) queue.unregister_notification(process);
    return {};
  }
  if (queue.has_registration()) return fail(EBUSY);
  // A caller in a pid namespace beside or above ours: it could neither be told nor be seen to leave.
  if (process == 0) return fail(ESRCH);

  ipc::Registration registration;
  registration.process = process;
  registration.type = header->type;
  registration.signo = header->type == SIGEV_SIGNAL ? header->signo : 0;
  if (header->type != SIGEV_NONE) {
    registration.target = context.services.make_notification_target(process, header->type, registration.signo,
                                                                    header->value, header->channel);
    // As the kernel's mq_notify(2) for a SIGEV_THREAD descriptor that is none.
    if (registration.target == nullptr) return fail(header->type == SIGEV_THREAD ? EBADF : ENOMEM);
  }
  const Status registered = queue.register_notification(std::move(registration));
  if (registered) context.file.registrant = process;
  return {.error = registered.code()};
}

// As many whole messages as fit; a message longer than one answer comes alone, a part at a time.
IoctlReply peek(const IoctlContext& context, Bytes argument, Room answer) {
  const auto header = take_header<control::PeekHeader>(argument);
  if (!header || answer.size() < sizeof(*header) + sizeof(control::PeekEntry)) return fail(EINVAL);
  if (!context.file.readable) return fail(EBADF);

  control::PeekHeader out = *header;
  out.entries = 0;
  size_t used = sizeof(out);
  while (used + sizeof(control::PeekEntry) <= answer.size()) {
    PeekPosition position;
    if (out.started != 0) position = {out.priority, out.sequence, out.slot_hint};
    const uint32_t offset = out.offset;
    const Room room = answer.subspan(used + sizeof(control::PeekEntry));
    const auto seen = context.file.queue->peek(position, offset, room);
    if (!seen) {
      if (seen.code() == EAGAIN || out.entries > 0) break;
      return fail(seen.code());
    }
    const size_t rest = seen->size - std::min(offset, seen->size);
    const size_t size = std::min(rest, room.size());
    if (size < rest && out.entries > 0) break;  // it begins the next answer
    put_header(answer.subspan(used), control::PeekEntry{.priority = seen->priority,
                                                        .total = seen->size,
                                                        .sequence = seen->sequence,
                                                        .size = static_cast<uint32_t>(size)});
    used = pad(answer, used + sizeof(control::PeekEntry) + size);
    ++out.entries;
    if (size < rest) {
      out.offset = offset + static_cast<uint32_t>(size);
      break;
    }
    out.offset = 0;
    out.started = 1;
    out.priority = position.priority;
    out.sequence = position.sequence;
    out.slot_hint = position.slot_hint;
  }
  put_header(answer, out);
  return {.size = used};
}

// Who may do only one of the two must not get what lets him do both.
IoctlReply map(const IoctlContext& context, Bytes argument) {
  const auto header = take_header<control::MapHeader>(argument);
  if (!header || (header->flags & ~uint32_t{control::kOnlyForMapping}) != 0) return fail(EINVAL);
  if ((header->flags & control::kOnlyForMapping) != 0) context.file.only_for_mapping = true;
  if (!context.file.readable || !context.file.writable) return fail(EBADF);
  return fail(context.services.send_mapping(header->channel, context.caller.task, *context.file.queue).code());
}

IoctlReply tell(const IoctlContext& context, Bytes argument) {
  const auto header = take_header<control::TellHeader>(argument);
  if (!header || (header->flags & ~(control::kUsedNotification | control::kCouldNotMap | control::kWokeNobody)) != 0) return fail(EINVAL);
  // A process that maps the queue may have it open for one direction only.
  if (!context.file.readable && !context.file.writable) return fail(EBADF);
  if ((header->flags & control::kUsedNotification) != 0 && !context.file.writable) return fail(EBADF);
  if ((header->flags & control::kCouldNotMap) != 0) {
    context.file.queue->could_not_map(header->incarnation, context.tasks.process_of(context.caller.task));
    return {};
  }
  if ((header->flags & control::kWokeNobody) != 0) context.file.queue->reap_mapping_processes();
  context.file.queue->told((header->flags & control::kUsedNotification) != 0, context.caller);
  return {};
}

// Who may read the messages may see who sends and receives them.
IoctlReply trace(const IoctlContext& context, Bytes argument) {
  const auto header = take_header<control::TraceHeader>(argument);
  if (!header) return fail(EINVAL);
  if (!context.file.readable) return fail(EBADF);
  return fail(context.services
                  .start_trace(header->channel, context.caller.task, *context.file.queue, header->payload_bytes)
                  .code());
}

IoctlReply tell_message(const IoctlContext& context, Bytes argument) {
  const auto header = take_header<control::TellMessageHeader>(argument);
  ipc::QueueInode& queue = *context.file.queue;
  if (!header || header->payload_bytes > argument.size() || header->payload_bytes > header->size) return fail(EINVAL);
  if (header->priority >= kPriorities || header->size > queue.attributes().msgsize) return fail(EINVAL);
  if (header->received != 0 ? !context.file.readable : !context.file.writable) return fail(EBADF);
  const auto operation = header->received != 0 ? ipc::TracedOperation::kReceived : ipc::TracedOperation::kSent;
  queue.told_message({operation, true, context.caller.task, header->priority, header->size,
                      argument.first(header->payload_bytes)});
  return {};
}

}  // namespace

IoctlReply handle_queue_ioctl(const IoctlContext& context, unsigned command, Bytes argument, Room answer) {
  if (_IOC_TYPE(command) == control::kSendDirectType && _IOC_DIR(command) == _IOC_WRITE) {
    return _IOC_SIZE(command) == argument.size() ? send_direct(context, _IOC_NR(command), argument) : fail(EINVAL);
  }
  if (_IOC_TYPE(command) != 'q') return fail(ENOTTY);
  if (_IOC_DIR(command) == _IOC_READ && _IOC_NR(command) == static_cast<unsigned>(QueueIoctl::kReceiveDirect)) {
    return _IOC_SIZE(command) == answer.size() ? receive_direct(context, answer) : fail(EINVAL);
  }
  if (_IOC_DIR(command) != (_IOC_READ | _IOC_WRITE)) return fail(ENOTTY);
  if (_IOC_SIZE(command) != argument.size()) return fail(EINVAL);
  switch (static_cast<QueueIoctl>(_IOC_NR(command))) {
    case QueueIoctl::kSend:
      return send(context, argument);
    case QueueIoctl::kSendMany:
      return send_many(context, argument);
    case QueueIoctl::kReceive:
      return receive(context, argument, answer);
    case QueueIoctl::kReceiveMany:
      return receive_many(context, argument, answer);
    case QueueIoctl::kGetAttributes:
      return get_attributes(context, answer);
    case QueueIoctl::kNotify:
      return notify(context, argument);
    case QueueIoctl::kPeek:
      return peek(context, argument, answer);
    case QueueIoctl::kTouch:
      return touch(context, answer);
    case QueueIoctl::kMap:
      return map(context, argument);
    case QueueIoctl::kTell:
      return tell(context, argument);
    case QueueIoctl::kTrace:
      return trace(context, argument);
    case QueueIoctl::kTellMessage:
      return tell_message(context, argument);
    case QueueIoctl::kReceiveDirect:
      break;  // its direction is another
  }
  return fail(ENOTTY);
}

}  // namespace mqueuefs::fuse
