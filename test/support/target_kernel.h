// The kernel's own message queues as a target.
#pragma once

#include <memory>

#include "support/target.h"

namespace mqueuefs::test {

std::unique_ptr<Target> make_kernel_target();

}  // namespace mqueuefs::test
