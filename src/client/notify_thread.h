// SIGEV_THREAD of mq_notify(3): a function of the program's, started in a new thread when a message comes.
//
// One helper thread for the process, made by the first registration, sleeps on a connection of its own, where the
// daemon tells it which registration was used or removed. As in the C library, the function runs in a thread with
// no signal blocked, whatever its registrar had. A forked child has no registrations and no helper: their table is in memory that is empty in
// it. What the daemon says is a number to look up, never an address.
#pragma once

#include <signal.h>

#include "base/result.h"

namespace mqueuefs::client {

/// Registers `event`, whose sigev_notify is SIGEV_THREAD, at `queue`.
/// Errors: EBADF; EBUSY; ENOMEM; EAGAIN: no thread; those of Connection::connect.
Status notify_by_thread(int queue, const sigevent& event);

}  // namespace mqueuefs::client
