// The rows of `mqueuefs-bench fs`. Each measures one thing for the kernel, the floor and mqueuefs in one go.
#pragma once

#include <string>

#include "report.h"
#include "sandbox.h"

namespace mqueuefs::bench {

/// What stands in the sandbox when the rows are measured.
struct World {
  std::string program;  ///< the mqueuefs under test
  std::string scratch;
  std::string kernel;   ///< where the kernel's queues are mounted; empty: there are none
  std::string floor;
  std::string ours;     ///< a mount of the namespace "bench"
  pid_t daemon = 0;
  int rounds = 0;
  int queues = 0;       ///< for `ls -l` and memory
  int namespaces = 0;
};

// fs_rows.cc: single operations
Row stat_row(const World& world);
Row create_unlink_row(const World& world);
void add_message_rows(const World& world, Report& report);  // send, receive
void add_segment_rows(const World& world, Report& report);

// scale_rows.cc: many of them
void add_many_queue_rows(const World& world, Report& report);  // ls -l first and repeated, memory
void add_namespace_rows(const World& world, Report& report);

}  // namespace mqueuefs::bench
