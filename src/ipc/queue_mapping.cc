// Processes that map a queue: what they did that concerns others than themselves, and what becomes of it when they go.
#include <algorithm>
#include <array>
#include <span>
#include <utility>
#include <vector>

#include "base/check.h"
#include "ipc/queue_inode.h"
#include "ipc/superblock.h"

namespace mqueuefs::ipc {
namespace {

// The member of a mapping process that says no more than that it is there.
constexpr uint32_t kPresence = UINT32_MAX;

uint32_t last_incarnation = 1;  // ours, see QueueInode::kOwnIncarnation. Of the loop's thread

}  // namespace

// After each operation on the segment.
void QueueInode::settle(const SharedQueue& queue, const Aftermath& after, const Sender& sender) {
  if (after.woke_nobody) reap_mapping_processes();
  if (after.tell_owner || after.used_notification) look_for_changes(queue, after.used_notification ? &sender : nullptr);
}

void QueueInode::told(bool used_notification, const Sender& sender) {
  const Pin pin(*this);
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
  const Pin pin(*this);
  const Sender unknown;
  const auto queue = segment();
  if (queue) look_for_changes(*queue, &unknown);
}

// Who has used up the registration may be about to tell us, and then it is known who it was: so not at the first look.
void QueueInode::fire_if_nobody_tells(const SharedQueue& queue) {
  Aftermath after;
  const auto state = queue.look(after);
  const bool unfired = state && registration_ && !state->has(kNotify);
  if (std::exchange(unfired_, unfired) && unfired) fire_notification({});
  settle(queue, after, {});
}

void QueueInode::reap_mapping_processes() {
  if (std::exchange(reaping_, true)) return;
  look_at_mapping_processes([](const MappingProcess&) { return true; });
  reaping_ = false;
}

void QueueInode::catch_up() {
  reap_mapping_processes();
  if (!segment_.made() || ended_) return;
  const Pin pin(*this);
  const auto queue = segment();
  if (!queue) return;
  if (dead_) return queue->wake_served();
  look_for_changes(*queue, nullptr);
  fire_if_nobody_tells(*queue);
  queue->wake_served();
  if (needs_reclaim_) {
    const auto reclaimed = queue->reclaim();
    if (reclaimed || reclaimed.code() != EAGAIN) needs_reclaim_ = false;
  }
  restore_stranded();
  end_if_unused();
}

// A caller who is blocked has the file in the kernel's case, whatever becomes of its descriptor (fs/file.c:fdget).
bool QueueInode::is_waited_for_in_memory() {
  if (!is_mapped() || !segment_.made() || dead_) return false;
  const auto queue = segment();
  if (!queue) return false;
  std::array<SharedQueue::WaiterInfo, kWaiters> waiters;
  const uint32_t count = queue->list_waiters(waiters);
  return std::ranges::any_of(std::span(waiters).first(count), [this](const SharedQueue::WaiterInfo& waiter) {
    return mapping_.contains(waiter.incarnation);
  });
}

Result<QueueInode::Mapping> QueueInode::map_for(std::unique_ptr<MappingProcess> process) {
  const auto queue = segment();
  if (!queue) return queue.error();
  const uint32_t incarnation = ++last_incarnation;
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
  refresh();
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
  if (mapping_.empty()) mapping_has_ended();
}

void QueueInode::could_not_map(uint32_t incarnation, pid_t process) {
  const auto found = mapping_.find(incarnation);
  if (found == mapping_.end() || found->second->process() != process) return;
  refresh();
  bury(incarnation);
  if (mapping_.empty()) mapping_has_ended();
}

void QueueInode::mapping_has_ended() {
  if (superblock_ != nullptr) superblock_->queue_is_mapped(*this, false);
  shed_memory();
}

// A process that maps the queue can write to every slot that there is, and they are many more than were paid for. What
// it has made the segment hold without need does not stay when it has gone.
void QueueInode::shed_memory() {
  constexpr uint64_t kTables = uint64_t{1024} * 1024;  // lists, index, members, waiters
  if (dead_ || ended_ || !waiting_.empty() || memory_bytes() <= charge_bytes_ + kTables) return;
  if (in_use_ == 0 && curmsgs() == 0) return drop_segment();
  const auto queue = segment();
  if (!queue) return;
  Aftermath after;
  std::vector<Message> messages;
  for (auto message = take_front(*queue, after); message; message = take_front(*queue, after)) {
    messages.push_back(std::move(*message));
  }
  const auto state = queue->look(after);
  if (!state) return;
  forget_segment(*queue, state->version());
  past_.sent -= messages.size();  // they are sent once more
  const auto fresh = segment();
  // They were sent already: nobody is told.
  if (fresh) static_cast<void>(fresh->change_flags(0, kNotify | kPoll, after).ok());
  for (Message& message : messages) {
    const bool sent = fresh && fresh->try_send(kOwnSeat, message.info.priority, message.payload, after);
    if (!sent) restore(std::move(message));
  }
  arm_notification();
  if (polled_) poll();
}

void QueueInode::bury(uint32_t incarnation) {
  const Pin pin(*this);
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
  if (const int64_t changed_s = queue->take_change_s(); changed_s != 0) file_.stamp(kAllTimes, changed_s);
}

}  // namespace mqueuefs::ipc
