// Waiting for a condition. Tests never sleep for a fixed time in the hope that something has happened.
#pragma once

#include <cstdint>
#include <functional>

namespace mqueuefs::test {

int64_t monotonic_ms();

/// Waits until `condition` holds, looking every few milliseconds. False after `limit_ms`.
bool wait_until(const std::function<bool()>& condition, int limit_ms = 10'000);

/// Waits until `tid` sleeps (state S in /proc): what a test of blocking calls can know from outside. False if
/// it does not within the limit.
bool wait_until_asleep(int tid);

}  // namespace mqueuefs::test
