#include "seccomp/blocked_call.h"

#include <array>
#include <utility>

namespace mqueuefs::seccomp {

Status answer_receive(Targets& targets, const Notification& call, const ReceiveBuffer& buffer, const MessageInfo& info,
                      std::span<const std::byte> payload) {
  std::array<Targets::Piece, 2> pieces;
  size_t count = 0;
  pieces[count++] = {buffer.address, payload};
  if (buffer.priority_address != 0)
    pieces[count++] = {buffer.priority_address, std::as_bytes(std::span(&info.priority, 1))};
  return targets.write_and_answer(call, std::span(pieces).first(count), info.size);
}

BlockedCall::BlockedCall(const Listener& listener, Targets& targets, control::Reactor& reactor,
                         const Notification& call, const ReceiveBuffer& buffer, uid_t uid, ipc::MemoryBudget& budget,
                         std::function<void(bool)> over)
    : Channel(uid, budget),
      listener_(listener),
      targets_(targets),
      reactor_(reactor),
      call_(call),
      buffer_(buffer),
      over_(std::move(over)) {}

BlockedCall::~BlockedCall() { abandon(); }

void BlockedCall::wait_begun() {
  const auto& deadline_ns = wait_request().deadline_ns;
  if (!deadline_ns) return;
  deadline_ = reactor_.make_timer([this] { end(ETIMEDOUT); });
  deadline_->set_realtime(*deadline_ns);
}

void BlockedCall::wait_done(int code) {
  if (deadline_ != nullptr) deadline_->cancel();
  if (std::exchange(answered_, true)) return over_(false);
  if (code == ERESTART) return over_(true);
  listener_.fail(call_.id, code == ENODEV ? EBADF : code);
  over_(false);
}

bool BlockedCall::offer(const std::shared_ptr<ipc::QueueInode>&, ipc::Message& message) {
  answered_ = true;
  if (deadline_ != nullptr) deadline_->cancel();
  const Status taken = answer_receive(targets_, call_, buffer_, message.info, message.payload);
  // The kernel's mq_timedreceive(2) loses the message here; it goes to the next.
  if (taken.code() == EFAULT) targets_.fail(call_, EFAULT);
  over_(false);
  return taken.ok();
}

bool BlockedCall::admit() {
  if (deadline_ != nullptr) deadline_->cancel();
  answered_ = true;
  if (targets_.answer(call_, 0).ok()) return true;  // wait_done follows
  over_(false);
  return false;
}

}  // namespace mqueuefs::seccomp
