#include "client/held_signals.h"

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

namespace mqueuefs::client {
namespace {

// The kernel's own structures: masks of 64 signals, and only what every architecture has in the same place.
constexpr long kSetBytes = sizeof(uint64_t);
struct KernelAction {
  void (*handler)(int);
  unsigned long flags;
  unsigned long rest[16];
};

constexpr uint64_t bit(int signo) { return uint64_t{1} << (signo - 1); }

// Not those that say what this thread itself did, which the kernel kills for if they are blocked, nor the C library's
// own two (cancellation, set*id in all threads).
constexpr uint64_t kHeld = ~(bit(SIGSEGV) | bit(SIGBUS) | bit(SIGFPE) | bit(SIGILL) | bit(SIGTRAP) | bit(SIGSYS) |
                             bit(32) | bit(33));

bool interrupts(int signo, HeldSignals::Interrupts rule) {
  KernelAction action{};
  if (syscall(SYS_rt_sigaction, signo, nullptr, &action, kSetBytes) != 0) return false;
  return action.handler != SIG_IGN && action.handler != SIG_DFL &&
         (rule == HeldSignals::Interrupts::kAlways || (action.flags & SA_RESTART) == 0);
}

}  // namespace

HeldSignals::HeldSignals() {
  const int saved = errno;
  holding_ = syscall(SYS_rt_sigprocmask, SIG_BLOCK, &kHeld, &before_, kSetBytes) == 0;
  errno = saved;
}

bool HeldSignals::release(Interrupts rule) {
  if (!holding_) return false;
  holding_ = false;
  const int saved = errno;
  uint64_t pending = 0;
  bool interrupted = false;
  if (syscall(SYS_rt_sigpending, &pending, kSetBytes) == 0) {
    for (uint64_t left = pending & kHeld & ~before_; left != 0; left &= left - 1) {
      if (interrupts(__builtin_ctzll(left) + 1, rule)) interrupted = true;
    }
  }
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before_, nullptr, kSetBytes);
  errno = saved;
  return interrupted;
}

}  // namespace mqueuefs::client
