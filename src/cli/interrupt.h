// Ending cleanly on ^C: SIGINT, SIGTERM and SIGHUP stay blocked and arrive only where nothing can be lost.
#pragma once

#include <signal.h>

namespace mqueuefs::cli {

/// While it lives, the three signals are blocked and, where they are let in, only set a flag. One at a time.
class InterruptGuard {
 public:
  InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;
  ~InterruptGuard();

  /// The mask that lets them in: for ppoll(2) and Connection::set_wait_mask.
  const sigset_t& open_mask() const { return outside_; }
  /// Whether one has come. Looks at what is pending too.
  bool interrupted() const;
  /// Ends the process as the signal would have, so that whoever started it can see it. Does nothing if none came.
  void die_if_interrupted();

 private:
  sigset_t outside_;
};

}  // namespace mqueuefs::cli
