// See mq_report.h.
#include "mq_report.h"

#include <cstdio>
#include <nlohmann/json.hpp>

namespace mqueuefs::bench {
namespace {

std::string number(double value) {
  char text[32];
  snprintf(text, sizeof text, value >= 100 ? "%.0f" : (value >= 10 ? "%.1f" : "%.2f"), value);
  return text;
}

template <typename Value>
void print_line(const MqReport& report, const std::string& what, const std::string& unit, Value value) {
  printf("%-50s %-5s", what.c_str(), unit.c_str());
  for (size_t column = 0; column < report.columns.size(); ++column) printf(" %10s", value(column).c_str());
}

}  // namespace

void print_table(const MqReport& report) {
  printf("%s\n%s; medians of %d rounds; x: the median of the rounds' ratios to the kernel's\n\n", report.command.c_str(),
         report.machine.c_str(), report.rounds);
  print_line(report, "what", "unit", [&](size_t column) { return report.columns[column]; });
  printf("\n");
  for (const MqRow& row : report.rows) {
    print_line(report, row.what, row.unit, [&](size_t column) -> std::string {
      return row.cells[column] ? number(row.cells[column]->value) : "-";
    });
    if (row.reached) printf("  %s: %s", row.target.c_str(), *row.reached ? "reached" : "MISSED");
    printf("\n");
    bool any_ratio = false;
    bool any_percentile = false;
    for (size_t column = 0; column < row.cells.size(); ++column) {
      any_ratio |= row.to_kernel[column].has_value();
      any_percentile |= row.cells[column] && row.cells[column]->of;
    }
    if (any_ratio) {
      print_line(report, "", "x", [&](size_t column) { return row.to_kernel[column] ? number(*row.to_kernel[column]) : ""; });
      printf("\n");
    }
    if (any_percentile) {
      for (const auto& percentile :
           {std::pair("p50", &Percentiles::p50), {"p99", &Percentiles::p99}, {"p99.9", &Percentiles::p999}}) {
        print_line(report, "", percentile.first, [&](size_t column) -> std::string {
          const auto& cell = row.cells[column];
          return cell && cell->of ? number((*cell->of).*percentile.second) : "";
        });
        printf("\n");
      }
    }
    if (!row.note.empty()) printf("    %s\n", row.note.c_str());
  }
}

void print_json(const MqReport& report) {
  nlohmann::ordered_json document;
  document["command"] = report.command;
  document["machine"] = report.machine;
  document["rounds"] = report.rounds;
  document["rows"] = nlohmann::ordered_json::array();
  for (const MqRow& row : report.rows) {
    nlohmann::ordered_json entry;
    entry["what"] = row.what;
    entry["unit"] = row.unit;
    for (size_t column = 0; column < report.columns.size(); ++column) {
      if (!row.cells[column]) continue;
      nlohmann::ordered_json& cell = entry[report.columns[column]];
      cell["median"] = row.cells[column]->value;
      if (row.to_kernel[column]) cell["to_kernel"] = *row.to_kernel[column];
      if (const auto& of = row.cells[column]->of) {
        cell["p50"] = of->p50;
        cell["p99"] = of->p99;
        cell["p99.9"] = of->p999;
      }
    }
    if (!row.target.empty()) entry["target"] = row.target;
    if (row.reached) entry["reached"] = *row.reached;
    if (!row.note.empty()) entry["note"] = row.note;
    document["rows"].push_back(entry);
  }
  printf("%s\n", document.dump(2).c_str());
}

}  // namespace mqueuefs::bench
