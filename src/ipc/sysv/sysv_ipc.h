// The System V side of an emulated IPC namespace. See sysvipc(7).
#pragma once

#include <span>

#include "ipc/sysv/message_queues.h"
#include "ipc/sysv/semaphores.h"
#include "ipc/sysv/shared_memory.h"

namespace mqueuefs::ipc::sysv {

/// Thread rule: the loop's. Ends with its namespace: every blocked caller gets EIDRM.
class SysvIpc {
 public:
  explicit SysvIpc(const Surroundings& surroundings);

  MessageQueues& messages() { return messages_; }
  Semaphores& semaphores() { return semaphores_; }
  SharedMemory& memory() { return memory_; }
  const MessageQueues& messages() const { return messages_; }
  const Semaphores& semaphores() const { return semaphores_; }
  const SharedMemory& memory() const { return memory_; }

  /// For what the three have in common: change_id (doc/behaviour.md H4), permute (H5), set_next_id (H3), counts.
  ObjectTable& table(Kind kind);
  const ObjectTable& table(Kind kind) const;
  Status remove(const Caller& caller, Kind kind, int id, const Confirm& confirm);
  Usage usage(Kind kind) const;
  /// Neither objects, nor a wish for an id.
  bool is_empty() const;

  /// Whether what this process does next concerns the model: its end; its execution of another program.
  bool holds_for(pid_t process) const { return semaphores_.holds_for(process) || memory_.holds_for(process); }
  /// Its memory is detached, then its semaphores are undone, as in do_exit().
  void process_ended(pid_t process);
  /// Memory is detached, undo values stay. See execve(2).
  void process_executed(pid_t process) { memory_.process_left(process); }
  /// Memory is attached in the child, too; undo values are not. See fork(2).
  void process_forked(pid_t parent, pid_t child) { memory_.process_forked(parent, child); }

 private:
  MessageQueues messages_;
  Semaphores semaphores_;
  SharedMemory memory_;
};

}  // namespace mqueuefs::ipc::sysv
