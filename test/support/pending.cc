#include "support/pending.h"

#include <array>
#include <cstdlib>
#include <cstring>
#include <string_view>

namespace mqueuefs::test {
namespace {

// What the ten calls do is held by the targets that offer them: kernel, preload, library. The target mqueuefs
// reaches queues through the file system and the client's own functions below them.
constexpr std::array<std::string_view, 8> kSuitesOfTheCalls = {
    "Attributes", "Blocking", "Notify", "Open", "Poll", "Unlink", "SendReceive", "Handlers/Interrupt"};

// Programs make these calls through libc only.
constexpr std::array<std::string_view, 5> kSuitesOfSystemV = {"Kinds/SysvIdentifier", "SysvMessage", "SysvSemaphore",
                                                              "SysvMemory", "Handlers/SysvInterrupt"};

struct Difference {
  std::string_view suite;
  std::string_view test;
  std::string_view reason;
};

// Named in mqueuefs(5).
constexpr std::array kDifferences = std::to_array<Difference>({
    {"Blocking", "E7_WhoIsInterruptedAndRestartsStandsAtTheEndOfTheLine",
     "a restart is the kernel's own: it starts the sleep again without a word to who sleeps or who serves him, and each "
     "sleep that tells of it tells nothing of SA_RESTART"},
});

// On purpose, too, where the caller has mapped the queue.
constexpr std::array kDifferencesWhenMapped = std::to_array<Difference>({
    {"Blocking", "E5_AStoppedCallerIsNoLongerInTheLine",
     "to ask whether the first in the line is stopped takes several times as long as to wake him"},
});

// On purpose, too, behind the system-call front door. Named in mqueuefs-run(1).
constexpr std::array kDifferencesOfSystemCalls = std::to_array<Difference>({
    {"SysvSemaphore", "UnsharingUndoesAtOnce", "unshare(2) is not notified; the end of the process undoes"},
    {"SysvSemaphore", "LeavingTheNamespaceUndoesAtOnce", "unshare(2) is not notified; the end of the process undoes"},
});

bool maps_queues(const std::string& target) {
  const char* const chosen = getenv("MQUEUEFS_MAP");
  return target == "preload" && (chosen == nullptr || strcmp(chosen, "0") != 0);
}

}  // namespace

std::string pending_reason(const std::string& target, const std::string& suite, const std::string& test) {
  if (target == "mqueuefs") {
    for (const std::string_view calls : kSuitesOfTheCalls) {
      if (suite == calls) return "held by the targets preload and library";
    }
  }
  if (target == "mqueuefs" || target == "library") {
    for (const std::string_view calls : kSuitesOfSystemV) {
      if (suite == calls) return "held by the targets preload and seccomp";
    }
  }
  if (target == "preload" || target == "library") {
    for (const Difference& difference : kDifferences) {
      if (suite == difference.suite && test == difference.test) return "on purpose: " + std::string(difference.reason);
    }
    for (const Difference& difference : kDifferencesWhenMapped) {
      if (!maps_queues(target)) break;
      if (suite == difference.suite && test == difference.test) return "on purpose: " + std::string(difference.reason);
    }
  }
  if (target == "seccomp") {
    for (const Difference& difference : kDifferencesOfSystemCalls) {
      if (suite == difference.suite && test == difference.test) return "on purpose: " + std::string(difference.reason);
    }
  }
  return "";
}

}  // namespace mqueuefs::test
