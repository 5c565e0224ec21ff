// What became of a call that a signal has interrupted, when the same call comes again.
//
// A listener is told nothing of it: the notification vanishes, and a new one comes. It may be that
//   a handler with SA_RESTART has run, and the kernel makes the call again  -- msgsnd, msgrcv, semop fail with EINTR
//   a handler has run, the call failed, and the program makes it again      -- a new call
//   no handler has run: it was stopped and goes on, or a debugger came      -- msgsnd, msgrcv go on, semop fails
// (signal(7)). The handler's frame tells, which lies below the caller's stack pointer still: there the kernel has saved the
// registers with which the call was to go on. Not so of a handler on an alternate stack.
#pragma once

#include <cstdint>
#include <span>

#include "seccomp/target.h"

namespace mqueuefs::seccomp {

enum class Interrupted {
  kRestarted,   ///< after a handler
  kMadeAnew,    ///< by the program
  kNotHandled,  ///< or not known
};

/// Pure. `stack`: what lies below the caller's stack pointer, up to it. `at`: where the caller is, now as before.
Interrupted interrupted(const Notification& call, const Targets::Position& at, std::span<const uint64_t> stack);

/// The same, with a look at the caller's stack.
Interrupted interrupted(Targets& targets, const Notification& call, const Targets::Position& at);

}  // namespace mqueuefs::seccomp
