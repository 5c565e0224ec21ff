// msgctl(2), semctl(2), shmctl(2).
#include <sys/ipc.h>

#include <cerrno>
#include <optional>
#include <span>

#include "ipc/sysv/info.h"
#include "seccomp/sysv_calls.h"
#include "seccomp/sysv_structures.h"

namespace mqueuefs::seccomp {

using ipc::sysv::Lookup;

namespace {

int as_int(uint64_t argument) { return static_cast<int>(static_cast<uint32_t>(argument)); }

std::optional<Lookup> lookup_of(int command, int by_index, int unasked) {
  if (command == IPC_STAT) return Lookup::kId;
  if (command == by_index) return Lookup::kIndex;
  if (command == unasked) return Lookup::kIndexUnasked;
  return std::nullopt;
}

/// What a *_STAT returns.
template <typename T>
int64_t value_of(Lookup lookup, const T& status) {
  return lookup == Lookup::kId ? 0 : status.permissions.id;
}

}  // namespace

template <typename T>
void SysvCalls::answer_with(const Asked& asked, const Result<T>& value) {
  if (!value) return finish(asked.call, value.code());
  (void)targets_.answer(asked.call, *value);  // if he is gone nothing has happened
}

template <typename T>
void SysvCalls::deliver(const Asked& asked, const T& structure, uint64_t address, int64_t value) {
  const Targets::Piece piece{address, std::as_bytes(std::span(&structure, 1))};
  if (targets_.write_and_answer(asked.call, std::span(&piece, 1), value).code() == EFAULT) finish(asked.call, EFAULT);
}

void SysvCalls::message_control(Asked& asked) {
  const Notification& call = asked.call;
  const int id = as_int(call.arguments[0]), command = as_int(call.arguments[1]);
  const uint64_t address = call.arguments[2];
  ipc::sysv::MessageQueues& queues = asked.ipc.messages();
  if (id < 0 || command < 0) return finish(call, EINVAL);
  if (const auto lookup = lookup_of(command, MSG_STAT, MSG_STAT_ANY)) {
    const auto status = queues.status(asked.caller, id, *lookup);
    if (!status) return finish(call, status.code());
    const auto users = host_.sysv().users_seen_by(call.task);
    return deliver(asked, to_kernel(*status, *users), address, value_of(*lookup, *status));
  }
  switch (command) {
    case IPC_INFO:
    case MSG_INFO: {
      const ipc::sysv::Usage usage = queues.usage();
      const msginfo info = ipc::sysv::message_info(asked.where.limits(), usage, command == MSG_INFO);
      return deliver(asked, info, address, usage.greatest_index);
    }
    case IPC_SET: {
      const auto wanted = targets_.read_value<msqid_ds>(call, address);
      if (!wanted) return finish(call, EFAULT);
      const auto change = change_from(wanted->msg_perm, *host_.sysv().users_seen_by(call.task));
      return finish(call, queues.set(asked.caller, id, change, wanted->msg_qbytes, confirm(call)).code());
    }
    case IPC_RMID:
      return finish(call, queues.remove(asked.caller, id, confirm(call)).code());
    default:
      return finish(call, EINVAL);
  }
}

void SysvCalls::semaphores_control(Asked& asked) {
  const Notification& call = asked.call;
  const int id = as_int(call.arguments[0]), number = as_int(call.arguments[1]), command = as_int(call.arguments[2]);
  const uint64_t address = call.arguments[3];
  ipc::sysv::Semaphores& arrays = asked.ipc.semaphores();
  const ipc::sysv::Caller& caller = asked.caller;
  if (id < 0) return finish(call, EINVAL);
  if (const auto lookup = lookup_of(command, SEM_STAT, SEM_STAT_ANY)) {
    const auto status = arrays.status(caller, id, *lookup);
    if (!status) return finish(call, status.code());
    const auto users = host_.sysv().users_seen_by(call.task);
    return deliver(asked, to_kernel(*status, *users), address, value_of(*lookup, *status));
  }
  switch (command) {
    case IPC_INFO:
    case SEM_INFO: {
      const ipc::sysv::Usage usage = arrays.usage();
      const seminfo info = ipc::sysv::semaphore_info(asked.where.limits(), usage, command == SEM_INFO);
      return deliver(asked, info, address, usage.greatest_index);
    }
    case GETVAL:
      return answer_with(asked, arrays.value(caller, id, number));
    case GETPID:
      return answer_with(asked, arrays.last_process(caller, id, number));
    case GETNCNT:
      drop_vanished();
      return answer_with(asked, arrays.waiting_for_increase(caller, id, number));
    case GETZCNT:
      drop_vanished();
      return answer_with(asked, arrays.waiting_for_zero(caller, id, number));
    case GETALL: {
      const auto values = arrays.values(caller, id);
      if (!values) return finish(call, values.code());
      const Targets::Piece piece{address, std::as_bytes(std::span(*values))};
      const Status written = targets_.write_and_answer(call, std::span(&piece, 1), 0);
      if (written.code() == EFAULT) finish(call, EFAULT);
      return;
    }
    case SETVAL:
      return finish(call, arrays.set_value(caller, id, number, as_int(address), confirm(call)).code());
    case SETALL: {
      const auto count = arrays.size_for_setting(caller, id);
      if (!count) return finish(call, count.code());
      std::vector<uint16_t> values(*count);
      if (!targets_.read(call, address, std::as_writable_bytes(std::span(values)))) return finish(call, EFAULT);
      return finish(call, arrays.set_values(caller, id, values, confirm(call)).code());
    }
    case IPC_SET: {
      const auto wanted = targets_.read_value<semid_ds>(call, address);
      if (!wanted) return finish(call, EFAULT);
      const auto change = change_from(wanted->sem_perm, *host_.sysv().users_seen_by(call.task));
      return finish(call, arrays.set(caller, id, change, confirm(call)).code());
    }
    case IPC_RMID:
      return finish(call, arrays.remove(caller, id, confirm(call)).code());
    default:
      return finish(call, EINVAL);
  }
}

void SysvCalls::memory_control(Asked& asked) {
  const Notification& call = asked.call;
  const int id = as_int(call.arguments[0]), command = as_int(call.arguments[1]);
  const uint64_t address = call.arguments[2];
  ipc::sysv::SharedMemory& memory = asked.ipc.memory();
  const ipc::sysv::Caller& caller = asked.caller;
  if (id < 0 || command < 0) return finish(call, EINVAL);
  // Others may have attached it: attachments are counted in what follows.
  host_.sysv().look_for_executed(asked.where);
  if (const auto lookup = lookup_of(command, SHM_STAT, SHM_STAT_ANY)) {
    const auto status = memory.status(caller, id, *lookup);
    if (!status) return finish(call, status.code());
    const auto users = host_.sysv().users_seen_by(call.task);
    return deliver(asked, to_kernel(*status, *users), address, value_of(*lookup, *status));
  }
  switch (command) {
    case IPC_INFO:
      return deliver(asked, ipc::sysv::memory_info(asked.where.limits()), address, memory.usage().greatest_index);
    case SHM_INFO: {
      const ipc::sysv::Usage usage = memory.usage();
      return deliver(asked, ipc::sysv::memory_use(usage), address, usage.greatest_index);
    }
    case IPC_SET: {
      const auto wanted = targets_.read_value<shmid_ds>(call, address);
      if (!wanted) return finish(call, EFAULT);
      const auto change = change_from(wanted->shm_perm, *host_.sysv().users_seen_by(call.task));
      return finish(call, memory.set(caller, id, change, confirm(call)).code());
    }
    case IPC_RMID:
      return finish(call, memory.remove(caller, id, confirm(call)).code());
    case SHM_LOCK:
      return finish(call, memory.lock(caller, id, confirm(call)).code());
    case SHM_UNLOCK:
      return finish(call, memory.unlock(caller, id, confirm(call)).code());
    default:
      return finish(call, EINVAL);
  }
}

}  // namespace mqueuefs::seccomp
