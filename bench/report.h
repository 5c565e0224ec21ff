// What was measured, as a table for people and as JSON for programs.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace mqueuefs::bench {

/// One line of the table. What does not apply is absent.
struct Row {
  std::string what;
  std::string unit;
  std::optional<double> kernel;
  std::optional<double> floor;
  std::optional<double> mqueuefs;
  std::optional<double> ratio;  ///< to what `target` names
  std::string target;           ///< in words; empty: reported only
  std::optional<bool> reached;
  std::string note;
};

struct Report {
  std::string machine;
  int rounds = 0;
  std::vector<Row> rows;
};

void print_table(const Report& report);
void print_json(const Report& report);

/// The processor, how many, and the kernel's version.
std::string describe_machine();

}  // namespace mqueuefs::bench
