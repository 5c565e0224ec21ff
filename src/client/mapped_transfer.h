// Sending and receiving in mapped memory, and what mq_getattr(3) says of it, without asking anybody.
//
// What can't be done there is not answered, and goes to the daemon: a descriptor that is not mapped, a thread, a waiter or
// a handler too many.
#pragma once

#include <mqueue.h>

#include <cstddef>
#include <span>

#include "base/hot.h"
#include "base/result.h"
#include "client/transfer.h"

namespace mqueuefs::client {

/// Not an errno: not answered.
inline constexpr int kNotAnswered = -1;

/// 0, an errno as transfer.h's, or kNotAnswered: plain numbers, since a Result that is handed up costs as much as a message.
/// Blocks as mq_send does; a cancellation point where it sleeps. May change errno.
MQUEUEFS_HOT int send_mapped(int queue, std::span<const std::byte> message, uint32_t priority, Deadline deadline);
MQUEUEFS_HOT int receive_mapped(int queue, std::span<std::byte> buffer, Deadline deadline, Received& received);

/// mq_getattr(3). False: not answered, also if `result` can't be written to.
bool get_mapped_attributes(int queue, mq_attr* result);

}  // namespace mqueuefs::client
