// The message queues of a namespace: msgget, msgsnd, msgrcv, msgctl. See msgop(2), msgctl(2), and ipc/msg.c.
//
// A queue holds its messages in the order of arrival; type selection happens when one is taken. It is never so that a
// receiver waits for a message that is there, or that a sender waits whose message would fit, except for the moment
// within one call: whatever takes or adds a message serves the lines before it returns.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>

#include "ipc/sysv/id_table.h"
#include "ipc/sysv/status.h"
#include "ipc/sysv/surroundings.h"
#include "ipc/sysv/waiter.h"

namespace mqueuefs::ipc::sysv {

class MessageQueue;

/// In all queues of a namespace.
struct MessageTotals {
  uint64_t messages = 0;
  uint64_t bytes = 0;  ///< of payload
};

/// Thread rule: the loop's. Every `id` and `type` may be any number. A null `waiter` is as IPC_NOWAIT, except that the
/// errno is EAGAIN in both: the call would wait, ask again with a waiter.
class MessageQueues {
 public:
  explicit MessageQueues(const Surroundings& surroundings);
  /// Every blocked call gets EIDRM.
  ~MessageQueues();

  /// msgget(2). The id. Errors: get_existing()'s; ENOSPC msgmni; ENOMEM; ESRCH.
  Result<int> get(const Caller& caller, key_t key, int flags, const Confirm& confirm);

  /// msgsnd(2); confirmed with 0. kWaiting: the message is in `waiter`'s place in the line, its offer is 0 once it is
  /// in the queue. Errors, in this order: EINVAL size over msgmax, negative id, type < 1; ENOMEM the sender's ceiling;
  /// EINVAL no such queue; EACCES; EAGAIN full and IPC_NOWAIT (or no waiter); EBUSY the waiter is in use; ESRCH.
  Result<Outcome> send(const Caller& caller, int id, int64_t type, std::span<const std::byte> payload, int flags,
                       Waiter* waiter, const Confirm& confirm);

  /// The receiver gets the message: true if he was still there and has it. May move from it then.
  using TakeMessage = std::function<bool(const Received& received)>;
  /// msgrcv(2) with a buffer of `size` bytes; `take` is its Confirm. With MSG_COPY `take` gets a copy.
  /// Errors, in this order: EINVAL negative id or size, MSG_COPY with MSG_EXCEPT or without IPC_NOWAIT; EINVAL no such
  /// queue; EACCES; E2BIG the message is longer and no MSG_NOERROR (with MSG_COPY and MSG_NOERROR: EINVAL); ENOMSG none
  /// and IPC_NOWAIT; EAGAIN none and no waiter; EBUSY the waiter is in use; ESRCH.
  Result<Outcome> receive(const Caller& caller, int id, uint64_t size, int64_t type, int flags, Waiter* waiter,
                          const TakeMessage& take);

  /// IPC_STAT, MSG_STAT, MSG_STAT_ANY. Errors: EINVAL, EACCES.
  Result<MessageQueueStatus> status(const Caller& caller, int id, Lookup lookup) const;
  /// IPC_SET; confirmed with 0. Blocked receivers and senders are asked anew. Errors, in this order: EINVAL no such
  /// queue; EPERM may_control(), or `qbytes` over msgmnb; EINVAL check_change(); ESRCH.
  Status set(const Caller& caller, int id, const PermissionChange& change, uint64_t qbytes, const Confirm& confirm);
  /// IPC_RMID; confirmed with 0. Errors: EINVAL, EPERM, ESRCH.
  Status remove(const Caller& caller, int id, const Confirm& confirm);

  /// MSG_INFO.
  Usage usage() const;
  /// For lists: the first with an index of at least `index`, without asking for permissions.
  std::optional<MessageQueueStatus> next_from(int index, TaskId reader) const;
  IdTable<MessageQueue>& table() { return table_; }
  const IdTable<MessageQueue>& table() const { return table_; }

 private:
  MessageQueueStatus status_of(const MessageQueue& queue, TaskId reader) const;

  const Surroundings surroundings_;
  MessageTotals totals_;  // outlives the queues, which count in it
  IdTable<MessageQueue> table_;
};

}  // namespace mqueuefs::ipc::sysv
