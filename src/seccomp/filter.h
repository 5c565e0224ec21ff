// The filter that a target carries: its mq_* calls, its System V calls and mount(2) are notified to whoever holds the listener, the
// 32-bit ones are refused, everything else goes on untouched. Its answer depends on the number alone, so the
// kernel remembers which calls are always allowed, and those pay next to nothing. See seccomp(2).
#pragma once

#include <linux/filter.h>

#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "seccomp/system_calls.h"

namespace mqueuefs::seccomp {

/// Pure.
std::vector<sock_filter> filter_program(const CallTable& table);

/// Puts the filter on the calling thread, and all that it starts. Without CAP_SYS_ADMIN this takes
/// PR_SET_NO_NEW_PRIVS, which is set then. Returns the listener. Not with WAIT_KILLABLE_RECV, which would keep
/// signal handlers waiting while a call is blocked.
///
/// Errors: EBUSY: the thread has a filter with a listener already; EINVAL, ENOSYS: not with this kernel.
Result<UniqueFd> install_filter();

}  // namespace mqueuefs::seccomp
