// Tests that pass on the kernel and do not yet on ours: skipped there by name, each with what is missing.
//
// Not the place for deliberate differences (MQ_DIFFERENCE). An entry goes with the commit that mends it.
#pragma once

#include <string>

namespace mqueuefs::test {

/// Why `suite`.`test` is skipped on `target`; empty: it is not.
std::string pending_reason(const std::string& target, const std::string& suite, const std::string& test);

}  // namespace mqueuefs::test
