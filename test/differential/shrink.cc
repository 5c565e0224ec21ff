#include "differential/shrink.h"

#include <algorithm>

namespace mqueuefs::differential {
namespace {

Program without(const Program& program, size_t from, size_t count) {
  Program rest(program.begin(), program.begin() + static_cast<std::ptrdiff_t>(from));
  rest.insert(rest.end(),
              program.begin() + static_cast<std::ptrdiff_t>(std::min(from + count, program.size())),
              program.end());
  return rest;
}

}  // namespace

Program shrink(Program program, const std::function<bool(const Program&)>& still_differs) {
  // From the end: what came first is what the rest stands on.
  for (size_t count = std::max<size_t>(program.size() / 2, 1);; count = std::max<size_t>(count / 2, 1)) {
    bool smaller = false;
    for (size_t end = program.size(); end > 0;) {
      const size_t from = end > count ? end - count : 0;
      Program candidate = without(program, from, end - from);
      if (still_differs(candidate)) {
        program = std::move(candidate);
        smaller = true;
      }
      end = std::min(from, program.size());
    }
    if (count == 1 && !smaller) return program;
  }
}

}  // namespace mqueuefs::differential
