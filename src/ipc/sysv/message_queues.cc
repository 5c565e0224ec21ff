#include "ipc/sysv/message_queues.h"

#include <sys/msg.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <utility>

#include "ipc/sysv/look_up.h"
#include "ipc/sysv/message_queue.h"

namespace mqueuefs::ipc::sysv {
namespace {

// What is kept beside the payload, roughly.
constexpr uint64_t kMessageBytes = 128;
constexpr uint64_t kQueueBytes = 512;

}  // namespace

MessageQueues::MessageQueues(const Surroundings& surroundings) : surroundings_(surroundings) {}
MessageQueues::~MessageQueues() = default;

Result<int> MessageQueues::get(const Caller& caller, key_t key, int flags, const Confirm& confirm) {
  const auto existing = get_existing(table_, caller, key, flags, [](const Object&) { return false; });
  if (!existing) return existing.error();
  if (const Object* const queue = *existing; queue != nullptr) {
    if (!confirm(queue->id())) return Error{ESRCH, "caller"};
    return queue->id();
  }
  auto id = table_.new_id(static_cast<uint32_t>(surroundings_.limits.msgmni));
  if (!id) return id.error();
  auto charge = Charge::reserve(surroundings_.budget, caller.euid, kQueueBytes);
  if (!charge) return charge.error();
  const Permissions permissions = created_by(caller, key, flags);
  auto queue = std::make_unique<MessageQueue>(permissions, surroundings_.limits.msgmnb, totals_, std::move(*charge));
  if (!confirm(*id)) return Error{ESRCH, "caller"};
  table_.add(*id, std::move(queue));
  return *id;
}

Result<Outcome> MessageQueues::send(const Caller& caller, int id, int64_t type, std::span<const std::byte> payload,
                                    int flags, Waiter* waiter, const Confirm& confirm) {
  if (payload.size() > surroundings_.limits.msgmax || type < 1) return Error{EINVAL, "size or type"};
  auto charge = Charge::reserve(surroundings_.budget, caller.euid, payload.size() + kMessageBytes);
  if (!charge) return charge.error();
  const auto found = look_up(table_, caller, id, kWrite);
  if (!found) return found.error();
  MessageQueue& queue = **found;
  const bool has_room = queue.fits(payload.size());
  if (!has_room) {
    if ((flags & IPC_NOWAIT) != 0 || waiter == nullptr) return Error{EAGAIN, "full"};
    if (waiter->is_waiting()) return Error{EBUSY, "waiter"};
  }
  TypedMessage message{type, {payload.begin(), payload.end()}, std::move(*charge)};
  if (!has_room) {
    queue.wait_to_send(caller, std::move(message), *waiter);
    return Outcome::kWaiting;
  }
  if (!confirm(0)) return Error{ESRCH, "caller"};
  queue.accept(std::move(message), caller.process);
  return Outcome::kDone;
}

Result<Outcome> MessageQueues::receive(const Caller& caller, int id, uint64_t size, int64_t type, int flags,
                                       Waiter* waiter, const TakeMessage& take) {
  if (id < 0 || size > INT64_MAX) return Error{EINVAL, "id or size"};
  const auto selection = Selection::create(type, flags);
  if (!selection) return selection.error();
  const auto found = look_up(table_, caller, id, kRead);
  if (!found) return found.error();
  MessageQueue& queue = **found;
  const bool truncates = (flags & MSG_NOERROR) != 0;

  const auto message = queue.find(*selection);
  if (message == queue.end()) {
    if ((flags & IPC_NOWAIT) != 0) return Error{ENOMSG, "none"};
    if (waiter == nullptr) return Error{EAGAIN, "none yet"};
    if (waiter->is_waiting()) return Error{EBUSY, "waiter"};
    queue.wait_to_receive(caller, *selection, size, truncates ? UINT64_MAX : size, *waiter);
    return Outcome::kWaiting;
  }
  if (message->payload.size() > size && !truncates) return Error{E2BIG, "message"};
  if (!selection->copies()) {
    if (!queue.give(message, caller, size, take)) return Error{ESRCH, "caller"};
    return Outcome::kDone;
  }
  // copy_msg(): a copy is whole, MSG_NOERROR or not.
  if (message->payload.size() > std::min(size, surroundings_.limits.msgmax)) return Error{EINVAL, "copy"};
  auto charge = Charge::reserve(surroundings_.budget, caller.euid, message->payload.size() + kMessageBytes);
  if (!charge) return charge.error();
  TypedMessage copy{message->type, message->payload, std::move(*charge)};
  if (!take(Received{copy, copy.payload.size()})) return Error{ESRCH, "caller"};
  return Outcome::kDone;
}

Result<MessageQueueStatus> MessageQueues::status(const Caller& caller, int id, Lookup lookup) const {
  const auto found = look_up(table_, caller, id, lookup);
  if (!found) return found.error();
  return status_of(**found, caller.thread);
}

MessageQueueStatus MessageQueues::status_of(const MessageQueue& queue, TaskId reader) const {
  MessageQueueStatus status = queue.status();
  status.lspid = surroundings_.tasks.pid_seen_by(status.lspid, reader);
  status.lrpid = surroundings_.tasks.pid_seen_by(status.lrpid, reader);
  return status;
}

Status MessageQueues::set(const Caller& caller, int id, const PermissionChange& change, uint64_t qbytes,
                          const Confirm& confirm) {
  const auto found = look_up_to_control(table_, caller, id);
  if (!found) return found.error();
  // msgctl_down(): before the owner is looked at.
  if (qbytes > surroundings_.limits.msgmnb && !caller.rights->may_exceed_limits()) return Error{EPERM, "msgmnb"};
  if (const Status valid = check_change(change); !valid) return valid;
  if (!confirm(0)) return Error{ESRCH, "caller"};
  (*found)->set(change, qbytes);
  return {};
}

Status MessageQueues::remove(const Caller& caller, int id, const Confirm& confirm) {
  const auto found = look_up_to_control(table_, caller, id);
  if (!found) return found.error();
  if (!confirm(0)) return Error{ESRCH, "caller"};
  table_.remove(**found);
  return {};
}

Usage MessageQueues::usage() const {
  return {.greatest_index = std::max(table_.greatest_index(), 0),
          .used_ids = table_.count(),
          .messages = totals_.messages,
          .message_bytes = totals_.bytes};
}

std::optional<MessageQueueStatus> MessageQueues::next_from(int index, TaskId reader) const {
  const MessageQueue* const queue = table_.next_from(index);
  if (queue == nullptr) return std::nullopt;
  return status_of(*queue, reader);
}

}  // namespace mqueuefs::ipc::sysv
