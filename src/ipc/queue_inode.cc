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
      segment_(superblock.environment().mapped_segments),
      created_s_(file.ctime_s) {}

QueueInode::~QueueInode() { MQUEUEFS_CHECK(waiting_.empty() && in_use_ == 0); }

// ---- the file ----

void QueueInode::set_attributes(const AttributeChange& change) {
  refresh();
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
  descriptor_closes_++;
  end_if_unused();
  look_at_mapping_processes([](const MappingProcess&) { return false; });
  // An empty queue that nobody has open needs no memory and no descriptor: thousands of them are nothing.
  if (open_handles_ == 0) drop_segment();
}

void QueueInode::stamp(unsigned times) {
  refresh();
  if (file_.stamp(times, file_time_now_s()) && superblock_ != nullptr) superblock_->attributes_changed(*this);
}

void QueueInode::unlink() {
  linked_ = false;
  superblock_->unlinked_.insert(this);
  end_if_unused();
}

void QueueInode::relink() {
  linked_ = true;
  superblock_->unlinked_.erase(this);
  kept_.reset();
}

void QueueInode::end_if_unused() {
  if (linked_ || open_handles_ != 0 || in_use_ != 0 || ended_) return;
  if (is_waited_for_in_memory()) {
    kept_ = shared_from_this();  // until the next look (catch_up)
  } else {
    end();
  }
}

void QueueInode::end() {
  if (ended_) return;
  const std::shared_ptr<QueueInode> kept = std::move(kept_);
  note_end();
  ended_ = true;
  if (is_mapped() && superblock_ != nullptr) superblock_->queue_is_mapped(*this, false);
  mapping_.clear();
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
  end_waits(ENODEV);
  end();
  superblock_ = nullptr;
}

// ---- messages ----

Result<SharedQueue> QueueInode::segment() {
  if (dead_) return Error{EUCLEAN, "the queue's memory contradicts itself"};
  if (ended_) return Error{ESTALE, "the queue has ended"};
  if (segment_.made()) return segment_.use(attributes_, 0);
  auto made = segment_.use(attributes_, last_version_);
  if (!made) return made.error();
  made_at_ns_ = monotonic_now_ns();
  // The first member is us.
  Aftermath after;
  const auto joined = made->join(kOwnIncarnation, kOwnThread);
  MQUEUEFS_CHECK(joined && *joined == kOwnSeat.member);
  const uint32_t flags = (registration_ ? uint32_t{kNotify} : 0) | (polled_ ? uint32_t{kPoll} : 0);
  if (const Status set = made->change_flags(flags, 0, after); !set) return note(set.error());
  if (!tracers_.empty()) made->set_traced(true);
  return *made;
}

// If nobody needs it: the next message makes a new one, in which the numbers of the messages go on.
void QueueInode::drop_segment() {
  if (!segment_.made() || ended_ || dead_ || in_use_ != 0 || is_mapped() || curmsgs() != 0) return;
  Aftermath after;
  const auto queue = segment();
  const auto state = queue ? queue->look(after) : queue.error();
  if (!state || !state->empty()) return;
  forget_segment(*queue, state->version());
}

// Its counts go on in the next one.
void QueueInode::forget_segment(const SharedQueue& queue, uint64_t version) {
  add_counts(queue, past_);
  last_version_ = version;
  segment_.drop();
}

Error QueueInode::note(Error error) {
  if (error.code == EUCLEAN) dead_ = true;
  return error;
}

uint32_t QueueInode::curmsgs() {
  const auto stranded = static_cast<uint32_t>(stranded_.size());
  if (!segment_.made()) return stranded;
  const auto queue = segment();
  if (!queue) return stranded;
  // A place that was freed for a waiting sender is never seen as free.
  Aftermath after;
  const auto state = queue->look(after);
  const uint32_t messages = state ? queue->messages(*state) : 0;
  settle(*queue, after, {});
  return stranded + messages;
}

uint64_t QueueInode::qsize() {
  uint64_t bytes = 0;
  for (const Message& message : stranded_) bytes += message.payload.size();
  if (!segment_.made()) return bytes;
  const auto queue = segment();
  return queue ? bytes + queue->payload_bytes() : bytes;
}

