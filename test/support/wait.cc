#include "support/wait.h"

#include <time.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <fstream>
#include <string>

#include "support/time_scale.h"

namespace mqueuefs::test {

int64_t monotonic_ms() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000 + now.tv_nsec / 1'000'000;
}

bool wait_until(const std::function<bool()>& condition, int limit_ms) {
  const int64_t deadline_ms = monotonic_ms() + scaled_ms(limit_ms);
  while (!condition()) {
    if (monotonic_ms() > deadline_ms) return false;
    usleep(2000);
  }
  return true;
}

bool wait_until_asleep(int tid) {
  int looks_asleep = 0;  // several looks in a row: on the way it may sleep for a lock or a reply
  return wait_until([&] {
    std::ifstream stat("/proc/" + std::to_string(tid) + "/stat");
    std::string text;
    std::getline(stat, text);
    const size_t state = text.rfind(')');
    // Nobody sleeps for a message within a request to the file system: there he waits for a busy daemon.
    std::ifstream syscall("/proc/" + std::to_string(tid) + "/syscall");
    long number = -1;
    syscall >> number;
    const bool asleep = state != std::string::npos && text.compare(state, 3, ") S") == 0 && number != SYS_ioctl &&
                        number != SYS_openat;
    looks_asleep = asleep ? looks_asleep + 1 : 0;
    return looks_asleep >= 10;
  });
}

}  // namespace mqueuefs::test
