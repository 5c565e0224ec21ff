#include "support/coverage.h"

#include <stdlib.h>

#include <string_view>

namespace mqueuefs::test {
namespace {

// The targets preload, library and seccomp make these calls.
constexpr std::string_view kCalls =
    "Attributes.*:Blocking.*:Notify.*:Open.*:Poll.*:Unlink.*:SendReceive.*:Handlers/Interrupt.*";

// Programs make these calls through libc only: the targets preload and seccomp.
constexpr std::string_view kSystemV = "*Sysv*";

// System calls of ours reach the emulation behind the system-call front door only.
constexpr std::string_view kRawCalls =
    "Notify.F8_TheRawThreadFormSendsACookieOverNetlink:Open.C1_TheRawCallTakesTheNameAsItIs:"
    "Unlink.C8_TheRawCallAnswersEpermAndTakesTheNameAsItIs";

// An ordinary user mounts ours with fusermount3.
constexpr std::string_view kKernelOnly = "Mount.A4_AnOrdinaryUserWithoutNamespacesMayNotMount";

// mqueuefs(5): a restart is the kernel's own; it starts the sleep again without a word to the sleeper or the process
// that serves it, and each sleep that tells of it tells nothing of SA_RESTART.
constexpr std::string_view kRestarts = "Blocking.E7_WhoIsInterruptedAndRestartsStandsAtTheEndOfTheLine";

// mqueuefs(5): to ask whether the first in the wait queue is stopped takes several times as long as to wake it.
constexpr std::string_view kNotWhenMapped = "Blocking.E5_AStoppedCallerIsNoLongerInTheLine";

// mqueuefs-run(1): by answering its system calls nobody can map memory into a process; and unshare(2) is not notified,
// so that the end of the process undoes.
constexpr std::string_view kNotBySystemCalls =
    "SysvAttachedMemory.*:Kinds/SysvUsedIdentifier.*/shm:SysvSemaphore.UnsharingUndoesAtOnce:"
    "SysvSemaphore.LeavingTheNamespaceUndoesAtOnce";

bool maps_queues(std::string_view target) {
  const char* const chosen = getenv("MQUEUEFS_MAP");
  return target == "preload" && (chosen == nullptr || std::string_view(chosen) != "0");
}

}  // namespace

std::string covered_part(const std::string& filter, const std::string& target) {
  std::string covered = filter;
  const auto leave_out = [&](std::string_view patterns) {
    covered += covered.find('-') == std::string::npos ? '-' : ':';
    covered += patterns;
  };
  if (target != "kernel") leave_out(kKernelOnly);
  if (target == "mqueuefs") leave_out(kCalls);
  if (target == "mqueuefs" || target == "library") leave_out(kSystemV);
  if (target == "preload" || target == "library") {
    leave_out(kRawCalls);
    leave_out(kRestarts);
  }
  if (maps_queues(target)) leave_out(kNotWhenMapped);
  if (target == "seccomp") leave_out(kNotBySystemCalls);
  return covered;
}

}  // namespace mqueuefs::test