Status QueueInode::check_send(uint32_t priority, size_t size) {
  if (priority >= kPriorities) return Error{EINVAL, "priority"};
  if (size > attributes_.msgsize) return Error{EMSGSIZE, "msgsize"};
  return {};
}

// The order is ipc/mqueue.c:do_mq_timedsend's: a full queue first (receivers can't wait there), then a waiting
// receiver, then the queue and the notification.
Status QueueInode::deliver(uint32_t priority, std::span<const std::byte> payload, const Sender& sender) {
  const auto queue = segment();
  if (!queue) return queue.error();
  let_stopped_go(Line::kReceivers);
  Aftermath after;
  const Status sent = queue->try_send(kOwnSeat, priority, payload, after);
  if (sent) trace(TracedOperation::kSent, sender.task, priority, payload);
  settle(*queue, after, sender);
  if (!sent) return note(sent.error());
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
  for (;;) {
    channel.message_.info.priority = priority;
    channel.sender_ = sender;
    channel.begin_wait(Channel::State::kSendWaiting, shared_from_this(), request);
    const Status standing = stand_in_line(channel, Line::kSenders);
    if (standing) return Outcome::kWaiting;
    // A process that maps the queue made room just now.
    Message message = std::move(channel.message_);
    channel.become_idle();
    if (standing.code() != EAGAIN) return standing.error();
    const Status sent = deliver(priority, message.payload, sender);
    if (sent) return Outcome::kDone;
    if (sent.code() != EAGAIN) return sent.error();
    const auto size = static_cast<uint32_t>(message.payload.size());
    if (const Status staged = channel.stage(size, 0, message.payload); !staged) return staged.error();
  }
}

// ---- in two phases ----

Result<bool> QueueInode::send_if(uint32_t priority, std::span<const std::byte> payload, const Sender& sender,
                                 const AnswerSender& answer) {
  if (const Status checked = check_send(priority, payload.size()); !checked) return checked.error();
  const auto queue = segment();
  if (!queue) return queue.error();
  let_stopped_go(Line::kReceivers);
  Aftermath after;
  const Status reserved = queue->reserve_place(after);
  settle(*queue, after, sender);
  if (!reserved) return note(reserved.error());
  after = {};
  const bool answered = answer();
  const Status sent = answered ? queue->send_reserved(kOwnSeat, priority, payload, after) : queue->drop_reserved(after);
  if (answered && sent) trace(TracedOperation::kSent, sender.task, priority, payload);
  settle(*queue, after, sender);
  if (!sent) return note(sent.error());
  if (answered) stamp(kAllTimes);
  return answered;
}

Result<bool> QueueInode::receive_if(uint64_t buffer_size, const AnswerReceiver& answer, TaskId receiver) {
  if (buffer_size < attributes_.msgsize) return Error{EMSGSIZE, "the buffer is shorter than msgsize"};
  if (!segment_.made()) return Error{EAGAIN, "the queue is empty"};
  const auto queue = segment();
  if (!queue) return queue.error();
  let_stopped_go(Line::kSenders);
  Aftermath after;
  auto message = take_front(*queue, after);
  if (message && !answer(message->info, message->payload)) {
    restore(std::move(*message));
    settle(*queue, after, {});
    return false;
  }
  if (message) trace(TracedOperation::kReceived, receiver, message->info.priority, message->payload);
  settle(*queue, after, {});
  if (!message) return note(message.error());
  restore_stranded();
  stamp(kAllTimes);
  return true;
}

Status QueueInode::wait_to_send_if(uint32_t priority, std::span<const std::byte> payload, const Sender& sender,
                                   Channel& channel, const WaitRequest& request) {
  if (request.deadline_ns && *request.deadline_ns <= realtime_now_ns()) return Error{ETIMEDOUT, "full"};
  const auto size = static_cast<uint32_t>(payload.size());
  if (const Status staged = channel.stage(size, 0, payload); !staged) return staged;
  channel.message_.info.priority = priority;
  channel.sender_ = sender;
  channel.begin_wait(Channel::State::kSendWaiting, shared_from_this(), request);
  const Status standing = stand_in_line(channel, Line::kSenders);
  if (!standing) channel.become_idle();
  return standing;
}

