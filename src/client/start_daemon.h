// Starting a daemon because none answers.
#pragma once

#include "base/result.h"

namespace mqueuefs::client {

/// Executes `program daemon --on-demand --ready-fd N` as a process of its own session, no child of the caller's,
/// and waits until it can be connected to.
///
/// The daemon's standard descriptors are /dev/null, so that whoever reads the caller's output to its end is not
/// kept waiting. What it says on the ready descriptor if it can't start: words_of_failed_daemon().
/// Blocks for at most some seconds. Safe in a program with threads.
/// Errors: ECHILD: it ended without getting ready; ETIMEDOUT: neither; ENOEXEC and the like: those of execve(2).
Status start_daemon(const char* program);

/// What went wrong when one was started, as "failed: why"; null: nothing, or it did not say. For as long as the process.
const char* words_of_failed_daemon();

}  // namespace mqueuefs::client
