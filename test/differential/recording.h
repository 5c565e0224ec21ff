// Programs and the kernel's answers to them, as text: for machines whose kernel has no message queues.
//
//   program SEED
//   > send 0 1 0 0 5 3 0 0          a step, as operation.h writes it
//   < 0 0 | 0 2 16 1 poll 145 …     who finished, with which outcome
//   end
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "differential/lockstep.h"

namespace mqueuefs::differential {

struct RecordedStep {
  Operation operation;
  Outcomes outcomes;
};

struct RecordedProgram {
  uint64_t seed = 0;
  std::vector<RecordedStep> steps;
};

std::string to_text(const RecordedProgram& program);
/// False, with the number of the line in `bad_line`: not such a text.
bool from_text(const std::string& text, std::vector<RecordedProgram>& programs, int& bad_line);

}  // namespace mqueuefs::differential
