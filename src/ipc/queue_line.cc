// The line of those who wait for a queue, as far as they wait through the daemon: each channel is a waiter of the segment.
#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/clock.h"
#include "ipc/queue_inode.h"
#include "ipc/superblock.h"

namespace mqueuefs::ipc {

Channel* QueueInode::first_of(Line line) const {
  const auto state = line == Line::kReceivers ? Channel::State::kReceiveWaiting : Channel::State::kSendWaiting;
  Channel* first = nullptr;
  for (Channel* channel : waiting_) {
    if (channel->state() != state) continue;
    if (first == nullptr || channel->wait_request().rank < first->wait_request().rank) first = channel;
  }
  return first;
}

// EAGAIN: what it would wait for is there.
Status QueueInode::stand_in_line(Channel& channel, Line line) {
  const auto queue = segment();
  if (!queue) return queue.error();
  Aftermath after;
  const auto rank = static_cast<uint32_t>(channel.wait_request().rank);
  const auto process = static_cast<uint32_t>(channel.wait_request().process);
  const auto waiter = line == Line::kReceivers
                          ? queue->wait_to_receive(kOwnSeat, rank, kReceives | kThroughOwner, process, after)
                          : queue->wait_for_place(kOwnSeat, rank, process, after);
  if (waiter) {
    channel.waiter_ = *waiter;
    waiting_.push_back(&channel);
  } else if (waiter.code() == EBUSY) {
    // So many wait that the segment has no place for one more: this one gets the first that is free (serve_channels).
    waiting_.push_back(&channel);
  }
  settle(*queue, after, {});
  if (!waiter && waiter.code() != EBUSY) return note(waiter.error());
  return {};
}

// True: it has left. False: it was served, and knows.
bool QueueInode::leave_line(Channel& channel) {
  const Pin pin(*this);
  const auto place = std::find(waiting_.begin(), waiting_.end(), &channel);
  MQUEUEFS_CHECK(place != waiting_.end());
  const auto queue = segment();
  if (queue && channel.waiter_) {
    Aftermath after;
    const auto ended = queue->cancel_wait(*channel.waiter_, after);
    if (ended && *ended == Wait::kServed) {
      serve(*queue, channel);
      settle(*queue, after, {});
      return false;
    }
    queue->finish_wait(kOwnSeat, *channel.waiter_);
    waiting_.erase(place);
    settle(*queue, after, {});
    return true;
  }
  waiting_.erase(place);
  return true;
}

// The kernel's waiter leaves the line when it stops, and comes again, at its end, when it goes on (wq_sleep sees the
// signal, and the call is restarted). Here it is noticed when it is about to be served, and told to come again. To ask
// costs about as much as to hand over: who came only just now is taken to be awake.
void QueueInode::let_stopped_go(Line line) {
  constexpr int64_t kWorthAskingNs = 5'000'000;
  if (waiting_.empty() || superblock_ == nullptr) return;
  const int64_t long_ago_ns = monotonic_now_ns() - kWorthAskingNs;
  while (Channel* const first = first_of(line)) {
    if (first->is_gone()) {
      first->end(ESRCH);
      continue;
    }
    const TaskId task = first->wait_request().task;
    if (task == 0 || first->waiting_since_ns() > long_ago_ns) return;
    if (!superblock_->environment().tasks.is_stopped(task)) return;
    first->end(ERESTART);
  }
}

void QueueInode::serve_channels(const SharedQueue& queue) {
  // What is called may serve, cancel or add others: so the list is looked at anew after each.
  for (bool served = true; served;) {
    served = false;
    for (Channel* channel : waiting_) {
      if (!channel->waiter_) continue;
      const Wait state = queue.wait_state(*channel->waiter_);
      if (state == Wait::kGoesOn) continue;
      if (state == Wait::kServed) {
        serve(queue, *channel);
      } else {
        channel->end(EUCLEAN);  // only who writes nonsense into the segment cancels our waits
      }
      served = true;
      break;
    }
  }
  for (Channel* channel : waiting_) {
    if (channel->waiter_) continue;
    const Line line = channel->state() == Channel::State::kReceiveWaiting ? Line::kReceivers : Line::kSenders;
    waiting_.erase(std::find(waiting_.begin(), waiting_.end(), channel));
    const Status standing = stand_in_line(*channel, line);
    if (standing) return;  // the others when the next one leaves
    waiting_.push_back(channel);
    channel->end(standing.code() == EAGAIN ? ERESTART : standing.code());
    return;
  }
}

// The waiter of `channel` has been served: a message was handed to it, or a place is kept for its message.
void QueueInode::serve(const SharedQueue& queue, Channel& channel) {
  // What ends the wait must not end the queue as long as we are here.
  const Pin pin(*this);
  serve_waiter(queue, channel, shared_from_this());
}

void QueueInode::serve_waiter(const SharedQueue& queue, Channel& channel, const std::shared_ptr<QueueInode>& self) {
  const uint32_t waiter = *std::exchange(channel.waiter_, std::nullopt);
  waiting_.erase(std::find(waiting_.begin(), waiting_.end(), &channel));
  Aftermath after;
  if (channel.state() == Channel::State::kReceiveWaiting) {
    Message message;
    auto handed = queue.handed_over(waiter);
    if (handed) {
      message.payload.resize(handed->size);
      handed = queue.finish_receive(kOwnSeat, waiter, message.payload);
    }
    if (!handed) {
      channel.become_idle();
      channel.wait_done(note(handed.error()).code);
      return;
    }
    message.payload.resize(handed->size);
    message.info = *handed;
    const TaskId task = channel.wait_request().task != 0 ? channel.wait_request().task : channel.wait_request().process;
    channel.become_idle();
    trace(TracedOperation::kReceived, task, message.info.priority, message.payload);
    if (!channel.offer(self, message)) {
      trace(TracedOperation::kGivenBack, task, message.info.priority, message.payload);
      restore(std::move(message));
    }
    return;
  }
  queue.finish_wait(kOwnSeat, waiter);
  queue.take_granted_place();
  Status sent;
  const bool there = channel.admit();
  if (there) {
    const auto& [info, payload] = channel.message_;
    sent = queue.send_granted(kOwnSeat, info.priority, payload, after);
    if (sent) trace(TracedOperation::kSent, channel.sender_.task, info.priority, payload);
  } else {
    sent = queue.drop_reserved(after);
  }
  channel.become_idle();
  if (there) channel.wait_done(sent ? 0 : note(sent.error()).code);
  settle(queue, after, {});
}

void QueueInode::end_waits(int code) {
  while (!waiting_.empty()) waiting_.back()->end(code);
}

}  // namespace mqueuefs::ipc
