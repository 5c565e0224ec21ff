#include "client/call.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <atomic>

#include "client/start_daemon.h"

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
    char text[400];
    const char* const words = words_of_failed_daemon();
    const char* const meaning = strerrordesc_np(code);
    const int length = snprintf(text, sizeof text, "mqueuefs: no message queues: no daemon answers, and %s%s\n",
                                words != nullptr ? "a new one " : "none could be started: ",
                                words != nullptr     ? words
                                : meaning != nullptr ? meaning
                                                     : "unknown error");
    if (write(STDERR_FILENO, text, static_cast<size_t>(length)) < 0) {
      // Nothing is left to tell it to.
    }
  }
  return ENOSYS;
}

}  // namespace mqueuefs::client