Status QueueInode::wait_to_receive_if(Channel& channel, const WaitRequest& request) {
  if (request.deadline_ns && *request.deadline_ns <= realtime_now_ns()) return Error{ETIMEDOUT, "empty"};
  if (channel.state() != Channel::State::kIdle) return Error{EBUSY, "channel in use"};
  channel.begin_wait(Channel::State::kReceiveWaiting, shared_from_this(), request);
  const Status standing = stand_in_line(channel, Line::kReceivers);
  if (!standing) channel.become_idle();
  return standing;
}

// ---- receiving ----

Result<MessageInfo> QueueInode::try_receive(uint64_t buffer_size, std::span<std::byte> buffer, Channel* channel,
                                            TaskId receiver) {
  if (buffer_size < attributes_.msgsize) return Error{EMSGSIZE, "the buffer is shorter than msgsize"};
  if (!segment_.made() && stranded_.empty()) return Error{EAGAIN, "the queue is empty"};
  const auto queue = segment();
  if (!queue) return queue.error();
  if (!stranded_.empty()) restore_stranded();
  let_stopped_go(Line::kSenders);
  Aftermath after;
  // Almost always: from the segment straight into the answer.
  auto direct = queue->try_receive(kOwnSeat, buffer, after);
  const auto received =
      direct.code() == EMSGSIZE ? receive_longer(*queue, buffer, channel, after) : Result<MessageInfo>(std::move(direct));
  if (received && !tracers_.empty()) {
    const Message* const assigned = received->size > buffer.size() ? channel->assigned_or_null() : nullptr;
    const std::span<const std::byte> payload = assigned != nullptr ? std::span(assigned->payload)
                                                                   : std::span<const std::byte>(buffer);
    trace(TracedOperation::kReceived, receiver, received->priority,
          payload.first(std::min<size_t>(payload.size(), received->size)));
  }
  settle(*queue, after, {});
  if (!received) return note(received.error());
  restore_stranded();
  stamp(kAllTimes);
  trim_if_due();
  return *received;
}

Result<std::optional<MessageInfo>> QueueInode::receive(uint64_t buffer_size, std::span<std::byte> buffer,
                                                       Channel& channel, const WaitRequest& request) {
  for (;;) {
    const auto received = try_receive(buffer_size, buffer, &channel, request.task);
    if (received) return std::optional(*received);
    if (received.code() != EAGAIN) return received.error();
    const Status waiting = wait_to_receive_if(channel, request);
    if (waiting) return std::optional<MessageInfo>();
    if (waiting.code() != EAGAIN) return waiting.error();
  }
}

// The next message is longer than `buffer`.
Result<MessageInfo> QueueInode::receive_longer(const SharedQueue& queue, std::span<std::byte> buffer, Channel* channel,
                                               Aftermath& after) {
  if (channel == nullptr) return Error{EINVAL, "the message needs a channel"};
  if (channel->state() != Channel::State::kIdle) return Error{EBUSY, "channel in use"};
  auto message = take_front(queue, after);
  if (!message) return message.error();
  const MessageInfo info = message->info;
  if (info.size <= buffer.size()) {
    // Another one by now: somebody took the longer one.
    std::copy(message->payload.begin(), message->payload.end(), buffer.begin());
  } else {
    channel->take_assigned(shared_from_this(), std::move(*message));
  }
  return info;
}

// The next message, whole; EAGAIN: none.
Result<Message> QueueInode::take_front(const SharedQueue& queue, Aftermath& after) {
  for (;;) {
    const auto next = queue.front(after);
    if (!next) return next.error();
    Message message;
    message.payload.resize(next->size);
    const auto received = queue.try_receive(kOwnSeat, message.payload, after);
    if (received.code() == EMSGSIZE) continue;  // another one by now
    if (!received) return received.error();
    message.payload.resize(received->size);
    message.info = *received;
    return message;
  }
}

void QueueInode::restore_stranded() {
  while (!stranded_.empty()) {
    const auto queue = segment();
    if (!queue) return;
    Aftermath after;
    const Message& message = stranded_.back();
    const Status restored = queue->give_back(kOwnSeat, message.info, message.payload, after);
    if (restored) stranded_.pop_back();
    settle(*queue, after, {});
    if (!restored) return;
  }
}

