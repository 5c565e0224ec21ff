#include "differential/recording.h"

#include <sstream>

namespace mqueuefs::differential {

std::string to_text(const RecordedProgram& program) {
  std::ostringstream text;
  text << "program " << program.seed << "\n";
  for (const RecordedStep& step : program.steps) {
    text << "> " << to_line(step.operation) << "\n";
    for (const auto& [actor, outcome] : step.outcomes)
      text << "< " << actor << " " << outcome << "\n";
  }
  text << "end\n";
  return text.str();
}

bool from_text(const std::string& text, std::vector<RecordedProgram>& programs, int& bad_line) {
  std::istringstream lines(text);
  bad_line = 0;
  bool inside = false;
  for (std::string line; std::getline(lines, line);) {
    ++bad_line;
    if (line.empty() || line[0] == '#') continue;
    if (line.rfind("program ", 0) == 0 && !inside) {
      programs.emplace_back();
      programs.back().seed = std::stoull(line.substr(8));
      inside = true;
    } else if (line == "end" && inside) {
      inside = false;
    } else if (line.rfind("> ", 0) == 0 && inside) {
      RecordedStep step;
      if (!from_line(line.substr(2), step.operation)) return false;
      programs.back().steps.push_back(step);
    } else if (line.rfind("< ", 0) == 0 && inside && !programs.back().steps.empty()) {
      std::istringstream fields(line.substr(2));
      int actor = -1;
      if (!(fields >> actor) || actor < 0 || actor >= kActors) return false;
      std::string outcome;
      std::getline(fields.ignore(1), outcome);
      programs.back().steps.back().outcomes[actor] = outcome;
    } else {
      return false;
    }
  }
  return !inside;
}

}  // namespace mqueuefs::differential
