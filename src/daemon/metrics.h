// What the daemon tells a monitoring system, as text: the Prometheus exposition format, version 0.0.4. Pure.
//
// The number of series is bounded, whatever users make: so many queues, the oldest ones, have series of their own; all
// others of a namespace, and those that were removed, are summed in series without the label `queue`. So many namespaces
// have series; the others are summed in series without the label `namespace`.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "ipc/limits.h"
#include "segment/format.h"

namespace mqueuefs::daemon {

struct QueueMetrics {
  std::string name;
  uint64_t messages = 0;
  uint64_t bytes = 0;
  uint64_t maxmsg = 0;
  uint64_t msgsize = 0;
  uint64_t sent = 0;
  uint64_t received = 0;
  uint64_t waiting_senders = 0;
  uint64_t waiting_receivers = 0;
  double oldest_seconds = 0;
  double longest_wait_seconds = 0;
};

/// Of the System V objects of a namespace.
struct SysvMetrics {
  uint64_t message_queues = 0;
  uint64_t semaphore_arrays = 0;
  uint64_t memory_segments = 0;  ///< removed ones that are attached included
  uint64_t messages = 0;
  uint64_t message_bytes = 0;
  uint64_t memory_bytes = 0;  ///< whole pages
};

struct NamespaceMetrics {
  uint64_t id = 0;
  std::string name;
  uint64_t queues = 0;
  uint64_t charged_bytes = 0;
  ipc::Limits limits;
  uint64_t waits[kWaitBuckets] = {};  ///< see Header::waits
  double waited_seconds = 0;
  std::vector<QueueMetrics> shown;  ///< with series of their own
  QueueMetrics rest;                ///< the sum of the others, and of those that are gone
  uint64_t greatest_maxmsg = 0;
  uint64_t greatest_msgsize = 0;
  SysvMetrics sysv;
};

/// How long the loop's rounds took, without its sleep: up to 10 us, 100 us, ... 1 s, and longer.
inline constexpr size_t kRoundBuckets = 7;
struct LoopTimes {
  uint64_t rounds[kRoundBuckets] = {};
  uint64_t busy_ns = 0;

  void add(int64_t round_ns);
};

struct DaemonMetrics {
  std::vector<NamespaceMetrics> namespaces;
  NamespaceMetrics other_namespaces;  ///< summed; `queues` of 0 and no waits: there are none
  uint64_t namespace_count = 0;
  uint64_t connections = 0;
  uint64_t mapping_processes = 0;
  LoopTimes loop;
};

std::string exposition(const DaemonMetrics& metrics);

/// A label's value between its quotes: backslash, quote and newline escaped; what is not UTF-8, and control characters,
/// as \xNN.
std::string label_value(std::string_view bytes);

}  // namespace mqueuefs::daemon
