// The same program on two sandboxes, step by step: the oracle first says what is right, then the other is
// held to it.
//
// A step is over when the actor has finished or is blocked, and so is everybody whom the step has woken. What
// counts: who finished, with which outcome, and who is blocked.
#pragma once

#include <algorithm>
#include <initializer_list>
#include <iterator>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "differential/operation.h"
#include "differential/sandbox.h"

namespace mqueuefs::differential {

/// What the oracle's answers say about the actors; the generator looks at it.
struct World {
  struct Process {
    bool alive = false, has_second_thread = false;
    bool open[kSlots] = {};
    bool attached[kAttachments] = {};
  };
  Process processes[kMaxProcesses];
  bool blocked[kActors] = {};
  Kind blocked_in[kActors] = {};
  bool objects[3][kObjects] = {};  ///< what has an id, by Sort
  /// Somebody is blocked, and since then a call may have changed what his own would do if it began now.
  bool disturbed = false;

  bool exists(int actor) const {
    const Process& process = processes[actor / kMaxThreads];
    return process.alive && (actor % kMaxThreads == 0 || process.has_second_thread);
  }
  /// A blocked call under SA_RESTART: the kernel begins it anew, at the end of the line, on what the descriptor is by
  /// then; the emulation's goes on (mqueuefs(5)). Where that is the same.
  bool may_restart(int actor) const {
    return !blocked[actor] || (!disturbed && std::count(std::begin(blocked), std::end(blocked), true) == 1);
  }
  int count_blocked_in(std::initializer_list<Kind> kinds) const {
    int count = 0;
    for (int actor = 0; actor < kActors; ++actor)
      for (const Kind kind : kinds)
        if (blocked[actor] && blocked_in[actor] == kind) ++count;
    return count;
  }
  bool is_ready(int actor) const { return exists(actor) && !blocked[actor]; }
  /// A step that makes no sense now is left out (after others were cut away).
  bool allows(const Operation& operation) const;
};

/// Who finished in a step, with what.
using Outcomes = std::map<int, std::string>;

struct Difference {
  size_t step = 0;
  std::string text;
};

class Lockstep {
 public:
  /// `subject` null: the oracle alone, for recording. `oracle` null: the answers come from elsewhere
  /// (`follow`).
  Lockstep(Sandbox* oracle, Sandbox* subject) : oracle_(oracle), subject_(subject) {}

  /// From nothing: no process but process 0, no queue. False: a sandbox does not answer.
  /// `sysv`: for a program of System V IPC.
  bool begin(bool sysv);
  /// One step on both. The outcomes of the oracle are in `outcomes`.
  std::optional<Difference> step(const Operation& operation, Outcomes& outcomes);
  /// One step on the subject, held to `expected`.
  std::optional<Difference> follow(const Operation& operation, const Outcomes& expected);
  const World& world() const { return world_; }
  size_t steps() const { return step_; }

 private:
  struct Begun {
    bool ok = true;
    int posted = -1;
  };
  Begun start(Sandbox& sandbox, const Operation& operation);
  bool settle_oracle(const Operation& operation, int posted, Outcomes& outcomes);
  std::optional<Difference> hold_subject(const Operation& operation, int posted, const Outcomes& expected);
  void update_world(const Operation& operation, const Outcomes& outcomes);
  Difference difference(const std::string& text) const { return {step_, text}; }

  Sandbox* oracle_;
  Sandbox* subject_;
  World world_;
  size_t step_ = 0;
};

}  // namespace mqueuefs::differential
