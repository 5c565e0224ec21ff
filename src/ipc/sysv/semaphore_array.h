// One array of semaphores: its values, who waits for them, and what is undone for each process.
//
// Operations are tried on the values themselves and taken back if they cannot all be done, or if who waits for them is
// gone; nobody else runs in between.
#pragma once

#include <sys/sem.h>

#include <cstdint>
#include <list>
#include <span>
#include <unordered_map>
#include <vector>

#include "ipc/sysv/id_table.h"
#include "ipc/sysv/semaphores.h"
#include "ipc/sysv/waiter.h"

namespace mqueuefs::ipc::sysv {

/// Thread rule: the loop's.
class SemaphoreArray : public Object {
 public:
  SemaphoreArray(const Permissions& permissions, uint32_t nsems, UndoingArrays& undoing, Charge charge);
  /// Who waits gets EIDRM; undo values are forgotten.
  ~SemaphoreArray() override;

  uint32_t size() const { return static_cast<uint32_t>(semaphores_.size()); }
  int value(uint32_t number) const { return semaphores_[number].value; }
  pid_t last_process(uint32_t number) const { return semaphores_[number].process; }
  /// Who waits at operations on this semaphore: for a greater value, or for zero.
  uint32_t waiting_for_increase(uint32_t number) const { return waiting_at(number, false); }
  uint32_t waiting_for_zero(uint32_t number) const { return waiting_at(number, true); }

  /// Does all of `operations` if they can be done now. False: they would wait, with the position of the first that would
  /// in `blocking`. Errors: EAGAIN, ERANGE, ESRCH. The numbers were checked.
  Result<bool> operate(const Caller& caller, std::span<const sembuf> operations, const Confirm& confirm,
                       size_t& blocking);
  void wait(const Caller& caller, std::span<const sembuf> operations, size_t blocking, Waiter& waiter);

  /// Room for undo values of `process`. True: it was made now. ENOMEM.
  Result<bool> make_undo(const Caller& caller, MemoryBudget& budget);
  void drop_undo(pid_t process);
  /// Applies the undo values of a process that has ended, and forgets them.
  void undo(pid_t process);

  void set_value(uint32_t number, int value, pid_t process);
  void set_values(std::span<const uint16_t> values, pid_t process);
  void set(const PermissionChange& change);

  SemaphoreArrayStatus status() const;

 private:
  struct Semaphore {
    int value = 0;
    pid_t process = 0;
  };
  struct Undo {
    std::vector<int16_t> adjustments;  // what the end of the process adds
    std::list<SemaphoreArray*>::iterator place;
    Charge charge;
  };
  struct Place;

  /// How an attempt went: 0 done (and can be taken back), an errno, or kWaits.
  static constexpr int kWaits = -1;
  int attempt(std::span<const sembuf> operations, Undo* undo, size_t& blocking);
  void take_back(std::span<const sembuf> operations, Undo* undo);
  void note_process(std::span<const sembuf> operations, pid_t process);
  Undo* undo_of(pid_t process);

  /// After operations on `touched`; empty: on any of them.
  bool serve_those_for_zero(std::span<const sembuf> touched);
  bool serve(std::span<const sembuf> touched);
  bool try_to_serve(std::list<Place>& line, std::list<Place>::iterator place);
  uint32_t waiting_at(uint32_t number, bool for_zero) const;

  std::vector<Semaphore> semaphores_;
  int64_t otime_s_ = 0;
  int64_t ctime_s_;
  std::list<Place> for_zero_;  // who waits for nothing but zeros
  std::list<Place> altering_;  // in order of arrival
  std::unordered_map<pid_t, Undo> undos_;
  UndoingArrays& undoing_;
  Charge charge_;
};

}  // namespace mqueuefs::ipc::sysv
