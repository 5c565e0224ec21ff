// An answer that its caller gets, or that is refused.
//
// That the kernel accepts an answer does not say so: a caller whom a signal has just woken, and who is on his way out, has
// his notification for a moment longer, and drops what is answered in it (kernel/seccomp.c:
// seccomp_do_user_notification). Nothing shows that afterwards, and of a thousand signals that interrupt a call about one
// falls there, however late one looks for it before. So he must not run in between: answering, he and we share one
// processor, and it is ours. Whoever is woken before we look has his signal pending still; who is woken afterwards gets the
// processor when he has his answer, or, if we lost it for a moment, before we go on: then he is gone, and the kernel says so.
#pragma once

#include <sys/types.h>

#include <cstdint>

#include "seccomp/listener.h"

namespace mqueuefs::seccomp {

/// The call of `task` returns `value`; false: nobody is there to take that, or not for long. Some 30 microseconds dearer
/// than Listener::answer(). Where the processors of the task can't be chosen (it is another user's, or none of its
/// processors is ours) only the look for a signal is left. Killed in the middle, we leave a task on one processor.
bool answer_surely(const Listener& listener, uint64_t id, pid_t task, int64_t value);

/// Whether an unblocked signal is pending for the task, by /proc/TASK/status.
bool has_pending_signal(pid_t task);

}  // namespace mqueuefs::seccomp
