#include "ipc/channel.h"

#include <cstring>
#include <new>
#include <utility>

#include "base/check.h"
#include "base/clock.h"
#include "ipc/queue_inode.h"

namespace mqueuefs::ipc {

Channel::~Channel() {
  // The derived class has called abandon() while it could still be told of things.
  MQUEUEFS_CHECK(state_ == State::kIdle && held_bytes_ == 0);
}

Status Channel::hold(uint64_t bytes) {
  if (const Status reserved = budget_.reserve(uid_, bytes); !reserved) return reserved;
  held_bytes_ += bytes;
  return {};
}

Status Channel::stage(uint32_t total, uint32_t offset, std::span<const std::byte> piece) {
  settle();
  if (state_ != State::kIdle && state_ != State::kStaging) return Error{EBUSY, "channel in use"};
  if (total > kMaxMessageSize) return Error{EMSGSIZE, "staged message"};
  if (offset == 0) {
    become_idle();
    if (const Status held = hold(total); !held) return held;
    message_.payload.resize(total);
    state_ = State::kStaging;
  }
  if (state_ != State::kStaging || total != message_.payload.size() || offset != staged_bytes_ ||
      piece.size() > total - offset) {
    return Error{EINVAL, "pieces do not fit together"};
  }
  if (!piece.empty()) memcpy(message_.payload.data() + offset, piece.data(), piece.size());
  staged_bytes_ += static_cast<uint32_t>(piece.size());
  return {};
}

Result<std::span<const std::byte>> Channel::staged() const {
  if (state_ != State::kStaging || staged_bytes_ != message_.payload.size()) return Error{EINVAL, "nothing staged"};
  return std::span<const std::byte>(message_.payload);
}

void Channel::drop_staged() {
  if (state_ == State::kStaging) become_idle();
}

Result<const Message*> Channel::assigned(const QueueInode& queue) const {
  if (state_ != State::kAssigned || queue_.get() != &queue) return Error{EINVAL, "no message is assigned"};
  return &message_;
}

void Channel::finish_fetch() {
  MQUEUEFS_CHECK(state_ == State::kAssigned);
  become_idle();
}

bool Channel::cancel() {
  if (state_ != State::kSendWaiting && state_ != State::kReceiveWaiting) return false;
  // Whoever maps the queue may have served it meanwhile; the queue has told the derived class then.
  if (!queue_->leave_line(*this)) return false;
  become_idle();
  return true;
}

void Channel::end(int code) {
  if (cancel()) wait_done(code);
}

void Channel::abandon() {
  if (cancel()) return;
  if (state_ == State::kAssigned || (state_ == State::kDelivered && died_without_reading())) {
    const std::shared_ptr<QueueInode> queue = queue_;
    Message message = std::move(message_);
    become_idle();
    queue->give_back(std::move(message));
  } else {
    become_idle();
  }
}

void Channel::begin_wait(State state, std::shared_ptr<QueueInode> queue, const WaitRequest& request) {
  queue->in_use_++;
  queue_ = std::move(queue);
  state_ = state;
  wait_request_ = request;
  waiting_since_ns_ = monotonic_now_ns();
  wait_begun();
}

void Channel::take_assigned(std::shared_ptr<QueueInode> queue, Message message) {
  MQUEUEFS_CHECK(state_ == State::kIdle && held_bytes_ == 0);
  budget_.take(uid_, message.payload.size());
  held_bytes_ = message.payload.size();
  queue->in_use_++;
  queue_ = std::move(queue);
  message_ = std::move(message);
  state_ = State::kAssigned;
}

bool Channel::offer(const std::shared_ptr<QueueInode>& queue, Message& message) {
  if (is_gone()) return false;
  take_assigned(queue, std::move(message));
  wait_done(0);
  return true;
}

void Channel::mark_delivered() {
  MQUEUEFS_CHECK(state_ == State::kAssigned);
  state_ = State::kDelivered;
  queue_->in_use_--;
}

void Channel::become_idle() {
  waiter_.reset();
  const bool uses_queue = std::exchange(state_, State::kIdle) != State::kDelivered;
  message_ = {};
  staged_bytes_ = 0;
  budget_.give_back(uid_, std::exchange(held_bytes_, 0));
  if (const std::shared_ptr<QueueInode> queue = std::move(queue_)) {
    if (!uses_queue) return;
    queue->in_use_--;
    queue->end_if_unused();
  }
}

}  // namespace mqueuefs::ipc