void QueueInode::restore(Message message) {
  const auto behind = [](const Message& a, const Message& b) { return before(b.info, a.info); };
  stranded_.insert(std::upper_bound(stranded_.begin(), stranded_.end(), message, behind), std::move(message));
  restore_stranded();
}

void QueueInode::give_back(Message message) {
  if (ended_ || dead_) return;
  trace(TracedOperation::kGivenBack, 0, message.info.priority, message.payload);
  restore(std::move(message));
}

Result<MessageInfo> QueueInode::peek(PeekPosition& position, uint32_t offset, std::span<std::byte> buffer) {
  if (!segment_.made() && stranded_.empty()) return Error{EAGAIN, "the queue is empty"};
  restore_stranded();
  const auto queue = segment();
  if (!queue) return queue.error();
  Aftermath after;
  const auto found = queue->peek(position, offset, buffer, after);
  settle(*queue, after, {});
  if (!found) return note(found.error());
  return *found;
}

// A segment that is empty and has become large is exchanged for a new one; once a second at most, since each page that
// comes back costs some microseconds.
void QueueInode::trim_if_due() {
  constexpr uint64_t kLargeBytes = uint64_t{256} * 1024;
  constexpr int64_t kIntervalNs = 1'000'000'000;
  if (is_mapped() || in_use_ != 0 || curmsgs() != 0 || monotonic_now_ns() - made_at_ns_ < kIntervalNs) return;
  made_at_ns_ = monotonic_now_ns();
  if (segment_.memory().memory_bytes() > kLargeBytes) drop_segment();
}

bool QueueInode::readable() { return dead_ || curmsgs() > 0; }
bool QueueInode::writable() { return dead_ || curmsgs() < attributes_.maxmsg; }

void QueueInode::poll() {
  polled_ = true;
  if (!segment_.made()) return;
  const auto queue = segment();
  if (!queue) return;
  Aftermath after;
  if (const Status set = queue->change_flags(kPoll, 0, after); !set) note(set.error());
  settle(*queue, after, {});
}

void QueueInode::readiness_changed() {
  if (superblock_ != nullptr) superblock_->readiness_changed(*this);
}

// ---- notification ----

Status notification_type_ok(int type, int signo) {
  if (type != SIGEV_SIGNAL && type != SIGEV_NONE && type != SIGEV_THREAD) return Error{EINVAL, "sigev_notify"};
  if (type == SIGEV_SIGNAL && (signo < 0 || signo > 64)) return Error{EINVAL, "sigev_signo"};
  return {};
}

Status QueueInode::register_notification(Registration registration) {
  if (const Status ok = notification_type_ok(registration.type, registration.signo); !ok) return ok;
  look_for_changes_now();
  if (registration_) return Error{EBUSY, "somebody is registered"};
  registration_ = std::move(registration);
  arm_notification();
  touch();
  return {};
}

void QueueInode::unregister_notification(pid_t process) {
  if (drop_registration(process)) touch();
}

void QueueInode::process_closed(pid_t process) {
  drop_registration(process);
  look_at_mapping_processes([process](const MappingProcess& mapping) { return mapping.process() == process; });
}

bool QueueInode::drop_registration(pid_t process) {
  if (!registration_ || registration_->process != process) return false;
  look_for_changes_now();
  if (!registration_) return false;  // used up just before
  const Registration dropped = std::move(*registration_);
  registration_.reset();
  arm_notification();
  if (dropped.target) dropped.target->removed();
  return true;
}

// Whether the next message in the empty queue is to use up a registration is written in the segment.
void QueueInode::arm_notification() {
  if (!segment_.made()) return;
  const auto queue = segment();
  if (!queue) return;
  Aftermath after;
  const Status set = registration_ ? queue->change_flags(kNotify, 0, after) : queue->change_flags(0, kNotify, after);
  if (!set) note(set.error());
  settle(*queue, after, {});
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
  if (segment_.made()) {
    if (const auto queue = segment()) {
      const auto view = queue->waiters();
      status.waiting_receivers = view.receivers;
      status.waiting_senders = view.senders;
      status.first_waiter = static_cast<pid_t>(view.first_process);
    }
  }
  return status;
}

}  // namespace mqueuefs::ipc
