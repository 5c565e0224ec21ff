// What a queue tells those who watch it. Nothing here changes what it does.
#include "ipc/queue_activity.h"

#include <algorithm>
#include <array>

#include "ipc/queue_inode.h"
#include "ipc/superblock.h"

namespace mqueuefs::ipc {
namespace {

// So many priorities are looked at for the oldest message: the list of queues has to be quick for hostile ones, too.
constexpr uint32_t kMostPriorities = 256;

}  // namespace

QueueActivity QueueInode::activity() {
  QueueActivity activity;
  activity.sent = past_.sent;
  std::copy(std::begin(past_.waits), std::end(past_.waits), std::begin(activity.waits));
  activity.waited_ns = past_.waited_ns;
  const uint32_t queued = curmsgs();
  if (segment_.made()) {
    if (const auto queue = segment()) {
      add_counts(*queue, activity);
      Aftermath after;
      activity.oldest_sent_s = queued > 0 ? queue->oldest_sent_s(kMostPriorities, after) : 0;
      settle(*queue, after, {});
    }
  }
  // What went back to its place was not received: the count stands still meanwhile.
  most_received_ = std::max(most_received_, activity.sent - std::min<uint64_t>(activity.sent, queued));
  activity.received = std::min(most_received_, activity.sent);
  return activity;
}

void QueueInode::add_counts(const SharedQueue& queue, QueueActivity& activity) {
  activity.sent += queue.messages_sent();
  const auto times = queue.wait_times();
  for (uint32_t bucket = 0; bucket < kWaitBuckets; ++bucket) activity.waits[bucket] += times.waits[bucket];
  activity.waited_ns += times.total_ns;
}

std::vector<BlockedCall> QueueInode::blocked(size_t most) {
  std::vector<BlockedCall> calls;
  if (!segment_.made()) return calls;
  const auto queue = segment();
  if (!queue) return calls;
  std::array<SharedQueue::WaiterInfo, kWaiters> waiters;
  const uint32_t count = queue->list_waiters(waiters);
  for (const SharedQueue::WaiterInfo& waiter : std::span(waiters).first(count)) {
    BlockedCall call{.receives = waiter.receives, .since_ns = waiter.since_ns};
    if (waiter.incarnation == kOwnIncarnation) {
      call.process = static_cast<pid_t>(waiter.process);
    } else if (const auto mapping = mapping_.find(waiter.incarnation); mapping != mapping_.end()) {
      call.process = mapping->second->process();
    }
    calls.push_back(call);
  }
  const auto longer = [](const BlockedCall& a, const BlockedCall& b) { return a.since_ns < b.since_ns; };
  std::sort(calls.begin(), calls.end(), longer);
  if (calls.size() > most) calls.resize(most);
  return calls;
}

uint32_t QueueInode::held_by() {
  look_at_mapping_processes([](const MappingProcess&) { return true; });
  uint32_t held = 0;
  if (open_handles_ > 0) held |= kHeldByHandle;
  if (is_mapped()) held |= kHeldByMapping;
  if (in_use_ > 0 || !waiting_.empty() || !blocked(1).empty()) held |= kHeldByCall;
  if (registration_) held |= kHeldByRegistration;
  // One who is not visible from here is not known to be gone.
  const bool creator_runs =
      creator_ == 0 || superblock_ == nullptr || superblock_->environment().tasks.ran_at(creator_, created_at_ns_);
  if (creator_runs) held |= kHeldByCreator;
  return held;
}

void QueueInode::set_creator(pid_t process, int64_t boottime_ns) {
  creator_ = process;
  created_at_ns_ = boottime_ns;
}

// ---- tracing ----

void QueueInode::add_tracer(QueueTracer& tracer) {
  tracers_.push_back(&tracer);
  mark_traced();
}

void QueueInode::remove_tracer(QueueTracer& tracer) {
  std::erase(tracers_, &tracer);
  if (tracers_.empty()) mark_traced();
}

// Processes that map the queue look at the mark after each operation.
void QueueInode::mark_traced() {
  if (!segment_.made()) return;
  if (const auto queue = segment()) queue->set_traced(!tracers_.empty());
}

void QueueInode::told_message(const TracedMessage& message) { trace(message); }

void QueueInode::trace(const TracedMessage& message) {
  for (QueueTracer* tracer : tracers_) tracer->traced(message);
}

void QueueInode::trace(TracedOperation operation, TaskId task, uint32_t priority, std::span<const std::byte> payload) {
  if (tracers_.empty()) return;
  trace({operation, false, task, priority, static_cast<uint32_t>(payload.size()), payload});
}

void QueueInode::note_end() {
  if (superblock_ != nullptr && !dead_ && (segment_.made() || past_.sent > 0)) {
    const QueueActivity last = activity();
    QueueActivity& sum = superblock_->ended_queues_;
    sum.sent += last.sent;
    sum.received += last.received;
    for (uint32_t bucket = 0; bucket < kWaitBuckets; ++bucket) sum.waits[bucket] += last.waits[bucket];
    sum.waited_ns += last.waited_ns;
  }
  for (QueueTracer* tracer : std::vector(std::move(tracers_))) tracer->queue_ended();
  tracers_.clear();
}

}  // namespace mqueuefs::ipc
