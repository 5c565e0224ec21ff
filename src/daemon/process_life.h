// Whether a process still runs the program that it ran when this was made.
//
// Its end is told by its pidfd. That it has executed another program, with which its memory and what was mapped there
// goes, nothing tells: it is asked about. A process shares no number with one that comes later: see Tasks.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "daemon/notification_delivery.h"
#include "daemon/tasks.h"

namespace mqueuefs::daemon {

/// Thread rule: the loop's.
class ProcessLife {
 public:
  explicit ProcessLife(pid_t process) : process_(process), exec_(std::in_place, process) {}
  ProcessLife(const ProcessLife&) = delete;
  ProcessLife& operator=(const ProcessLife&) = delete;

  /// Calls `exited` once when it has ended. ESRCH: it has already.
  Status watch(Tasks& tasks, std::function<void()> exited) {
    auto watch = tasks.watch(process_, [this, exited = std::move(exited)] {
      ended_ = true;
      exited();
    });
    if (!watch) return watch.error();
    watch_ = std::move(*watch);
    return {};
  }

  pid_t process() const { return process_; }
  /// Asks the kernel: the loop may not have heard of it yet.
  bool has_ended() const { return ended_ || (watch_ != nullptr && watch_->has_ended()); }
  /// One system call.
  bool has_executed() const { return exec_ && exec_->has_executed(); }
  /// What it executes after that is not looked for, until somebody asks for it who has reason to think that it has executed:
  /// of one that is still about it /proc may take as long to open as a hostile process likes.
  void stop_looking() { exec_.reset(); }
  void look_again() {
    if (!exec_) exec_.emplace(process_);
  }
  bool alive() const { return !has_ended() && !has_executed(); }

 private:
  const pid_t process_;
  std::optional<ExecDetector> exec_;
  bool ended_ = false;
  std::unique_ptr<control::ProcessWatch> watch_;
};

}  // namespace mqueuefs::daemon
