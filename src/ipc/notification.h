// The one registration that a queue may have. See mq_notify(3).
#pragma once

#include <sys/types.h>

#include <memory>

#include "ipc/task_info.h"

namespace mqueuefs::ipc {

/// Where a notification goes; a front door or the daemon implements it. Destroyed with the registration.
class NotificationTarget {
 public:
  virtual ~NotificationTarget() = default;
  /// A message came to the empty queue. Called once at most; the registration is used up by it.
  virtual void woken(const Sender& sender) = 0;
  /// Unregistered without having been used. Called once at most, and not after woken().
  virtual void removed() = 0;
};

/// Who is to be told, and what the status line says of it.
struct Registration {
  pid_t process = 0;  ///< tgid of the owner in the daemon's pid namespace
  int type = 0;       ///< SIGEV_SIGNAL, SIGEV_NONE or SIGEV_THREAD
  int signo = 0;      ///< of SIGEV_SIGNAL, else 0
  std::unique_ptr<NotificationTarget> target;  ///< null for SIGEV_NONE
};

}  // namespace mqueuefs::ipc
