// How things are measured: batches of each contender in turn, round after round, and medians of that.
//
// Machines drift (other load, clock frequency, where the scheduler puts things), so contenders are never measured
// one after the other as a whole: each round runs one batch of each, and a ratio is the median of the rounds'
// ratios, not the ratio of two medians that were taken at different times.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace mqueuefs::bench {

int64_t monotonic_ns();

double median(std::vector<double> values);

/// One contender: a batch is a function that does `operations` and says how long they took, in nanoseconds.
struct Contender {
  std::string name;
  std::function<int64_t()> batch;
};

/// Times an operation for each contender, one value a round, in nanoseconds for one operation.
struct Measured {
  std::vector<std::vector<double>> rounds;  // [contender][round]

  double median_ns(size_t contender) const { return median(rounds[contender]); }
  /// The median of the rounds' `contender` / `baseline`.
  double ratio(size_t contender, size_t baseline) const;
};

/// Runs a warm-up round, then `rounds` rounds of each contender's batch of `operations`.
Measured measure(const std::vector<Contender>& contenders, int operations, int rounds);

}  // namespace mqueuefs::bench
