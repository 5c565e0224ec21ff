#include "ipc/queue_inode.h"

#include <signal.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/clock.h"
#include "ipc/superblock.h"

namespace mqueuefs::ipc {

namespace {

// We are the segment's owner, its first member, and one thread.
constexpr uint32_t kOwnIncarnation = 1;
constexpr uint32_t kOwnThread = 1;
constexpr Seat kOwnSeat{0, 0};
// The member of a mapping process that says no more than that it is there.
constexpr uint32_t kPresence = UINT32_MAX;

uint32_t next_incarnation = kOwnIncarnation + 1;  // of the loop's thread

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
}

void QueueInode::end_if_unused() {
  if (!linked_ && open_handles_ == 0 && in_use_ == 0) end();
}

void QueueInode::end() {
  if (ended_) return;
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
  return *made;
}

// If nobody needs it: the next message makes a new one, in which the numbers of the messages go on.
void QueueInode::drop_segment() {
  if (!segment_.made() || ended_ || dead_ || in_use_ != 0 || is_mapped() || curmsgs() != 0) return;
  Aftermath after;
  const auto queue = segment();
  const auto state = queue ? queue->look(after) : queue.error();
  if (!state || !state->empty()) return;
  last_version_ = state->version;
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
  static_cast<void>(queue->look(after).ok());
  const uint32_t messages = queue->messages();
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
  settle(*queue, after, sender);
  if (!sent) return note(sent.error());
  if (answered) stamp(kAllTimes);
  return answered;
}

Result<bool> QueueInode::receive_if(uint64_t buffer_size, const AnswerReceiver& answer) {
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

Result<MessageInfo> QueueInode::try_receive(uint64_t buffer_size, std::span<std::byte> buffer, Channel* channel) {
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
    const auto received = try_receive(buffer_size, buffer, &channel);
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

// ---- the line of those who wait ----

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

// After each operation on the segment.
void QueueInode::settle(const SharedQueue& queue, const Aftermath& after, const Sender& sender) {
  if (after.tell_owner || after.used_notification) look_for_changes(queue, after.used_notification ? &sender : nullptr);
}

void QueueInode::told(bool used_notification, const Sender& sender) {
  const auto queue = segment_.made() ? segment() : Result<SharedQueue>(Error{ENOENT});
  if (queue) look_for_changes(*queue, used_notification ? &sender : nullptr);
}

// What the segment says has happened. A notification is fired for a known sender; for one that has used it up and then
// died, by catch_up().
void QueueInode::look_for_changes(const SharedQueue& queue, const Sender* sender) {
  Aftermath after;
  const auto state = queue.look(after);
  if (!state) {
    note(state.error());
    end_waits(state.code());
    readiness_changed();
    return;
  }
  if (polled_ && !state->has(kPoll)) {
    polled_ = false;
    readiness_changed();
  }
  if (sender != nullptr && registration_ && !state->has(kNotify)) fire_notification(*sender);
  serve_channels(queue);
}

void QueueInode::look_for_changes_now() {
  if (!is_mapped()) return;
  const Sender unknown;
  const auto queue = segment();
  if (queue) look_for_changes(*queue, &unknown);
}

void QueueInode::catch_up() {
  look_at_mapping_processes([](const MappingProcess&) { return true; });
  if (!segment_.made() || ended_ || dead_) return;
  look_for_changes_now();
  const auto queue = segment();
  if (!queue) return;
  queue->wake_served();
  if (needs_reclaim_) {
    const auto reclaimed = queue->reclaim();
    if (reclaimed || reclaimed.code() != EAGAIN) needs_reclaim_ = false;
  }
  restore_stranded();
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
  const std::shared_ptr<QueueInode> self = shared_from_this();
  in_use_++;
  serve_waiter(queue, channel, self);
  in_use_--;
  end_if_unused();
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
    channel.become_idle();
    if (!channel.offer(self, message)) restore(std::move(message));
    return;
  }
  queue.finish_wait(kOwnSeat, waiter);
  queue.take_granted_place();
  Status sent;
  const bool there = channel.admit();
  if (there) {
    sent = queue.send_granted(kOwnSeat, channel.message_.info.priority, channel.message_.payload, after);
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

// ---- processes that map the queue ----

Result<QueueInode::Mapping> QueueInode::map_for(std::unique_ptr<MappingProcess> process) {
  const auto queue = segment();
  if (!queue) return queue.error();
  const uint32_t incarnation = next_incarnation++;
  if (const auto joined = queue->join(incarnation, kPresence); !joined) return joined.error();
  // From now on the times change without us, and nobody may keep them.
  if (!is_mapped() && superblock_ != nullptr) {
    superblock_->attributes_changed(*this);
    superblock_->queue_is_mapped(*this, true);
  }
  mapping_.emplace(incarnation, std::move(process));
  return Mapping{incarnation, segment_.memory().memfd()};
}

// Those that have left by themselves, and those that are gone, of which only the ones that `suspected` names are asked.
void QueueInode::look_at_mapping_processes(const std::function<bool(const MappingProcess&)>& suspected) {
  if (mapping_.empty() || !segment_.made() || ended_) return;
  const auto queue = segment();
  for (auto next = mapping_.begin(); next != mapping_.end();) {
    const auto [incarnation, process] = std::pair(next->first, next->second.get());
    ++next;
    if (queue && !queue->has_members(incarnation)) {
      mapping_.erase(incarnation);  // it has left by itself
    } else if (suspected(*process) && !process->alive()) {
      bury(incarnation);
    }
  }
  if (mapping_.empty() && superblock_ != nullptr) {
    refresh();
    superblock_->queue_is_mapped(*this, false);
  }
}

void QueueInode::bury(uint32_t incarnation) {
  if (const auto queue = segment()) {
    Aftermath after;
    const Status buried = queue->bury(kOwnSeat, incarnation, after);
    if (!buried) note(buried.error());
    if (buried.code() == EAGAIN) {
      settle(*queue, after, {});
      return;  // again the next time that somebody looks
    }
    const auto reclaimed = queue->reclaim();
    needs_reclaim_ = reclaimed.code() == EAGAIN;
    look_for_changes_now();
    settle(*queue, after, {});
  }
  mapping_.erase(incarnation);
}

void QueueInode::refresh() {
  if (!is_mapped() || !segment_.made()) return;
  const auto queue = segment();
  if (!queue) return;
  const int64_t changed_s = queue->changed_s();
  if (changed_s > refreshed_s_) {
    file_.stamp(kAllTimes, changed_s);
    refreshed_s_ = changed_s;
  }
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
  look_for_changes_now();
  if (!registration_ || registration_->process != process) return false;
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
