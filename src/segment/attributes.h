// The limits of a queue and what is fixed when one is made.
#pragma once

#include <cstdint>

namespace mqueuefs {

inline constexpr uint32_t kMaxMessages = 65536;          ///< HARD_MSGMAX, see mq_overview(7)
inline constexpr uint32_t kMaxMessageSize = 16'777'216;  ///< HARD_MSGSIZEMAX, bytes
inline constexpr uint32_t kPriorities = 32768;           ///< MQ_PRIO_MAX

/// What mq_open(3) fixes for the life of a queue.
struct QueueAttributes {
  uint32_t maxmsg = 10;     ///< messages, 1 to kMaxMessages
  uint32_t msgsize = 8192;  ///< bytes, 1 to kMaxMessageSize
};

}  // namespace mqueuefs
