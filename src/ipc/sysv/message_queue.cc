#include "ipc/sysv/message_queue.h"

#include <sys/msg.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/check.h"
#include "base/clock.h"

namespace mqueuefs::ipc::sysv {

Result<Selection> Selection::create(int64_t type, int flags) {
  if ((flags & MSG_COPY) != 0) {
    if ((flags & MSG_EXCEPT) != 0 || (flags & IPC_NOWAIT) == 0) return Error{EINVAL, "MSG_COPY"};
    return Selection(Mode::kNumber, type);
  }
  if (type == 0) return Selection(Mode::kAny, 0);
  if (type < 0) return Selection(Mode::kLeast, type == INT64_MIN ? INT64_MAX : -type);
  return Selection((flags & MSG_EXCEPT) != 0 ? Mode::kNotEqual : Mode::kEqual, type);
}

bool Selection::wants(const TypedMessage& message) const {
  switch (mode_) {
    case Mode::kAny:
    case Mode::kNumber: return true;
    case Mode::kEqual: return message.type == type_;
    case Mode::kNotEqual: return message.type != type_;
    case Mode::kLeast: return message.type <= type_;
  }
  return false;
}

struct MessageQueue::SenderPlace : WaitPlace {
  SenderPlace(MessageQueue& at, Waiter& waiter, const Caller& caller, TypedMessage to_send)
      : WaitPlace(waiter, caller), queue(at), message(std::move(to_send)) {}
  void leave() override { queue.senders_.erase(self); }

  MessageQueue& queue;
  TypedMessage message;
  std::list<SenderPlace>::iterator self;
};

struct MessageQueue::ReceiverPlace : WaitPlace {
  ReceiverPlace(MessageQueue& at, Waiter& waiter, const Caller& caller, const Selection& wanted, uint64_t buffer_size,
                uint64_t most)
      : WaitPlace(waiter, caller), queue(at), selection(wanted), size(buffer_size), most_bytes(most) {}
  void leave() override { queue.receivers_.erase(self); }

