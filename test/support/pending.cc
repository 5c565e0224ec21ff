#include "support/pending.h"

#include <array>
#include <string_view>

namespace mqueuefs::test {
namespace {

// What the ten calls do is held by the targets that offer them: kernel, preload, library. The target mqueuefs
// reaches queues through the file system and the client's own functions below them.
constexpr std::array<std::string_view, 7> kSuitesOfTheCalls = {"Attributes", "Blocking", "Notify",     "Open",
                                                               "Poll",       "Unlink",   "SendReceive"};

struct Pending {
  std::string_view suite;
  std::string_view test;
  std::string_view missing;
};

constexpr std::array kPendingCalls = std::to_array<Pending>({
    {"Blocking", "E5_AStoppedCallerIsNoLongerInTheLine", "a stopped caller keeps its place in the line"},
    {"Blocking", "E7_WhoIsInterruptedAndRestartsStandsAtTheEndOfTheLine",
     "a caller that is interrupted and restarts keeps its place in the line"},
});

}  // namespace

std::string pending_reason(const std::string& target, const std::string& suite, const std::string& test) {
  if (target == "mqueuefs") {
    for (const std::string_view calls : kSuitesOfTheCalls) {
      if (suite == calls) return "held by the targets preload and library";
    }
  }
  if (target == "preload" || target == "library") {
    for (const Pending& pending : kPendingCalls) {
      if (suite == pending.suite && test == pending.test) return "not yet: " + std::string(pending.missing);
    }
  }
  return "";
}

}  // namespace mqueuefs::test
