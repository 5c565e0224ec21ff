#include "client/call.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <atomic>

namespace mqueuefs::client {

Result<Connection*> SleepLease::prepare(Result<Connection*> connection) {
  if (!connection) return Error{errno_without_daemon(connection.code()), connection.error().step};
  if (cancellable_) {
    // Destructors do not run in a cancelled thread.
    (*connection)->set_cancellation([](void* lease) { static_cast<Lease*>(lease)->drop(); }, &lease_);
  }
  return connection;
}

int errno_without_daemon(int code) {
  // Not for want of a daemon: the caller's own means are used up.
  if (code == EMFILE || code == ENFILE || code == ENOMEM || code == ENOBUFS) return code;
  static constinit std::atomic<bool> said{false};
  if (!said.exchange(true)) {
    char text[200];
    const int length = snprintf(text, sizeof text, "mqueuefs: no message queues: no daemon answers, and none could be started: %s\n",
                                strerrordesc_np(code) != nullptr ? strerrordesc_np(code) : "unknown error");
    if (write(STDERR_FILENO, text, static_cast<size_t>(length)) < 0) {
      // Nothing is left to tell it to.
    }
  }
  return ENOSYS;
}

}  // namespace mqueuefs::client
