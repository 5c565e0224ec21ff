// Holding back the thread's signals between the moment that a call stands in the line and the one that it sleeps.
//
// In the kernel both are one: a handler that runs later finds the call asleep and, without SA_RESTART, ends it. Here the
// line is the daemon's, and the sleep is a system call of its own; a handler that ran in between would be forgotten, and
// the call sleep on. So signals wait until both are near, and if one of them is to interrupt, its handler runs and the
// sleep does not begin. (Between release() and the sleep there is a moment left, of some instructions: the mask and the
// sleep can be changed together, but only by calls that no SA_RESTART restarts.)
#pragma once

#include <cstdint>

namespace mqueuefs::client {

/// Costs three system calls. Thread rule: the thread's own. Async-signal-safe. Does not change errno.
class HeldSignals {
 public:
  HeldSignals();
  HeldSignals(const HeldSignals&) = delete;
  HeldSignals& operator=(const HeldSignals&) = delete;
  ~HeldSignals() { release(); }

  /// Whose handler interrupts a call: not one with SA_RESTART, or any (for calls that nothing restarts, signal(7)).
  enum class Interrupts { kUnlessRestarting, kAlways };

  /// Lets them come. True: one came meanwhile that interrupts calls; its handler has run, in this thread or another.
  bool release(Interrupts rule = Interrupts::kUnlessRestarting);

 private:
  uint64_t before_ = 0;
  bool holding_ = false;
};

}  // namespace mqueuefs::client
