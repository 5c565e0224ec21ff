// The emulation as a target: the program under test, its daemon at a private socket, the client library.
#pragma once

#include <memory>

#include "support/target.h"

namespace mqueuefs::test {

std::unique_ptr<Target> make_mqueuefs_target(std::unique_ptr<QueueCalls> queue_calls);

}  // namespace mqueuefs::test
