// What the daemon tells about namespaces, limits and queues: the part of DaemonHost that only looks.

#include <algorithm>
#include <cstring>

#include "daemon/daemon_host.h"

namespace mqueuefs::daemon {
namespace {

template <size_t N>
void copy_text(char (&array)[N], std::string_view text) {
  const size_t length = std::min(text.size(), N - 1);
  memcpy(array, text.data(), length);
  array[length] = '\0';
}

}  // namespace

std::vector<control::NamespaceEntry> DaemonHost::list_namespaces(const control::Caller& caller,
                                                                 uint64_t after, size_t most) {
  if (after == 0) kernel_namespaces_.look_at_all();
  const bool all = authority_.is_administrator(caller);
  const auto own = own_namespace(caller);
  std::vector<control::NamespaceEntry> entries;
  for (auto place = namespaces_.all().upper_bound(after); place != namespaces_.all().end(); ++place) {
    const Namespace& known = *place->second;
    if (!all && (known.name.empty() || known.ipc->owner_uid() != caller.uid) && !(own && *own == &known))
      continue;
    if (entries.size() == most) break;
    control::NamespaceEntry entry{};
    entry.id = known.id();
    copy_text(entry.name, known.name);
    entry.owner_uid = known.ipc->owner_uid();
    entry.queues = static_cast<uint32_t>(known.ipc->queue_count());
    entry.charged_bytes = known.ipc->charged_bytes();
    entry.requests = mounts_.requests(known.id());
    entry.superblocks = static_cast<uint32_t>(mounts_.count(known.id()));
    entry.bindings = static_cast<uint32_t>(known.bindings.size());
    const ipc::Superblock& superblock = *known.ipc->superblock();
    for (auto* queue = superblock.next_below(UINT64_MAX); queue != nullptr;
         queue = superblock.next_below(queue->inode())) {
      entry.messages += queue->curmsgs();
    }
    size_t shown = 0;
    for (const uint64_t key : known.bindings) {
      if (shown == std::size(entry.kernel_inodes)) break;
      if (const KernelNamespace* bound = kernel_namespaces_.find(key))
        entry.kernel_inodes[shown++] = bound->inode();
    }
    entries.push_back(entry);
  }
  return entries;
}

control::LimitsReply DaemonHost::limits_of(const control::Caller& caller, const Namespace& target) const {
  const ipc::Limits& limits = target.ipc->limits();
  const ipc::sysv::SysvIpc& sysv = target.ipc->sysv();
  const auto& messages = sysv.table(ipc::sysv::Kind::kMessages);
  const auto& semaphores = sysv.table(ipc::sysv::Kind::kSemaphores);
  const auto& memory = sysv.table(ipc::sysv::Kind::kMemory);
  return {.queues_max = limits.queues_max,
          .msg_max = limits.msg_max,
          .msg_default = limits.msg_default,
          .msgsize_max = limits.msgsize_max,
          .msgsize_default = limits.msgsize_default,
          .queues = target.ipc->queue_count(),
          .charged_bytes = target.ipc->charged_bytes(caller.uid),
          .msgmni = limits.msgmni,
          .msgmax = limits.msgmax,
          .msgmnb = limits.msgmnb,
          .semmsl = limits.semmsl,
          .semmns = limits.semmns,
          .semopm = limits.semopm,
          .semmni = limits.semmni,
          .shmmni = limits.shmmni,
          .shmmax = limits.shmmax,
          .shmall = limits.shmall,
          .msg_next_id = messages.next_id(),
          .sem_next_id = semaphores.next_id(),
          .shm_next_id = memory.next_id(),
          .objects = {messages.count(), semaphores.count(), memory.count()}};
}

Result<control::LimitsReply> DaemonHost::limits(const control::Caller& caller, std::string_view name) {
  const auto found = target(caller, name, Access::kUse);
  if (!found) return found.error();
  return limits_of(caller, **found);
}

Status DaemonHost::check_ceiling(const control::Caller& caller, std::string_view key, uint64_t value) const {
  const bool may = authority_.is_administrator(caller) || !limit_ceilings_.is_exceeded(key, value);
  return may ? Status() : Error{ERANGE, "the daemon's ceiling"};
}

Result<control::LimitsReply> DaemonHost::set_limit(const control::Caller& caller, std::string_view name,
                                                   std::string_view key, uint64_t value) {
  // {msg,sem,shm}_next_id are where the limits are (proc(5)), but who restores may set them.
  for (const auto& [next_id, kind] : {std::pair("msg_next_id", ipc::sysv::Kind::kMessages),
                                      std::pair("sem_next_id", ipc::sysv::Kind::kSemaphores),
                                      std::pair("shm_next_id", ipc::sysv::Kind::kMemory)}) {
    if (key != next_id) continue;
    const auto restored = target(caller, name, Access::kRestore);
    if (!restored) return restored.error();
    if (value > INT32_MAX) return Error{EINVAL, next_id};
    const Status set = (*restored)->ipc->sysv().table(kind).set_next_id(static_cast<int>(value));
    if (!set) return set.error();
    return limits_of(caller, **restored);
  }
  const auto found = target(caller, name, Access::kConfigure);
  if (!found) return found.error();
  if (const Status allowed = check_ceiling(caller, key, value); !allowed) return allowed.error();
  if (const Status set = (*found)->ipc->limits().set(key, value); !set) return set.error();
  return limits_of(caller, **found);
}

void DaemonHost::describe_activity(ipc::QueueInode& queue, const control::Caller& caller,
                                   control::QueueEntry& entry) {
  const ipc::QueueActivity activity = queue.activity();
  entry.sent = activity.sent;
  entry.received = activity.received;
  entry.oldest_s = activity.oldest_sent_s;
  size_t listed = 0;
  for (const ipc::BlockedCall& call : queue.blocked(std::size(entry.blocked))) {
    entry.blocked[listed++] = {tasks_.pid_seen_by(call.process, caller.thread), call.receives ? 1U : 0U, call.since_ns};
  }
}

control::QueueEntry DaemonHost::describe(ipc::QueueInode& queue, const control::Caller& caller, uint32_t parts) {
  const ipc::QueueStatus status = queue.status();
  queue.refresh();
  const ipc::FileAttributes& file = queue.file();
  control::QueueEntry entry{};
  copy_text(entry.name, queue.name());
  entry.inode = queue.inode();
  entry.mode = file.mode;
  entry.uid = file.uid;
  entry.gid = file.gid;
  entry.maxmsg = queue.attributes().maxmsg;
  entry.msgsize = queue.attributes().msgsize;
  entry.messages = queue.curmsgs();
  entry.bytes = status.qsize;
  entry.atime_s = file.atime_s;
  entry.mtime_s = file.mtime_s;
  entry.ctime_s = file.ctime_s;
  entry.open_handles = queue.open_handles();
  entry.waiting_senders = status.waiting_senders;
  entry.waiting_receivers = status.waiting_receivers;
  entry.first_waiter_pid = tasks_.pid_seen_by(status.first_waiter, caller.thread);
  entry.notify_type = status.registered ? status.notify_type : -1;
  entry.notify_signo = status.notify_signo;
  entry.notify_pid = tasks_.pid_seen_by(status.notify_process, caller.thread);
  entry.dead = queue.dead() ? 1 : 0;
  entry.created_s = queue.created_s();
  entry.creator_pid = tasks_.pid_seen_by(queue.creator(), caller.thread);
  if ((parts & control::kQueueActivity) != 0) describe_activity(queue, caller, entry);
  if ((parts & control::kQueueHolders) != 0) entry.held_by = queue.held_by();
  return entry;
}

Result<std::vector<control::QueueEntry>> DaemonHost::list_queues(const control::Caller& caller,
                                                                 std::string_view name, uint64_t below,
                                                                 std::string_view only, uint32_t parts,
                                                                 size_t most) {
  const auto found = target(caller, name, Access::kUse);
  if (!found) return found.error();
  const ipc::Superblock& superblock = *(*found)->ipc->superblock();
  std::vector<control::QueueEntry> entries;
  if (!only.empty()) {
    const auto queue = superblock.find(only);
    if (!queue) return queue.error();
    entries.push_back(describe(**queue, caller, parts));
    return entries;
  }
  auto* queue = superblock.next_below(below == 0 ? UINT64_MAX : below);
  for (; queue != nullptr && entries.size() < most; queue = superblock.next_below(queue->inode())) {
    entries.push_back(describe(*queue, caller, parts));
  }
  return entries;
}

}  // namespace mqueuefs::daemon
