// The limits of a namespace: /proc/sys/fs/mqueue/* of the kernel, see mq_overview(7); and its kernel/{msg,sem,shm}*,
// see sysvipc(7).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "base/result.h"
#include "ipc/task_info.h"
#include "segment/attributes.h"

namespace mqueuefs::ipc {

class HeldQueue;

/// Values and their defaults (doc/behaviour.md D1, H2).
struct Limits {
  uint64_t queues_max = 256;
  uint64_t msg_max = 10;
  uint64_t msg_default = 10;
  uint64_t msgsize_max = 8192;
  uint64_t msgsize_default = 8192;

  uint64_t msgmni = 32000;  ///< message queues
  uint64_t msgmax = 8192;   ///< bytes of a message
  uint64_t msgmnb = 16384;  ///< bytes in a message queue, as it begins
  uint64_t semmsl = 32000;  ///< semaphores in an array
  uint64_t semmns = 1024000000;  ///< semaphores in all
  uint64_t semopm = 500;         ///< operations in a call
  uint64_t semmni = 32000;       ///< arrays
  uint64_t shmmni = 4096;        ///< segments of shared memory
  uint64_t shmmax = UINT64_MAX - (uint64_t{1} << 24);  ///< bytes of a segment
  uint64_t shmall = UINT64_MAX - (uint64_t{1} << 24);  ///< pages in all

  /// Sets the limit called `key`. ENOENT: no such limit. EINVAL: out of the range of `bounds_of`.
  Status set(std::string_view key, uint64_t value);

  /// Whether `value` for the limit called `key` is over this one's: these being ceilings for others.
  bool is_exceeded(std::string_view key, uint64_t value) const;

  /// The greatest values that `set` admits.
  static Limits greatest();

  /// What a queue gets that is created without attributes (doc/behaviour.md C7).
  QueueAttributes default_attributes() const;
};

/// One limit by name, with the range that the kernel admits (ipc/mq_sysctl.c).
struct LimitRule {
  const char* name;
  uint64_t Limits::*value;
  uint64_t least;
  uint64_t most;
};
std::span<const LimitRule> limit_rules();

/// What mq_open(3) was given; wider than a queue's attributes so that nonsense can be refused.
struct RequestedAttributes {
  int64_t maxmsg = 0;
  int64_t msgsize = 0;
};

/// What a thread has said of the queue that it is about to create, where the file system cannot carry it.
struct AnnouncedCreation {
  std::optional<RequestedAttributes> attributes;
  bool for_neither = false;  ///< access mode 3: the descriptor neither sends nor receives (doc/behaviour.md C3)
  /// In whose place the task acts: his limits and capabilities count. 0: its own.
  TaskId in_place_of = 0;
  /// What the task unlinked under this name: a creation undoes that.
  std::shared_ptr<HeldQueue> unlinked = nullptr;
};

/// Checks attributes as ipc/mqueue.c:mqueue_get_inode does: EINVAL for a value of 0 or less, or over the
/// namespace's limit (over the hard limit for who may exceed it, doc/behaviour.md C6).
Result<QueueAttributes> check_attributes(const RequestedAttributes& requested, const Limits& limits,
                                         bool may_exceed_limits);

/// What a queue costs its creator's RLIMIT_MSGQUEUE, bytes (doc/behaviour.md D2). Attributes in range can't overflow it.
uint64_t charge_of(const QueueAttributes& attributes);

}  // namespace mqueuefs::ipc
