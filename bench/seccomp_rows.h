// The rows of `mqueuefs-bench seccomp`: system calls that a supervisor answers.
#pragma once

#include "report.h"

namespace mqueuefs::bench {

/// The floor is a supervisor that does nothing but answer. `targets`: how many processes at once in the last row.
void add_seccomp_rows(int rounds, int targets, Report& report);

}  // namespace mqueuefs::bench
