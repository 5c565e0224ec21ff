// The rows of `mqueuefs-bench sysv`: System V IPC beside the kernel's and beside a socket round trip that does nothing.
#pragma once

#include <string>

#include "report.h"

namespace mqueuefs::bench {

struct SysvWorld {
  std::string preload;  ///< libmqueuefs-preload.so: its msgget(2) and the others are called
  std::string library;  ///< libmqueuefs.so: changes of identifiers
  int rounds = 31;
  int scale = 1;  ///< batches are so many times smaller
};

/// Messages, semaphores, shared memory: pairs of calls, and two processes that wait for each other.
void add_sysv_call_rows(const SysvWorld& world, Report& report);
/// Looking up by key and by id among 10, 1,000 and 32,000 objects.
void add_sysv_look_up_rows(const SysvWorld& world, Report& report);
/// Changes of identifiers, which the kernel does not have.
void add_sysv_identifier_rows(const SysvWorld& world, Report& report);

}  // namespace mqueuefs::bench
