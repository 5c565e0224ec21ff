#include "ipc/sysv/semaphores.h"

#include <algorithm>
#include <cerrno>
#include <memory>
#include <utility>

#include "ipc/sysv/look_up.h"
#include "ipc/sysv/semaphore_array.h"

namespace mqueuefs::ipc::sysv {
namespace {

// What is kept of an array and of each of its semaphores, roughly.
constexpr uint64_t kArrayBytes = 512;
constexpr uint64_t kSemaphoreBytes = 8;

// semctl_main(): the number is looked at after the permissions.
Result<SemaphoreArray*> look_up_one(const IdTable<SemaphoreArray>& table, const Caller& caller, int id, int semnum) {
  const auto array = look_up(table, caller, id, kRead);
  if (!array) return array.error();
  if (semnum < 0 || static_cast<uint32_t>(semnum) >= (*array)->size()) return Error{EINVAL, "semnum"};
  return *array;
}

}  // namespace

Semaphores::Semaphores(const Surroundings& surroundings) : surroundings_(surroundings) {}
Semaphores::~Semaphores() = default;

Result<int> Semaphores::get(const Caller& caller, key_t key, int nsems, int flags, const Confirm& confirm) {
  const Limits& limits = surroundings_.limits;
  if (nsems < 0 || static_cast<uint64_t>(nsems) > limits.semmsl) return Error{EINVAL, "semmsl"};
  const auto wanted = static_cast<uint32_t>(nsems);
  const auto existing = get_existing(table_, caller, key, flags, [&](const Object& array) {
    return static_cast<const SemaphoreArray&>(array).size() < wanted;
  });
  if (!existing) return existing.error();
  if (const Object* const array = *existing; array != nullptr) {
    if (!confirm(array->id())) return Error{ESRCH, "caller"};
    return array->id();
  }
  if (wanted == 0) return Error{EINVAL, "no semaphores"};
  if (semaphores_ + wanted > limits.semmns) return Error{ENOSPC, "semmns"};
  const auto id = table_.new_id(static_cast<uint32_t>(limits.semmni));
  if (!id) return id.error();
  auto charge = Charge::reserve(surroundings_.budget, caller.euid, kArrayBytes + wanted * kSemaphoreBytes);
  if (!charge) return charge.error();
  auto array =
      std::make_unique<SemaphoreArray>(created_by(caller, key, flags), wanted, undoing_, std::move(*charge));
  if (!confirm(*id)) return Error{ESRCH, "caller"};
  table_.add(*id, std::move(array));
  semaphores_ += wanted;
  return *id;
}

Result<Outcome> Semaphores::operate(const Caller& caller, int id, std::span<const sembuf> operations, Waiter* waiter,
                                    const Confirm& confirm) {
  if (operations.size() > surroundings_.limits.semopm) return Error{E2BIG, "semopm"};
  if (operations.empty()) return Error{EINVAL, "no operations"};
  SemaphoreArray* const array = table_.find(id);
  if (array == nullptr) return Error{EINVAL, "no such array"};
  const auto any = [&](const auto& is) { return std::ranges::any_of(operations, is); };
  // find_alloc_undo(): it is there from the first attempt on, whatever becomes of that, and before the numbers and the
  // permissions are looked at.
  bool undo_is_new = false;
  if (any([](const sembuf& operation) { return (operation.sem_flg & SEM_UNDO) != 0; })) {
    const auto made = array->make_undo(caller, surroundings_.budget);
    if (!made) return made.error();
    undo_is_new = *made;
  }
  if (any([&](const sembuf& operation) { return operation.sem_num >= array->size(); })) return Error{EFBIG, "sem_num"};
  const bool alters = any([](const sembuf& operation) { return operation.sem_op != 0; });
  if (!may_access(array->permissions(), caller, alters ? kWrite : kRead)) return Error{EACCES, "mode"};
  size_t blocking = 0;
  const auto done = array->operate(caller, operations, confirm, blocking);
  if (!done) {
    if (undo_is_new && done.code() == ESRCH) array->drop_undo(caller.process);
    return done.error();
  }
  if (*done) return Outcome::kDone;
  if (waiter == nullptr) return Error{EAGAIN, "it would wait"};
  if (waiter->is_waiting()) return Error{EBUSY, "waiter"};
  array->wait(caller, operations, blocking, *waiter);
  return Outcome::kWaiting;
}

Result<int> Semaphores::value(const Caller& caller, int id, int semnum) const {
  const auto array = look_up_one(table_, caller, id, semnum);
  if (!array) return array.error();
  return (*array)->value(static_cast<uint32_t>(semnum));
}

Result<int> Semaphores::last_process(const Caller& caller, int id, int semnum) const {
  const auto array = look_up_one(table_, caller, id, semnum);
  if (!array) return array.error();
  return surroundings_.tasks.pid_seen_by((*array)->last_process(static_cast<uint32_t>(semnum)), caller.thread);
}

Result<int> Semaphores::waiting_for_increase(const Caller& caller, int id, int semnum) const {
  const auto array = look_up_one(table_, caller, id, semnum);
  if (!array) return array.error();
  return static_cast<int>((*array)->waiting_for_increase(static_cast<uint32_t>(semnum)));
}

Result<int> Semaphores::waiting_for_zero(const Caller& caller, int id, int semnum) const {
  const auto array = look_up_one(table_, caller, id, semnum);
  if (!array) return array.error();
  return static_cast<int>((*array)->waiting_for_zero(static_cast<uint32_t>(semnum)));
}

Result<std::vector<uint16_t>> Semaphores::values(const Caller& caller, int id) const {
  const auto array = look_up(table_, caller, id, kRead);
  if (!array) return array.error();
  std::vector<uint16_t> values((*array)->size());
  for (uint32_t i = 0; i < values.size(); ++i) values[i] = static_cast<uint16_t>((*array)->value(i));
  return values;
}

// semctl_setval(): the value is looked at before anything else.
Status Semaphores::set_value(const Caller& caller, int id, int semnum, int value, const Confirm& confirm) {
  if (value < 0 || value > kMaxSemaphoreValue) return Error{ERANGE, "value"};
  SemaphoreArray* const array = table_.find(id);
  if (array == nullptr) return Error{EINVAL, "no such array"};
  if (semnum < 0 || static_cast<uint32_t>(semnum) >= array->size()) return Error{EINVAL, "semnum"};
  if (!may_access(array->permissions(), caller, kWrite)) return Error{EACCES, "mode"};
  if (!confirm(0)) return Error{ESRCH, "caller"};
  array->set_value(static_cast<uint32_t>(semnum), value, caller.process);
  return {};
}

Result<uint32_t> Semaphores::size_for_setting(const Caller& caller, int id) const {
  const auto array = look_up(table_, caller, id, kWrite);
  if (!array) return array.error();
  return (*array)->size();
}

Status Semaphores::set_values(const Caller& caller, int id, std::span<const uint16_t> values,
                              const Confirm& confirm) {
  const auto array = look_up(table_, caller, id, kWrite);
  if (!array) return array.error();
  if (values.size() != (*array)->size()) return Error{EINVAL, "number of values"};
  if (std::ranges::any_of(values, [](uint16_t value) { return value > kMaxSemaphoreValue; })) {
    return Error{ERANGE, "value"};
  }
  if (!confirm(0)) return Error{ESRCH, "caller"};
  (*array)->set_values(values, caller.process);
  return {};
}

Result<SemaphoreArrayStatus> Semaphores::status(const Caller& caller, int id, Lookup lookup) const {
  const auto array = look_up(table_, caller, id, lookup);
  if (!array) return array.error();
  return (*array)->status();
}

Status Semaphores::set(const Caller& caller, int id, const PermissionChange& change, const Confirm& confirm) {
  const auto array = look_up_to_control(table_, caller, id);
  if (!array) return array.error();
  if (const Status valid = check_change(change); !valid) return valid;
  if (!confirm(0)) return Error{ESRCH, "caller"};
  (*array)->set(change);
  return {};
}

Status Semaphores::remove(const Caller& caller, int id, const Confirm& confirm) {
  const auto array = look_up_to_control(table_, caller, id);
  if (!array) return array.error();
  if (!confirm(0)) return Error{ESRCH, "caller"};
  semaphores_ -= (*array)->size();
  table_.remove(**array);
  return {};
}

bool Semaphores::holds_for(pid_t process) const { return undoing_.contains(process); }

void Semaphores::process_ended(pid_t process) {
  // Each undoing takes its array from the list, and the list goes with the last.
  for (auto arrays = undoing_.find(process); arrays != undoing_.end(); arrays = undoing_.find(process)) {
    arrays->second.front()->undo(process);
  }
}

Usage Semaphores::usage() const {
  return {.greatest_index = std::max(table_.greatest_index(), 0),
          .used_ids = table_.count(),
          .semaphores = semaphores_};
}

std::optional<SemaphoreArrayStatus> Semaphores::next_from(int index, TaskId) const {
  const SemaphoreArray* const array = table_.next_from(index);
  if (array == nullptr) return std::nullopt;
  return array->status();
}

}  // namespace mqueuefs::ipc::sysv
