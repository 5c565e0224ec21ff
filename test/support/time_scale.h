// How much longer than a usual machine this one may take.
#pragma once

#include <stdlib.h>

namespace mqueuefs::test {

/// The limit `ms` of a test times $MQUEUEFS_TEST_TIME_SCALE, a whole number that is set where the processor is emulated.
/// Every limit is scaled here.
inline int scaled_ms(int ms) {
  const char* const scale = getenv("MQUEUEFS_TEST_TIME_SCALE");
  const int factor = scale != nullptr ? atoi(scale) : 1;
  return factor > 1 ? ms * factor : ms;
}

}  // namespace mqueuefs::test
