// How long the loop polls before it sleeps.
//
// To wake a sleeping loop on another processor takes several times as long as most requests. So while requests come close
// together the loop polls for a moment first. It learns whether that pays: a poll that found something makes the next one
// longer, one that found nothing makes it shorter, down to none, and then only every so many sleeps, ever more, is it
// tried again. Where the clients need the processor that the loop runs on (there is one only, or all are busy) no poll finds
// anything, so it stays off. An idle loop sleeps: it polls once after the last request and then never.
#pragma once

#include <algorithm>
#include <cstdint>

namespace mqueuefs::daemon {

/// Thread rule: one thread.
class BusyPoll {
 public:
  /// How long to poll now; 0: sleep at once.
  int64_t budget_ns() {
    if (budget_ns_ > 0) return budget_ns_;
    if (sleeps_left_ > 0) {
      --sleeps_left_;
      return 0;
    }
    return kTry_ns;
  }

  void found_something() {
    budget_ns_ = std::clamp(budget_ns_ * 2, kTry_ns, kMost_ns);
    sleeps_ = 0;
  }

  void found_nothing() {
    budget_ns_ = budget_ns_ / 2 >= kLeast_ns ? budget_ns_ / 2 : 0;
    if (budget_ns_ > 0) return;
    sleeps_ = std::clamp(sleeps_ * 2, kFirstSleeps, kMostSleeps);
    sleeps_left_ = sleeps_;
  }

 private:
  static constexpr int64_t kLeast_ns = 10'000;
  static constexpr int64_t kTry_ns = 25'000;
  static constexpr int64_t kMost_ns = 100'000;
  static constexpr uint32_t kFirstSleeps = 16;
  static constexpr uint32_t kMostSleeps = 1024;

  int64_t budget_ns_ = 0;
  uint32_t sleeps_ = 0;
  uint32_t sleeps_left_ = kFirstSleeps;
};

}  // namespace mqueuefs::daemon
