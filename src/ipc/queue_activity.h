// What a queue does, for who watches: how much went through it, how old its messages are, who waits, who holds it; and
// each message, for who traces.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <span>
#include <vector>

#include "ipc/task_info.h"
#include "segment/format.h"

namespace mqueuefs::ipc {

/// Somebody waits in a call.
struct BlockedCall {
  pid_t process = 0;  ///< in the daemon's pid namespace; 0: not known
  bool receives = false;
  int64_t since_ns = 0;  ///< CLOCK_REALTIME
};

/// A process that maps the queue can falsify all of this.
struct QueueActivity {
  uint64_t sent = 0;  ///< messages since the queue was made
  uint64_t received = 0;
  int64_t oldest_sent_s = 0;  ///< CLOCK_REALTIME, see SharedQueue::oldest_sent_s; 0: there is no message
  uint64_t waits[kWaitBuckets] = {};  ///< that are over, see Header::waits
  uint64_t waited_ns = 0;
};

/// Why a queue is not abandoned.
enum HeldBy : uint32_t {
  kHeldByCreator = 1,       ///< the process that made it still runs, or can't be seen
  kHeldByHandle = 2,        ///< somebody has it open
  kHeldByMapping = 4,       ///< somebody maps it
  kHeldByCall = 8,          ///< somebody waits for it, or has a message of it on the way
  kHeldByRegistration = 16, ///< somebody is to be notified
};

enum class TracedOperation : uint32_t { kSent = 1, kReceived = 2, kGivenBack = 3 };

struct TracedMessage {
  TracedOperation operation = TracedOperation::kSent;
  bool mapped = false;  ///< by a process in its own memory, which told
  TaskId task = 0;      ///< whose thread; 0: not known
  uint32_t priority = 0;
  uint32_t size = 0;
  std::span<const std::byte> payload;  ///< its beginning at least; may be less than `size`
};

/// Hears of each message. Must not call the model.
class QueueTracer {
 public:
  virtual void traced(const TracedMessage& message) = 0;
  /// The queue is no more; it has forgotten the tracer.
  virtual void queue_ended() = 0;

 protected:
  ~QueueTracer() = default;
};

}  // namespace mqueuefs::ipc
