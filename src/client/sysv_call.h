// One System V call, from the caller's memory to the daemon and back: what all twelve of them have in common.
//
// A call is one packet and its answer (control/sysv_messages.h). The caller's own structures are sent from and received
// into where they are, so that the kernel is who finds a bad pointer. If it has to wait it asks again with its signals
// held and then sleeps on the connection, as calls of the kernel that nothing restarts do (signal(7)):
//
//   msgsnd, msgrcv       any handler ends them; stopping and continuing does not
//   semop, semtimedop    any handler ends them, and so does being stopped and continued
//
// If the process dies its waiter goes with the connection; a message that it was handed just then is lost, as the
// kernel's is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/result.h"
#include "base/unique_fd.h"
#include "client/call.h"
#include "control/sysv_messages.h"

namespace mqueuefs::client {

enum class SysvSleep {
  kNever,
  kLikeMessages,    ///< and the thread can be cancelled there
  kLikeSemaphores,
};

struct SysvRequest {
  control::SysvCall head{};
  std::span<const std::byte> in;  ///< follows the head; may lead nowhere (EFAULT)
  std::span<std::byte> out;       ///< for what follows the reply; may lead nowhere (EFAULT)
  SysvSleep sleep = SysvSleep::kNever;
  int64_t deadline_ns = INT64_MAX;  ///< CLOCK_MONOTONIC, kLikeSemaphores: EAGAIN then
};

struct SysvAnswer {
  int64_t value = 0;
  int64_t type = 0;
  size_t size = 0;  ///< bytes in `out`
  UniqueFd fd;
};

/// Errors: what the daemon says, EFAULT, EINTR, EAGAIN (see deadline_ns); EIDRM: also if it goes while the call waits;
/// ENOSYS: no daemon, and none to be started. `call` is the caller's.
Result<SysvAnswer> sysv_call(Call& call, SysvRequest& request);

/// For one of whom the daemon need not be started: a child that has just been forked.
Status sysv_tell(const control::SysvCall& head);

/// This thread may have changed its namespace: the next calls ask anew.
void sysv_moved();

}  // namespace mqueuefs::client
