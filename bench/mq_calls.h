// The contenders of `mqueuefs-bench mq`: the same five calls on whatever implements message queues.
//
// A contender is used in a process of its own, so that nothing of one is in the way of another, and by the same
// code: whatever the rows cost beside the calls, they cost each contender alike.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace mqueuefs::bench {

/// Queues of one implementation. What can't fail in a row that was permitted ends the process.
class MessageCalls {
 public:
  virtual ~MessageCalls() = default;
  /// False: it does not let us have such a queue (RLIMIT_MSGQUEUE, its limits).
  virtual bool create(const std::string& name, long maxmsg, long msgsize) = 0;
  /// An existing queue, for sending and receiving.
  virtual long open(const std::string& name) = 0;
  virtual void close(long queue) = 0;
  virtual void remove(const std::string& name) = 0;
  virtual void send(long queue, const char* message, size_t size, unsigned priority) = 0;
  virtual size_t receive(long queue, char* buffer, size_t size) = 0;
};

struct MessageContender {
  std::string name;  ///< the column's
  std::function<std::unique_ptr<MessageCalls>()> start;
};

/// The C library's mq_*.
std::unique_ptr<MessageCalls> kernel_calls();
/// mqueuefs_* of the libmqueuefs at `library`, through the daemon or in mapped memory.
enum class Way { kThroughDaemon, kMapped };
std::unique_ptr<MessageCalls> mqueuefs_calls(const std::string& library, Way way);
/// boost::interprocess::message_queue; null if this was built without it.
std::unique_ptr<MessageCalls> boost_calls();
bool have_boost();

}  // namespace mqueuefs::bench
