#include "cli/interrupt.h"

namespace mqueuefs::cli {
namespace {

constexpr int kSignals[] = {SIGINT, SIGTERM, SIGHUP};
volatile sig_atomic_t caught = 0;

sigset_t our_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : kSignals) sigaddset(&set, signal);
  return set;
}

}  // namespace

InterruptGuard::InterruptGuard() {
  caught = 0;
  const sigset_t ours = our_signals();
  sigprocmask(SIG_BLOCK, &ours, &outside_);
  for (const int signal : kSignals) {
    // nohup and background jobs of a shell without job control: what was ignored stays so.
    struct sigaction action {};
    sigaction(signal, nullptr, &action);
    if (action.sa_handler == SIG_IGN) continue;
    action = {};
    action.sa_handler = [](int number) { caught = number; };
    sigaction(signal, &action, nullptr);
  }
}

InterruptGuard::~InterruptGuard() {
  for (const int signal : kSignals) {
    struct sigaction action {};
    sigaction(signal, nullptr, &action);
    if (action.sa_handler == SIG_IGN) continue;
    ::signal(signal, SIG_DFL);
  }
  sigprocmask(SIG_SETMASK, &outside_, nullptr);
}

bool InterruptGuard::interrupted() const {
  if (caught != 0) return true;
  sigset_t pending;
  sigpending(&pending);
  for (const int signal : kSignals) {
    // An ignored signal never becomes pending.
    if (sigismember(&pending, signal) == 1 && sigismember(&outside_, signal) == 0) return true;
  }
  return false;
}

void InterruptGuard::die_if_interrupted() {
  if (!interrupted()) return;
  sigprocmask(SIG_SETMASK, &outside_, nullptr);  // delivers what is pending to the handler
  const int number = caught;
  if (number == 0) return;
  ::signal(number, SIG_DFL);
  raise(number);
}

}  // namespace mqueuefs::cli
