// The rows of `mqueuefs-bench mq`: messages between processes, on each contender in turns.
#pragma once

#include <string>
#include <vector>

#include "mq_calls.h"
#include "mq_report.h"

namespace mqueuefs::bench {

struct MqWorld {
  std::vector<MessageContender> contenders;  ///< in the order of the columns, without the floor
  std::string floor;                         ///< where the do-nothing file system is mounted
  int rounds = 0;
  int scale = 1;        ///< batches are divided by this
  bool one_processor = false;
  std::string baseline = "kernel";
  std::string through_daemon = "daemon";  ///< the column that the target is about
};

void add_pair_rows(const MqWorld& world, MqReport& report);
void add_process_rows(const MqWorld& world, MqReport& report);
void add_deep_rows(const MqWorld& world, MqReport& report);
void add_first_operation_rows(const MqWorld& world, MqReport& report);

}  // namespace mqueuefs::bench
