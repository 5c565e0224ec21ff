// What an actor does with an operation of System V IPC.
#pragma once

#include <string>

#include "differential/actor.h"

namespace mqueuefs::differential {

/// By libc's calls. The outcome, and what can be seen of the object afterwards where nobody else may be changing it: not
/// of message queues, where who was woken goes on by himself; a step of its own looks at those.
std::string sysv_step(Shared& shared, ProcessSlot& process, const Operation& operation, uint32_t step);

}  // namespace mqueuefs::differential
