// See report.h.
#include "report.h"

#include <sys/utsname.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

namespace mqueuefs::bench {
namespace {

std::string number(const std::optional<double>& value) {
  if (!value) return "-";
  char text[32];
  snprintf(text, sizeof text, *value >= 100 ? "%.0f" : (*value >= 10 ? "%.1f" : "%.2f"), *value);
  return text;
}

}  // namespace

std::string describe_machine() {
  std::string processor = "unknown processor";
  std::ifstream cpuinfo("/proc/cpuinfo");
  for (std::string line; std::getline(cpuinfo, line);) {
    if (line.starts_with("model name")) {
      processor = line.substr(line.find(':') + 2);
      break;
    }
  }
  utsname name{};
  uname(&name);
  return std::to_string(sysconf(_SC_NPROCESSORS_ONLN)) + " x " + processor + ", Linux " + name.release;
}

void print_table(const Report& report) {
  printf("%s; medians of %d rounds\n\n", report.machine.c_str(), report.rounds);
  printf("%-44s %-5s %10s %10s %10s %7s  %-22s %s\n", "what", "unit", "kernel", "floor", "mqueuefs", "ratio",
         "target", "");
  for (const Row& row : report.rows) {
    printf("%-44s %-5s %10s %10s %10s %7s  %-22s %s\n", row.what.c_str(), row.unit.c_str(),
           number(row.kernel).c_str(), number(row.floor).c_str(), number(row.mqueuefs).c_str(),
           number(row.ratio).c_str(), row.target.c_str(),
           row.reached ? (*row.reached ? "reached" : "MISSED") : "");
    if (!row.note.empty()) printf("    %s\n", row.note.c_str());
  }
}

void print_json(const Report& report) {
  nlohmann::ordered_json document;
  document["machine"] = report.machine;
  document["rounds"] = report.rounds;
  document["rows"] = nlohmann::ordered_json::array();
  for (const Row& row : report.rows) {
    nlohmann::ordered_json entry;
    entry["what"] = row.what;
    entry["unit"] = row.unit;
    if (row.kernel) entry["kernel"] = *row.kernel;
    if (row.floor) entry["floor"] = *row.floor;
    if (row.mqueuefs) entry["mqueuefs"] = *row.mqueuefs;
    if (row.ratio) entry["ratio"] = *row.ratio;
    if (!row.target.empty()) entry["target"] = row.target;
    if (row.reached) entry["reached"] = *row.reached;
    if (!row.note.empty()) entry["note"] = row.note;
    document["rows"].push_back(entry);
  }
  printf("%s\n", document.dump(2).c_str());
}

}  // namespace mqueuefs::bench
