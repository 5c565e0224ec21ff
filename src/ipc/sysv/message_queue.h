// One message queue: its messages in order of arrival, who waits for one, who waits for room.
//
// Receivers are served in order of arrival by whatever message comes that they want; it does not enter the queue then.
// Senders are served in order of arrival as far as their messages fit; one that does not fit lets others pass.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <memory>

#include "ipc/sysv/id_table.h"
#include "ipc/sysv/message_queues.h"
#include "ipc/sysv/waiter.h"

namespace mqueuefs::ipc::sysv {

/// Which message a receiver wants. See msgrcv(2).
class Selection {
 public:
  /// EINVAL: MSG_COPY with MSG_EXCEPT, or without IPC_NOWAIT.
  static Result<Selection> create(int64_t type, int flags);

  bool copies() const { return mode_ == Mode::kNumber; }
  bool wants(const TypedMessage& message) const;

 private:
  friend class MessageQueue;
  enum class Mode { kAny, kEqual, kNotEqual, kLeast, kNumber };

  Selection(Mode mode, int64_t type) : mode_(mode), type_(type) {}

  Mode mode_;
  int64_t type_;  // kLeast: the greatest that will do; kNumber: a position
};

/// Thread rule: the loop's.
class MessageQueue : public Object {
 public:
  MessageQueue(const Permissions& permissions, uint64_t qbytes, MessageTotals& totals, Charge charge);
  /// Who waits gets EIDRM.
  ~MessageQueue() override;

  bool fits(size_t size) const;
  /// There is room: hands it to a receiver, or keeps it.
  void accept(TypedMessage message, pid_t sender);
  void wait_to_send(const Caller& caller, TypedMessage message, Waiter& waiter);

  using Messages = std::list<TypedMessage>;
  Messages::iterator find(const Selection& selection);
  Messages::iterator end() { return messages_.end(); }
  /// Offers the message to `take`; if he has it, it is gone, and senders are served.
  bool give(Messages::iterator message, const Caller& caller, uint64_t size, const MessageQueues::TakeMessage& take);
  /// `most_bytes`: of a message that does not have to be refused.
  void wait_to_receive(const Caller& caller, const Selection& selection, uint64_t size, uint64_t most_bytes,
                       Waiter& waiter);

  void set(const PermissionChange& change, uint64_t qbytes);

  /// But for the pids, which are the daemon's.
  MessageQueueStatus status() const;

 private:
  struct SenderPlace;
  struct ReceiverPlace;

  bool hand_over(TypedMessage& message);
  void serve_senders();
  void ask_receivers_anew();

  uint64_t qbytes_;
  uint64_t cbytes_ = 0;
  pid_t lspid_ = 0;
  pid_t lrpid_ = 0;
  int64_t stime_s_ = 0;
  int64_t rtime_s_ = 0;
  int64_t ctime_s_;
  Messages messages_;
  std::list<SenderPlace> senders_;
  std::list<ReceiverPlace> receivers_;
  MessageTotals& totals_;
  Charge charge_;
};

}  // namespace mqueuefs::ipc::sysv
