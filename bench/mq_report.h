// The table of `mqueuefs-bench mq`: a row for each thing measured, a column for each contender.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace mqueuefs::bench {

struct Percentiles {
  double p50, p99, p999;
};

struct MqCell {
  double value;                   ///< median of the rounds
  std::optional<Percentiles> of;  ///< of single operations, all rounds together
};

struct MqRow {
  std::string what;
  std::string unit;
  std::vector<std::optional<MqCell>> cells;      ///< by column
  std::vector<std::optional<double>> to_kernel;  ///< by column: the median of the rounds' ratios to the kernel's
  std::string note;
  std::string target;  ///< in words; empty: reported only
  std::optional<bool> reached;
};

struct MqReport {
  std::string machine;
  std::string command;
  int rounds = 0;
  std::vector<std::string> columns;
  std::vector<MqRow> rows;
};

void print_table(const MqReport& report);
void print_json(const MqReport& report);

}  // namespace mqueuefs::bench
