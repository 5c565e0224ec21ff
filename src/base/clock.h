// The two clocks that the emulation uses.
#pragma once

#include <time.h>

#include <cstdint>

namespace mqueuefs {

/// Seconds since 1970 as file times show them: the kernel stamps inodes with the coarse clock, and mqueue's
/// superblock keeps whole seconds only (s_time_gran is 1,000,000,000).
inline int64_t file_time_now_s() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME_COARSE, &now);
  return now.tv_sec;
}

/// CLOCK_MONOTONIC in nanoseconds.
inline int64_t monotonic_now_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<int64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec;
}

/// CLOCK_BOOTTIME in nanoseconds: what processes' start times in proc(5) are measured by.
inline int64_t boottime_now_ns() {
  timespec now{};
  clock_gettime(CLOCK_BOOTTIME, &now);
  return static_cast<int64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec;
}

/// CLOCK_REALTIME in nanoseconds: what absolute mq_* timeouts are measured against. See mq_receive(3).
inline int64_t realtime_now_ns() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return static_cast<int64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec;
}

}  // namespace mqueuefs
