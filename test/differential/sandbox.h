// A target in namespaces of its own, and the tester's view of the actors in it.
//
// The first process in the sandbox, the *leader*, mounts the queues, starts fresh processes, delivers signals
// and waits for ends, all on the tester's word: it is one more slot in the shared memory. It is the first
// process of a PID namespace, so all ends with it, and it ends with the tester.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "differential/actor.h"

namespace mqueuefs::differential {

class Sandbox {
 public:
  /// Starts it. `missing()` says what went wrong.
  explicit Sandbox(TargetKind target);
  Sandbox(const Sandbox&) = delete;
  Sandbox& operator=(const Sandbox&) = delete;
  ~Sandbox();

  const std::string& missing() const { return missing_; }

  /// Lets an actor do a step. It must be neither at work nor blocked.
  void post(int actor, const Operation& operation, uint32_t step);
  bool is_done(int actor) const;
  std::string outcome(int actor) const;
  /// Its thread is gone, without an outcome.
  bool is_dead(int actor) const;
  /// Sleeps in the kernel, and has not just finished. What it sleeps for is not told.
  bool is_asleep(int actor) const;
  /// Blocked for good, as far as the target goes: asleep, while the daemon answered what came before. For
  /// targets where an actor sleeps for a daemon's replies too.
  bool is_settled(int actor);
  /// Counts what has finished: look at it first, then for what is done, then wait.
  uint32_t bell() const { return shared_->bell; }
  /// Until somebody finishes after `seen`, or `limit_us`.
  void wait(uint32_t seen, int limit_us) { wait_on(shared_->bell, seen, limit_us); }

  /// Steps of the leader; false: it does not answer.
  bool lead(Kind kind, int actor, int other, int64_t value = 0);
  /// All processes ended, all queues gone.
  bool reset(bool sysv);
  int pid_of(int process) const { return shared_->processes[process].pid; }

 private:
  std::string proc_file(int actor, const char* file) const;
  int64_t switches_of(int actor) const;

  Shared* shared_ = nullptr;
  std::string dir_;
  pid_t leader_ = -1;
  std::string missing_;
};

/// The leader's life; for main().
[[noreturn]] void run_leader(const char* dir);

/// What the target calls for in the environment of those who use it: LD_PRELOAD.
std::string preload_of(TargetKind target);

}  // namespace mqueuefs::differential
