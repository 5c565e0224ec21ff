#include "base/check.h"

#include <cstdio>
#include <cstdlib>
#include <unistd.h>

namespace mqueuefs::internal {

void check_failed(const char* condition, const char* file, int line) {
  char text[512];
  const int length = snprintf(text, sizeof text, "mqueuefs: bug: %s:%d: %s\n", file, line, condition);
  const auto size = static_cast<size_t>(length) < sizeof text ? static_cast<size_t>(length) : sizeof text - 1;
  if (write(STDERR_FILENO, text, size) < 0) {
    // Nothing is left to tell it to.
  }
  abort();
}

}  // namespace mqueuefs::internal
