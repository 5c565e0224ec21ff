// The semaphore arrays of a namespace: semget, semop, semctl, and what is undone when a process ends. See semop(2),
// semctl(2), and ipc/sem.c.
//
// An array of operations happens at once or not at all. Those that have to wait stand in two lines: who only waits for
// zeros, and who alters. After each change first the former are asked, then the latter in order of arrival, from the
// start again after each that could go on, since it may have made room for an earlier one.
#pragma once

#include <sys/sem.h>

#include <cstdint>
#include <list>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "ipc/sysv/id_table.h"
#include "ipc/sysv/status.h"
#include "ipc/sysv/surroundings.h"
#include "ipc/sysv/waiter.h"

namespace mqueuefs::ipc::sysv {

inline constexpr int kMaxSemaphoreValue = 32767;  ///< SEMVMX
inline constexpr int kMaxUndo = 32767;            ///< SEMAEM; down to -kMaxUndo - 1

class SemaphoreArray;

/// By process: the arrays with undo values of it, the newest first.
using UndoingArrays = std::unordered_map<pid_t, std::list<SemaphoreArray*>>;

/// Thread rule: the loop's. Every id, number and value may be any.
class Semaphores {
 public:
  explicit Semaphores(const Surroundings& surroundings);
  /// Every blocked call gets EIDRM.
  ~Semaphores();

  /// semget(2). The id. Errors, in this order: EINVAL nsems negative or over semmsl; get_existing()'s (EINVAL: it has
  /// fewer); EINVAL nsems is 0 for a new one; ENOSPC semmns, semmni; ENOMEM; ESRCH.
  Result<int> get(const Caller& caller, key_t key, int nsems, int flags, const Confirm& confirm);

  /// semop(2); confirmed with 0. Timeouts are the front door's: cancel(). kWaiting: the waiter's offer is 0 once all of
  /// it has happened, or an errno that it ran into (EAGAIN, ERANGE).
  /// Errors, in this order: E2BIG over semopm; EINVAL no operations, no such array; EFBIG; EACCES; ENOMEM; EAGAIN it would
  /// wait at an operation with IPC_NOWAIT, or there is no waiter; ERANGE value or undo out of range (whichever of the two
  /// comes first); EBUSY the waiter is in use; ESRCH.
  /// With SEM_UNDO the model keeps values for `caller.process`: see holds_for().
  Result<Outcome> operate(const Caller& caller, int id, std::span<const sembuf> operations, Waiter* waiter,
                          const Confirm& confirm);

  /// GETVAL, GETPID, GETNCNT, GETZCNT. Errors, in this order: EINVAL no such array; EACCES; EINVAL semnum.
  Result<int> value(const Caller& caller, int id, int semnum) const;
  Result<int> last_process(const Caller& caller, int id, int semnum) const;
  Result<int> waiting_for_increase(const Caller& caller, int id, int semnum) const;
  Result<int> waiting_for_zero(const Caller& caller, int id, int semnum) const;
  /// GETALL. Errors: EINVAL, EACCES.
  Result<std::vector<uint16_t>> values(const Caller& caller, int id) const;

  /// SETVAL; confirmed with 0. Errors, in this order: ERANGE; EINVAL no such array; EINVAL semnum; EACCES; ESRCH.
  Status set_value(const Caller& caller, int id, int semnum, int value, const Confirm& confirm);
  /// SETALL; confirmed with 0. Errors, in this order: EINVAL no such array; EACCES; EINVAL not as many values as
  /// semaphores; ERANGE; ESRCH. See size_for_setting().
  Status set_values(const Caller& caller, int id, std::span<const uint16_t> values, const Confirm& confirm);
  /// How many values SETALL has to have. Errors: EINVAL, EACCES, as set_values().
  Result<uint32_t> size_for_setting(const Caller& caller, int id) const;

  /// IPC_STAT, SEM_STAT, SEM_STAT_ANY. Errors: EINVAL, EACCES.
  Result<SemaphoreArrayStatus> status(const Caller& caller, int id, Lookup lookup) const;
  /// IPC_SET; confirmed with 0. Errors, in this order: EINVAL; EPERM; EINVAL check_change(); ESRCH.
  Status set(const Caller& caller, int id, const PermissionChange& change, const Confirm& confirm);
  /// IPC_RMID; confirmed with 0. Errors: EINVAL, EPERM, ESRCH.
  Status remove(const Caller& caller, int id, const Confirm& confirm);

  /// Whether there are undo values of this process: its end has to be told.
  bool holds_for(pid_t process) const;
  /// exit_sem(): its undo values are applied, the newest array first. Its waiters are the front door's to cancel before.
  void process_ended(pid_t process);

  /// SEM_INFO.
  Usage usage() const;
  std::optional<SemaphoreArrayStatus> next_from(int index, TaskId reader) const;
  IdTable<SemaphoreArray>& table() { return table_; }
  const IdTable<SemaphoreArray>& table() const { return table_; }

 private:
  const Surroundings surroundings_;
  uint64_t semaphores_ = 0;
  UndoingArrays undoing_;  // outlives the arrays, which are in it
  IdTable<SemaphoreArray> table_;
};

}  // namespace mqueuefs::ipc::sysv
