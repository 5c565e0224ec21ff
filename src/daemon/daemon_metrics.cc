// What DaemonHost tells its metrics: the part of it that sums up.

#include <algorithm>

#include "base/clock.h"
#include "daemon/daemon_host.h"

namespace mqueuefs::daemon {
namespace {

void add(QueueMetrics& sum, const QueueMetrics& more) {
  sum.messages += more.messages;
  sum.bytes += more.bytes;
  sum.sent += more.sent;
  sum.received += more.received;
  sum.waiting_senders += more.waiting_senders;
  sum.waiting_receivers += more.waiting_receivers;
}

void add_waits(NamespaceMetrics& sum, const uint64_t (&waits)[kWaitBuckets], double waited_seconds) {
  for (size_t bucket = 0; bucket < kWaitBuckets; ++bucket) sum.waits[bucket] += waits[bucket];
  sum.waited_seconds += waited_seconds;
}

void add(SysvMetrics& sum, const SysvMetrics& more) {
  sum.message_queues += more.message_queues;
  sum.semaphore_arrays += more.semaphore_arrays;
  sum.memory_segments += more.memory_segments;
  sum.messages += more.messages;
  sum.message_bytes += more.message_bytes;
  sum.memory_bytes += more.memory_bytes;
}

SysvMetrics metrics_of(const ipc::sysv::SysvIpc& sysv) {
  const ipc::sysv::Usage messages = sysv.messages().usage();
  return {.message_queues = messages.used_ids,
          .semaphore_arrays = sysv.table(ipc::sysv::Kind::kSemaphores).count(),
          .memory_segments = sysv.table(ipc::sysv::Kind::kMemory).count(),
          .messages = messages.messages,
          .message_bytes = messages.message_bytes,
          .memory_bytes = sysv.memory().size_bytes()};
}

QueueMetrics metrics_of(ipc::QueueInode& queue, const ipc::QueueActivity& activity) {
  const ipc::QueueStatus status = queue.status();
  QueueMetrics of;
  of.name = queue.name();
  of.messages = queue.curmsgs();
  of.bytes = status.qsize;
  of.maxmsg = queue.attributes().maxmsg;
  of.msgsize = queue.attributes().msgsize;
  of.sent = activity.sent;
  of.received = activity.received;
  of.waiting_senders = status.waiting_senders;
  of.waiting_receivers = status.waiting_receivers;
  const int64_t now_ns = realtime_now_ns();
  const auto since = [now_ns](int64_t then_ns) { return then_ns <= 0 || then_ns > now_ns ? 0 : static_cast<double>(now_ns - then_ns) / 1e9; };
  of.oldest_seconds = since(activity.oldest_sent_s * 1'000'000'000);
  if (status.waiting_senders + status.waiting_receivers > 0) {
    for (const ipc::BlockedCall& call : queue.blocked(1)) of.longest_wait_seconds = since(call.since_ns);
  }
  return of;
}

}  // namespace

NamespaceMetrics DaemonHost::metrics_of_namespace(const Namespace& known, size_t& queues_left) {
  NamespaceMetrics of;
  of.id = known.id();
  of.name = known.name;
  of.queues = known.ipc->queue_count();
  of.charged_bytes = known.ipc->charged_bytes();
  of.limits = known.ipc->limits();
  of.sysv = metrics_of(known.ipc->sysv());
  const ipc::Superblock& superblock = *known.ipc->superblock();
  const ipc::QueueActivity& ended = superblock.ended_queues();
  of.rest.sent = ended.sent;
  of.rest.received = ended.received;
  add_waits(of, ended.waits, static_cast<double>(ended.waited_ns) / 1e9);
  for (auto* queue = superblock.next_above(0); queue != nullptr; queue = superblock.next_above(queue->inode())) {
    const ipc::QueueActivity activity = queue->activity();
    const QueueMetrics metrics = metrics_of(*queue, activity);
    add_waits(of, activity.waits, static_cast<double>(activity.waited_ns) / 1e9);
    of.greatest_maxmsg = std::max(of.greatest_maxmsg, metrics.maxmsg);
    of.greatest_msgsize = std::max(of.greatest_msgsize, metrics.msgsize);
    if (queues_left > 0) {
      --queues_left;
      of.shown.push_back(metrics);
    } else {
      add(of.rest, metrics);
    }
  }
  return of;
}

DaemonMetrics DaemonHost::metrics(size_t most_queues) {
  DaemonMetrics all;
  all.namespace_count = namespaces_.all().size();
  all.connections = server_.connection_count();
  all.mapping_processes = mapping_processes_.count();
  all.loop = loop_.times();
  size_t queues_left = most_queues;
  for (const auto& [id, known] : namespaces_.all()) {
    NamespaceMetrics of = metrics_of_namespace(*known, queues_left);
    if (all.namespaces.size() < most_queues) {
      all.namespaces.push_back(std::move(of));
      continue;
    }
    NamespaceMetrics& others = all.other_namespaces;
    others.queues += of.queues;
    others.charged_bytes += of.charged_bytes;
    add_waits(others, of.waits, of.waited_seconds);
    add(others.rest, of.rest);
    add(others.sysv, of.sysv);
  }
  return all;
}

}  // namespace mqueuefs::daemon
