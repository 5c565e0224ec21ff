#include "ipc/queue_inode.h"

#include <signal.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/clock.h"
#include "ipc/superblock.h"

namespace mqueuefs::ipc {

namespace {

/// True if `a` is received before `b`. See mq_receive(3).
bool before(const MessageInfo& a, const MessageInfo& b) {
  return a.priority != b.priority ? a.priority > b.priority : a.sequence < b.sequence;
}

}  // namespace

QueueInode::QueueInode(Superblock& superblock, uint64_t inode, std::string name, const QueueAttributes& attributes,
                       const FileAttributes& file, uid_t charged_uid, uint64_t charge_bytes)
    : superblock_(&superblock),
      inode_(inode),
      name_(std::move(name)),
      attributes_(attributes),
      file_(file),
      charged_uid_(charged_uid),
      charge_bytes_(charge_bytes),
      segment_(superblock.environment().mapped_segments) {}

QueueInode::~QueueInode() { MQUEUEFS_CHECK(receivers_.empty() && senders_.empty() && in_use_ == 0); }

// ---- the file ----

void QueueInode::set_attributes(const AttributeChange& change) {
  if (change.mode) file_.mode = *change.mode & 07777;
  if (change.uid) file_.uid = *change.uid;
  if (change.gid) file_.gid = *change.gid;
  if (change.size) file_size_ = *change.size;
  if (change.atime_s) file_.atime_s = *change.atime_s;
  if (change.mtime_s) file_.mtime_s = *change.mtime_s;
  // truncate(2) by itself moves no time (fs/libfs.c:simple_setattr); ftruncate(2) and O_TRUNC ask for the mtime.
  if (change.mode || change.uid || change.gid || change.atime_s || change.mtime_s) stamp(kCtime);
}

Status QueueInode::open_handle() {
  if (ended_) return Error{ESTALE, "the queue was unlinked and closed"};
  open_handles_++;
  return {};
}

void QueueInode::close_handle() {
  MQUEUEFS_CHECK(open_handles_ > 0);
  open_handles_--;
  end_if_unused();
  // An empty queue that nobody has open needs no memory and no descriptor: thousands of them are nothing.
  if (open_handles_ == 0 && in_use_ == 0 && !ended_ && !dead_ && segment_.made() && curmsgs() == 0) segment_.drop();
}

void QueueInode::stamp(unsigned times) {
  if (file_.stamp(times, file_time_now_s()) && superblock_ != nullptr) superblock_->attributes_changed(*this);
}

void QueueInode::unlink() {
  linked_ = false;
  superblock_->unlinked_.insert(this);
  end_if_unused();
}

void QueueInode::end_if_unused() {
  if (!linked_ && open_handles_ == 0 && in_use_ == 0) end();
}

void QueueInode::end() {
  if (ended_) return;
  ended_ = true;
  segment_.drop();
  stranded_.clear();
  registration_.reset();
  if (superblock_ == nullptr) return;
  superblock_->unlinked_.erase(this);
  superblock_->give_charge_back(charged_uid_, charge_bytes_);
}

void QueueInode::superblock_gone() {
  const std::shared_ptr<QueueInode> keep = shared_from_this();  // the waiters' references go below
  linked_ = false;
  for (WaitList* list : {&receivers_, &senders_}) {
    while (!list->empty()) list->begin()->second->end(ENODEV);
  }
  end();
  superblock_ = nullptr;
}

// ---- messages ----

Result<QueueSegment*> QueueInode::segment() {
  if (dead_) return Error{EUCLEAN, "the queue's memory contradicts itself"};
  if (ended_) return Error{ESTALE, "the queue has ended"};
  return segment_.use(attributes_);
}

Error QueueInode::note(Error error) {
  if (error.code == EUCLEAN) dead_ = true;
  return error;
}

uint32_t QueueInode::curmsgs() {
  const auto stranded = static_cast<uint32_t>(stranded_.size());
  if (!segment_.made()) return stranded;
  const auto here = segment();
  return here ? stranded + (*here)->messages() : stranded;
}

uint64_t QueueInode::qsize() {
  uint64_t bytes = 0;
  for (const Message& message : stranded_) bytes += message.payload.size();
  if (!segment_.made()) return bytes;
  const auto here = segment();
  return here ? bytes + (*here)->payload_bytes() : bytes;
}

Status QueueInode::check_send(uint32_t priority, size_t size) {
  if (priority >= kPriorities) return Error{EINVAL, "priority"};
  if (size > attributes_.msgsize) return Error{EMSGSIZE, "msgsize"};
  return {};
}

// The order is ipc/mqueue.c:do_mq_timedsend's: a full queue first (receivers can't wait there), then a waiting
// receiver, then the queue and the notification.
Status QueueInode::deliver(uint32_t priority, std::span<const std::byte> payload, const Sender& sender) {
  const auto here = segment();
  if (!here) return here.error();
  QueueSegment& segment = **here;
  let_stopped_go(receivers_);
  if (!receivers_.empty()) {
    const MessageInfo info{priority, static_cast<uint32_t>(payload.size()), segment.take_sequence()};
    hand_over({info, {payload.begin(), payload.end()}});
  } else {
    if (segment.messages() + stranded_.size() >= attributes_.maxmsg) return Error{EAGAIN, "the queue is full"};
    const bool was_empty = segment.messages() + stranded_.size() == 0;
    const auto sent = segment.try_send(priority, payload);
    if (!sent) return note(sent.error());
    if (was_empty) fire_notification(sender);
    readiness_changed();
  }
  stamp(kAllTimes);
  return {};
}

Status QueueInode::try_send(uint32_t priority, std::span<const std::byte> payload, const Sender& sender) {
  if (const Status checked = check_send(priority, payload.size()); !checked) return checked;
  return deliver(priority, payload, sender);
}

Result<Outcome> QueueInode::send(uint32_t priority, std::span<const std::byte> payload, const Sender& sender,
                                 Channel& channel, const WaitRequest& request) {
  const Status sent = try_send(priority, payload, sender);
  if (sent) return Outcome::kDone;
  if (sent.code() != EAGAIN) return sent.error();
  if (request.deadline_ns && *request.deadline_ns <= realtime_now_ns()) return Error{ETIMEDOUT, "full"};
  const auto size = static_cast<uint32_t>(payload.size());
  if (const Status staged = channel.stage(size, 0, payload); !staged) return staged.error();
  return wait_to_send(priority, sender, channel, request);
}

Result<Outcome> QueueInode::send_staged(uint32_t priority, const Sender& sender, Channel& channel,
                                        const std::optional<WaitRequest>& request) {
  const auto payload = channel.staged();
  if (!payload) return payload.error();
  const Status sent = try_send(priority, *payload, sender);
  if (sent) {
    channel.drop_staged();
    return Outcome::kDone;
  }
  if (sent.code() != EAGAIN || !request) return sent.error();
  if (request->deadline_ns && *request->deadline_ns <= realtime_now_ns()) return Error{ETIMEDOUT, "full"};
  return wait_to_send(priority, sender, channel, *request);
}

Result<Outcome> QueueInode::wait_to_send(uint32_t priority, const Sender& sender, Channel& channel,
                                         const WaitRequest& request) {
  channel.message_.info.priority = priority;
  channel.sender_ = sender;
  senders_.emplace(request.rank, &channel);
  channel.begin_wait(Channel::State::kSendWaiting, shared_from_this(), request);
  return Outcome::kWaiting;
}

// The kernel's waiter leaves the line when it stops, and comes again, at its end, when it goes on (wq_sleep sees the
// signal, and the call is restarted). Here it is noticed when it is about to be served, and told to come again. To ask
// costs about as much as to hand over: who came only just now is taken to be awake.
void QueueInode::let_stopped_go(WaitList& list) {
  constexpr int64_t kWorthAskingNs = 5'000'000;
  if (list.empty() || superblock_ == nullptr) return;
  const int64_t long_ago_ns = monotonic_now_ns() - kWorthAskingNs;
  while (!list.empty()) {
    Channel& first = *list.begin()->second;
    const TaskId task = first.wait_request().task;
    if (task == 0 || first.waiting_since_ns() > long_ago_ns) return;
    if (!superblock_->environment().tasks.is_stopped(task)) return;
    first.end(ERESTART);
  }
}

void QueueInode::hand_over(Message message) {
  Channel& receiver = *receivers_.begin()->second;
  receiver.cancel();
  receiver.take_assigned(shared_from_this(), std::move(message));
  receiver.wait_done(0);
}

Result<MessageInfo> QueueInode::try_receive(uint64_t buffer_size, std::span<std::byte> buffer, Channel* channel) {
  if (buffer_size < attributes_.msgsize) return Error{EMSGSIZE, "the buffer is shorter than msgsize"};
  if (!segment_.made() && stranded_.empty()) return Error{EAGAIN, "the queue is empty"};
  const auto here = segment();
  if (!here) return here.error();
  if (stranded_.empty()) {
    // The common case: from the segment straight into the answer.
    const auto received = (*here)->try_receive(buffer);
    if (received) {
      message_left();
      return *received;
    }
    if (received.code() != EMSGSIZE) return note(received.error());
  }
  const auto next = front();
  if (!next) return note(next.error());
  const bool fits = next->size <= buffer.size();
  if (!fits && channel == nullptr) return Error{EINVAL, "the message needs a channel"};
  if (!fits && channel->state() != Channel::State::kIdle) return Error{EBUSY, "channel in use"};
  auto message = take_front();
  if (!message) return note(message.error());
  const MessageInfo info = message->info;
  if (fits) {
    std::copy(message->payload.begin(), message->payload.end(), buffer.begin());
  } else {
    channel->take_assigned(shared_from_this(), std::move(*message));
  }
  message_left();
  return info;
}

Result<std::optional<MessageInfo>> QueueInode::receive(uint64_t buffer_size, std::span<std::byte> buffer,
                                                       Channel& channel, const WaitRequest& request) {
  const auto received = try_receive(buffer_size, buffer, &channel);
  if (received) return std::optional(*received);
  if (received.code() != EAGAIN) return received.error();
  if (channel.state() != Channel::State::kIdle) return Error{EBUSY, "channel in use"};
  if (request.deadline_ns && *request.deadline_ns <= realtime_now_ns()) return Error{ETIMEDOUT, "empty"};
  receivers_.emplace(request.rank, &channel);
  channel.begin_wait(Channel::State::kReceiveWaiting, shared_from_this(), request);
  return std::optional<MessageInfo>();
}

Result<MessageInfo> QueueInode::front() {
  const auto here = segment();
  if (!here) return here.error();
  auto queued = (*here)->front();
  if (!queued && queued.code() != EAGAIN) return queued.error();
  if (stranded_.empty() || (queued && before(*queued, stranded_.back().info))) return queued;
  return stranded_.back().info;
}

Result<Message> QueueInode::take_front() {
  const auto next = front();
  if (!next) return next.error();
  Message message;
  if (!stranded_.empty() && stranded_.back().info.sequence == next->sequence) {
    message = std::move(stranded_.back());
    stranded_.pop_back();
    return message;
  }
  const auto here = segment();
  if (!here) return here.error();
  message.payload.resize(next->size);
  const auto received = (*here)->try_receive(message.payload);
  if (!received) return received.error();
  message.info = *received;
  return message;
}

// ipc/mqueue.c:do_mq_timedreceive: the times, then pipelined_receive, which wakes pollers only if no sender
// was waiting.
void QueueInode::message_left() {
  restore_stranded();
  stamp(kAllTimes);
  let_stopped_go(senders_);
  if (senders_.empty()) {
    readiness_changed();
  } else {
    admit_one_sender();
  }
}

void QueueInode::admit_one_sender() {
  const auto here = segment();
  if (!here || (*here)->messages() + stranded_.size() >= attributes_.maxmsg) return;
  Channel& sender = *senders_.begin()->second;
  const auto sent = (*here)->try_send(sender.message_.info.priority, sender.message_.payload);
  // A message that can't be stored now never could be: its sender is told, and the queue goes on.
  sender.end(sent ? 0 : note(sent.error()).code);
}

void QueueInode::restore_stranded() {
  while (!stranded_.empty()) {
    const auto here = segment();
    if (!here) return;
    const Message& message = stranded_.back();
    if (!(*here)->put_back(message.info, message.payload)) return;
    stranded_.pop_back();
  }
}

void QueueInode::give_back(Message message) {
  if (ended_ || dead_) return;
  let_stopped_go(receivers_);
  if (!receivers_.empty()) {
    hand_over(std::move(message));
    return;
  }
  const bool was_empty = curmsgs() == 0;
  const auto here = segment();
  if (!here || !(*here)->put_back(message.info, message.payload)) {
    const auto behind = [](const Message& a, const Message& b) { return before(b.info, a.info); };
    stranded_.insert(std::upper_bound(stranded_.begin(), stranded_.end(), message, behind), std::move(message));
  }
  if (was_empty) fire_notification({});
  readiness_changed();
}

Result<MessageInfo> QueueInode::peek(PeekPosition& position, uint32_t offset, std::span<std::byte> buffer) {
  if (!segment_.made() && stranded_.empty()) return Error{EAGAIN, "the queue is empty"};
  restore_stranded();
  const auto here = segment();
  if (!here) return here.error();
  const auto found = (*here)->peek(position, offset, buffer);
  if (!found) return note(found.error());
  return *found;
}

bool QueueInode::readable() { return dead_ || curmsgs() > 0; }
bool QueueInode::writable() { return dead_ || curmsgs() < attributes_.maxmsg; }

void QueueInode::readiness_changed() {
  if (superblock_ != nullptr) superblock_->readiness_changed(*this);
}

void QueueInode::leave_wait_list(Channel& channel) {
  for (WaitList* list : {&receivers_, &senders_}) {
    const auto [first, last] = list->equal_range(channel.wait_request().rank);
    const auto place = std::find_if(first, last, [&](const auto& entry) { return entry.second == &channel; });
    if (place == last) continue;
    list->erase(place);
    return;
  }
  MQUEUEFS_CHECK(!"a waiting channel is in a wait list");
}

// ---- notification ----

Status notification_type_ok(int type, int signo) {
  if (type != SIGEV_SIGNAL && type != SIGEV_NONE && type != SIGEV_THREAD) return Error{EINVAL, "sigev_notify"};
  if (type == SIGEV_SIGNAL && (signo < 0 || signo > 64)) return Error{EINVAL, "sigev_signo"};
  return {};
}

Status QueueInode::register_notification(Registration registration) {
  if (const Status ok = notification_type_ok(registration.type, registration.signo); !ok) return ok;
  if (registration_) return Error{EBUSY, "somebody is registered"};
  registration_ = std::move(registration);
  touch();
  return {};
}

void QueueInode::unregister_notification(pid_t process) {
  if (drop_registration(process)) touch();
}

void QueueInode::process_closed(pid_t process) { drop_registration(process); }

bool QueueInode::drop_registration(pid_t process) {
  if (!registration_ || registration_->process != process) return false;
  const Registration dropped = std::move(*registration_);
  registration_.reset();
  if (dropped.target) dropped.target->removed();
  return true;
}

void QueueInode::fire_notification(const Sender& sender) {
  if (!registration_) return;
  const Registration used = std::move(*registration_);
  registration_.reset();
  if (used.target) used.target->woken(sender);
}

QueueStatus QueueInode::status() {
  QueueStatus status;
  status.qsize = qsize();
  if (registration_) {
    status.registered = true;
    status.notify_type = registration_->type;
    status.notify_signo = registration_->type == SIGEV_SIGNAL ? registration_->signo : 0;
    status.notify_process = registration_->process;
  }
  status.waiting_receivers = static_cast<uint32_t>(receivers_.size());
  status.waiting_senders = static_cast<uint32_t>(senders_.size());
  for (const WaitList* list : {&receivers_, &senders_}) {
    if (!list->empty() && status.first_waiter == 0) status.first_waiter = list->begin()->second->wait_request().process;
  }
  return status;
}

}  // namespace mqueuefs::ipc
