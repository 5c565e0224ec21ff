// See measure.h.
#include "measure.h"

#include <time.h>

#include <algorithm>

namespace mqueuefs::bench {

int64_t monotonic_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<int64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec;
}

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

double Measured::ratio(size_t contender, size_t baseline) const {
  std::vector<double> ratios;
  for (size_t round = 0; round < rounds[contender].size(); ++round) {
    ratios.push_back(rounds[contender][round] / rounds[baseline][round]);
  }
  return median(ratios);
}

Measured measure(const std::vector<Contender>& contenders, int operations, int rounds) {
  Measured result;
  result.rounds.resize(contenders.size());
  for (const Contender& contender : contenders) contender.batch();
  for (int round = 0; round < rounds; ++round) {
    // Every other round backwards: whoever comes first after something else has no advantage in the long run.
    for (size_t step = 0; step < contenders.size(); ++step) {
      const size_t index = round % 2 == 0 ? step : contenders.size() - 1 - step;
      result.rounds[index].push_back(static_cast<double>(contenders[index].batch()) / operations);
    }
  }
  return result;
}

}  // namespace mqueuefs::bench
