#include "ipc/sysv/semaphore_array.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/check.h"
#include "base/clock.h"

namespace mqueuefs::ipc::sysv {

struct SemaphoreArray::Place : WaitPlace {
  Place(std::list<Place>& in, Waiter& waiter, const Caller& caller, std::span<const sembuf> to_do, size_t stopped_at)
      : WaitPlace(waiter, caller), line(in), operations(to_do.begin(), to_do.end()), blocking(stopped_at) {}
  void leave() override { line.erase(self); }

  std::list<Place>& line;
  const std::vector<sembuf> operations;
  size_t blocking;  // where it came to a stop the last time
  std::list<Place>::iterator self;
};

SemaphoreArray::SemaphoreArray(const Permissions& permissions, uint32_t nsems, UndoingArrays& undoing, Charge charge)
    : Object(permissions),
      semaphores_(nsems),
      ctime_s_(file_time_now_s()),
      undoing_(undoing),
      charge_(std::move(charge)) {}

SemaphoreArray::~SemaphoreArray() {
  for (Place& place : for_zero_) place.offer(EIDRM);
  for (Place& place : altering_) place.offer(EIDRM);
  while (!undos_.empty()) drop_undo(undos_.begin()->first);
}

// perform_atomic_semop(). `undo` may be null: its process has ended, and nobody will undo.
int SemaphoreArray::attempt(std::span<const sembuf> operations, Undo* undo, size_t& blocking) {
  for (size_t i = 0; i < operations.size(); ++i) {
    const sembuf& operation = operations[i];
    int& value = semaphores_[operation.sem_num].value;
    const int result = value + operation.sem_op;
    int code = 0;
    if (operation.sem_op == 0 ? value != 0 : result < 0) {
      blocking = i;
      code = (operation.sem_flg & IPC_NOWAIT) != 0 ? EAGAIN : kWaits;
    } else if (result > kMaxSemaphoreValue) {
      code = ERANGE;
    } else if ((operation.sem_flg & SEM_UNDO) != 0 && undo != nullptr) {
      int16_t& adjustment = undo->adjustments[operation.sem_num];
      const int changed = adjustment - operation.sem_op;
      if (changed > kMaxUndo || changed < -kMaxUndo - 1) {
        code = ERANGE;
      } else {
        adjustment = static_cast<int16_t>(changed);
      }
    }
    if (code != 0) {
      take_back(operations.first(i), undo);
      return code;
    }
    value = result;
  }
  return 0;
}

void SemaphoreArray::take_back(std::span<const sembuf> operations, Undo* undo) {
  for (const sembuf& operation : operations) {
    semaphores_[operation.sem_num].value -= operation.sem_op;
    if ((operation.sem_flg & SEM_UNDO) == 0 || undo == nullptr) continue;
    int16_t& adjustment = undo->adjustments[operation.sem_num];
    adjustment = static_cast<int16_t>(adjustment + operation.sem_op);
  }
}

void SemaphoreArray::note_process(std::span<const sembuf> operations, pid_t process) {
  for (const sembuf& operation : operations) semaphores_[operation.sem_num].process = process;
}

Result<bool> SemaphoreArray::operate(const Caller& caller, std::span<const sembuf> operations, const Confirm& confirm,
                                     size_t& blocking) {
  Undo* const undo = undo_of(caller.process);
  const int code = attempt(operations, undo, blocking);
  if (code == kWaits) return false;
  if (code != 0) return Error{code, "semop"};
  if (!confirm(0)) {
    take_back(operations, undo);
    return Error{ESRCH, "caller"};
  }
  note_process(operations, caller.process);
  if (std::ranges::any_of(operations, [](const sembuf& operation) { return operation.sem_op != 0; })) serve(operations);
  otime_s_ = file_time_now_s();
  return true;
}

void SemaphoreArray::wait(const Caller& caller, std::span<const sembuf> operations, size_t blocking, Waiter& waiter) {
  const bool alters = std::ranges::any_of(operations, [](const sembuf& operation) { return operation.sem_op != 0; });
  std::list<Place>& line = alters ? altering_ : for_zero_;
  line.emplace_back(line, waiter, caller, operations, blocking);
  line.back().self = std::prev(line.end());
}

// One in a line tries again; out of the line if his wait is over. True: he did what he waited for.
bool SemaphoreArray::try_to_serve(std::list<Place>& line, std::list<Place>::iterator place) {
  const pid_t process = place->caller().process;
  Undo* const undo = undo_of(process);
  const int code = attempt(place->operations, undo, place->blocking);
  if (code == kWaits) return false;
  std::list<Place> out_of_line;
  out_of_line.splice(out_of_line.begin(), line, place);
  const bool taken = place->offer(code);
  if (code != 0) return false;
  if (!taken) {
    take_back(place->operations, undo);
    return false;
  }
  note_process(place->operations, process);
  if (&line == &altering_) serve_those_for_zero(place->operations);
  return true;
}

// do_smart_wakeup_zero(): they look again only if something that was touched is zero now; so where they stopped, and
// what IPC_NOWAIT of theirs does, is as it was when they looked last.
bool SemaphoreArray::serve_those_for_zero(std::span<const sembuf> touched) {
  const bool zero = touched.empty() ? std::ranges::any_of(semaphores_, [](const Semaphore& one) { return one.value == 0; })
                                    : std::ranges::any_of(touched, [this](const sembuf& operation) {
                                        return semaphores_[operation.sem_num].value == 0;
                                      });
  if (!zero) return false;
  // Who waits for one semaphore comes before who waits for several, whoever came first.
  bool served = false;
  for (const bool for_several : {false, true}) {
    for (auto next = for_zero_.begin(); next != for_zero_.end();) {
      const auto place = next++;
      if ((place->operations.size() > 1) == for_several && try_to_serve(for_zero_, place)) served = true;
    }
  }
  return served;
}

// do_smart_update(): true if somebody could go on.
bool SemaphoreArray::serve(std::span<const sembuf> touched) {
  bool served = serve_those_for_zero(touched);
  for (auto next = altering_.begin(); next != altering_.end();) {
    if (!try_to_serve(altering_, next++)) continue;
    served = true;
    // What he did may be what an earlier one waits for.
    next = altering_.begin();
  }
  return served;
}

uint32_t SemaphoreArray::waiting_at(uint32_t number, bool for_zero) const {
  uint32_t count = 0;
  for (const std::list<Place>* line : {&for_zero_, &altering_}) {
    for (const Place& place : *line) {
      const sembuf& operation = place.operations[place.blocking];
      if (operation.sem_num == number && (operation.sem_op == 0) == for_zero) count++;
    }
  }
  return count;
}

SemaphoreArray::Undo* SemaphoreArray::undo_of(pid_t process) {
  const auto found = undos_.find(process);
  return found == undos_.end() ? nullptr : &found->second;
}

Result<bool> SemaphoreArray::make_undo(const Caller& caller, MemoryBudget& budget) {
  if (undo_of(caller.process) != nullptr) return false;
  constexpr uint64_t kUndoBytes = 256;
  auto charge = Charge::reserve(budget, caller.euid, kUndoBytes + size() * sizeof(int16_t));
  if (!charge) return charge.error();
  std::list<SemaphoreArray*>& arrays = undoing_[caller.process];
  arrays.push_front(this);
  undos_.emplace(caller.process, Undo{std::vector<int16_t>(size()), arrays.begin(), std::move(*charge)});
  return true;
}

void SemaphoreArray::drop_undo(pid_t process) {
  const auto found = undos_.find(process);
  MQUEUEFS_CHECK(found != undos_.end());
  const auto arrays = undoing_.find(process);
  arrays->second.erase(found->second.place);
  if (arrays->second.empty()) undoing_.erase(arrays);
  undos_.erase(found);
}

// exit_sem(): values stay in their range, and the time moves even if there was nothing to undo.
void SemaphoreArray::undo(pid_t process) {
  const std::vector<int16_t> adjustments = std::move(undo_of(process)->adjustments);
  drop_undo(process);
  for (size_t i = 0; i < adjustments.size(); ++i) {
    if (adjustments[i] == 0) continue;
    semaphores_[i].value = std::clamp(semaphores_[i].value + adjustments[i], 0, kMaxSemaphoreValue);
    semaphores_[i].process = process;
  }
  serve({});
  otime_s_ = file_time_now_s();
}

void SemaphoreArray::set_value(uint32_t number, int value, pid_t process) {
  for (auto& [undoing_process, undos] : undos_) undos.adjustments[number] = 0;
  semaphores_[number] = {value, process};
  ctime_s_ = file_time_now_s();
  if (serve({})) otime_s_ = ctime_s_;
}

void SemaphoreArray::set_values(std::span<const uint16_t> values, pid_t process) {
  MQUEUEFS_CHECK(values.size() == semaphores_.size());
  for (auto& [undoing_process, undos] : undos_) std::ranges::fill(undos.adjustments, int16_t{0});
  for (size_t i = 0; i < values.size(); ++i) semaphores_[i] = {values[i], process};
  ctime_s_ = file_time_now_s();
  if (serve({})) otime_s_ = ctime_s_;
}

void SemaphoreArray::set(const PermissionChange& change) {
  apply_change(permissions_, change);
  ctime_s_ = file_time_now_s();
}

SemaphoreArrayStatus SemaphoreArray::status() const {
  return {.permissions = permissions_,
          .nsems = size(),
          .otime_s = otime_s_,
          .ctime_s = ctime_s_,
          .waiting = static_cast<uint32_t>(for_zero_.size() + altering_.size())};
}

}  // namespace mqueuefs::ipc::sysv