  MessageQueue& queue;
  const Selection selection;
  const uint64_t size;        // that he has
  const uint64_t most_bytes;  // of a message that he need not refuse
  std::list<ReceiverPlace>::iterator self;
};

MessageQueue::MessageQueue(const Permissions& permissions, uint64_t qbytes, MessageTotals& totals, Charge charge)
    : Object(permissions),
      qbytes_(qbytes),
      ctime_s_(file_time_now_s()),
      totals_(totals),
      charge_(std::move(charge)) {}

MessageQueue::~MessageQueue() {
  for (ReceiverPlace& receiver : receivers_) receiver.offer(EIDRM);
  for (SenderPlace& sender : senders_) sender.offer(EIDRM);
  totals_.messages -= messages_.size();
  totals_.bytes -= cbytes_;
}

// msg_fits_inqueue(): empty messages are bounded by qbytes, too.
bool MessageQueue::fits(size_t size) const { return size + cbytes_ <= qbytes_ && messages_.size() + 1 <= qbytes_; }

void MessageQueue::accept(TypedMessage message, pid_t sender) {
  lspid_ = sender;
  stime_s_ = file_time_now_s();
  if (hand_over(message)) return;
  cbytes_ += message.payload.size();
  totals_.bytes += message.payload.size();
  totals_.messages++;
  messages_.push_back(std::move(message));
}

// pipelined_send(): the first receiver who wants it; those who want it and have no room for it fail on the way.
bool MessageQueue::hand_over(TypedMessage& message) {
  for (auto next = receivers_.begin(); next != receivers_.end();) {
    const auto receiver = next++;
    if (!receiver->selection.wants(message)) continue;
    std::list<ReceiverPlace> out_of_line;
    out_of_line.splice(out_of_line.begin(), receivers_, receiver);
    if (receiver->most_bytes < message.payload.size()) {
      receiver->offer(E2BIG);
      continue;
    }
    const Received received{message, std::min<size_t>(receiver->size, message.payload.size())};
    const uid_t payer = message.charge.uid();
    message.charge.move_to(receiver->caller().euid);
    if (receiver->offer(0, &received)) {
      lrpid_ = receiver->caller().thread;  // the thread, where msgrcv() itself notes the process
      rtime_s_ = file_time_now_s();
      return true;
    }
    message.charge.move_to(payer);
  }
  return false;
}

void MessageQueue::wait_to_send(const Caller& caller, TypedMessage message, Waiter& waiter) {
  senders_.emplace_back(*this, waiter, caller, std::move(message));
  senders_.back().self = std::prev(senders_.end());
}

// ss_wakeup(), and what the senders do who are woken: those whose message fits by itself try again, in order. Who
// finds no room any more stands at the end of the line.
void MessageQueue::serve_senders() {
  std::list<SenderPlace> woken;
  for (auto next = senders_.begin(); next != senders_.end();) {
    const auto sender = next++;
    if (fits(sender->message.payload.size())) woken.splice(woken.end(), senders_, sender);
  }
  while (!woken.empty()) {
    SenderPlace& sender = woken.front();
    if (!may_access(permissions_, sender.caller(), kWrite)) {
      sender.offer(EACCES);
    } else if (!fits(sender.message.payload.size())) {
      senders_.splice(senders_.end(), woken, woken.begin());
      continue;
    } else if (sender.offer(0)) {
      accept(std::move(sender.message), sender.caller().process);
    }
    woken.pop_front();
  }
}

// find_msg() of ipc/msg.c.
MessageQueue::Messages::iterator MessageQueue::find(const Selection& selection) {
  using Mode = Selection::Mode;
  if (selection.mode_ == Mode::kNumber) {
    if (selection.type_ < 0 || static_cast<uint64_t>(selection.type_) >= messages_.size()) return messages_.end();
    return std::next(messages_.begin(), selection.type_);
  }
  auto found = messages_.end();
  for (auto message = messages_.begin(); message != messages_.end(); ++message) {
    if (!selection.wants(*message)) continue;
    if (selection.mode_ != Mode::kLeast) return message;
    if (found == messages_.end() || message->type < found->type) found = message;
    if (found->type == 1) break;  // nothing is less
  }
  return found;
}

bool MessageQueue::give(Messages::iterator message, const Caller& caller, uint64_t size,
                        const MessageQueues::TakeMessage& take) {
  const size_t payload_bytes = message->payload.size();
  const uid_t payer = message->charge.uid();
  message->charge.move_to(caller.euid);
  if (!take(Received{*message, std::min<size_t>(size, payload_bytes)})) {
    message->charge.move_to(payer);
    return false;
  }
  messages_.erase(message);
  cbytes_ -= payload_bytes;
  totals_.bytes -= payload_bytes;
  totals_.messages--;
  rtime_s_ = file_time_now_s();
  lrpid_ = caller.process;
  serve_senders();
  return true;
}

void MessageQueue::wait_to_receive(const Caller& caller, const Selection& selection, uint64_t size,
                                   uint64_t most_bytes, Waiter& waiter) {
  receivers_.emplace_back(*this, waiter, caller, selection, size, most_bytes);
  receivers_.back().self = std::prev(receivers_.end());
}

void MessageQueue::set(const PermissionChange& change, uint64_t qbytes) {
  apply_change(permissions_, change);
  qbytes_ = qbytes;
  ctime_s_ = file_time_now_s();
  ask_receivers_anew();
  serve_senders();
}

// expunge_all(EAGAIN): they look again whether they may.
void MessageQueue::ask_receivers_anew() {
  for (auto next = receivers_.begin(); next != receivers_.end();) {
    const auto receiver = next++;
    if (may_access(permissions_, receiver->caller(), kRead)) continue;
    std::list<ReceiverPlace> out_of_line;
    out_of_line.splice(out_of_line.begin(), receivers_, receiver);
    receiver->offer(EACCES);
  }
}

MessageQueueStatus MessageQueue::status() const {
  return {.permissions = permissions_,
          .cbytes = cbytes_,
          .qnum = messages_.size(),
          .qbytes = qbytes_,
          .lspid = lspid_,
          .lrpid = lrpid_,
          .stime_s = stime_s_,
          .rtime_s = rtime_s_,
          .ctime_s = ctime_s_,
          .waiting_senders = static_cast<uint32_t>(senders_.size()),
          .waiting_receivers = static_cast<uint32_t>(receivers_.size())};
}

}  // namespace mqueuefs::ipc::sysv
