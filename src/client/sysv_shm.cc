// shmget(2), shmop(2), shmctl(2). The memory is mapped here, from a descriptor that comes with the answer and is closed
// at once: read-only if the attachment is, so that no mprotect(2) makes more of it.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "client/attachments.h"
#include "client/sysv.h"
#include "client/sysv_status.h"

namespace mqueuefs::client {
namespace {

using control::SysvNumber;

void tell_detached(Call& call, int64_t name, uint32_t never_mapped) {
  SysvRequest request;
  request.head.number = SysvNumber::kShmDetach;
  request.head.type = name;
  request.head.flags = never_mapped;
  // If the daemon is gone there is nothing left to be told.
  static_cast<void>(sysv_call(call, request).ok());
}

// do_shmat() of ipc/shm.c: the address that is asked for, or EINVAL.
Result<uintptr_t> place_of(const void* wanted, int flags) {
  auto address = reinterpret_cast<uintptr_t>(wanted);
  const auto page = static_cast<uintptr_t>(getpagesize());
  if (address % page != 0) {
    if ((flags & SHM_RND) == 0) return Error{EINVAL, "address"};
    address -= address % page;
    // Rounded to none: replacing what is there needs a place.
    if (address == 0 && (flags & SHM_REMAP) != 0) return Error{EINVAL, "address"};
  }
  if (wanted == nullptr && (flags & SHM_REMAP) != 0) return Error{EINVAL, "address"};
  return address;
}

}  // namespace

int shm_get(key_t key, size_t size, int flags) {
  Call call;
  SysvRequest request;
  request.head.number = SysvNumber::kShmGet;
  request.head.id = key;
  request.head.flags = static_cast<uint32_t>(flags);
  request.head.size = size;
  const auto answer = sysv_call(call, request);
  return answer ? static_cast<int>(answer->value) : call.fail(answer.code());
}

void* shm_attach(int id, const void* wanted, int flags) {
  Call call;
  const auto refuse = [&](int code) {
    call.fail(code);
    return MAP_FAILED;
  };
  if (id < 0) return refuse(EINVAL);
  const auto address = place_of(wanted, flags);
  if (!address) return refuse(address.code());
  SysvRequest request;
  request.head.number = SysvNumber::kShmAttach;
  request.head.id = id;
  request.head.flags = static_cast<uint32_t>(flags);
  auto answer = sysv_call(call, request);
  if (!answer) return refuse(answer.code());
  const auto size = static_cast<size_t>(answer->type);
  int protection = PROT_READ;
  if ((flags & SHM_RDONLY) == 0) protection |= PROT_WRITE;
  if ((flags & SHM_EXEC) != 0) protection |= PROT_EXEC;
  int mapping = MAP_SHARED;
  if (*address != 0) mapping |= (flags & SHM_REMAP) != 0 ? MAP_FIXED : MAP_FIXED_NOREPLACE;
  if ((flags & SHM_REMAP) != 0) memory_unmaps(reinterpret_cast<void*>(*address), size);
  void* memory = MAP_FAILED;
  int code = EPROTO;
  if (answer->fd) {
    memory = mmap(reinterpret_cast<void*>(*address), size, protection, mapping, answer->fd.get(), 0);
    code = errno == EEXIST ? EINVAL : errno;
    // Beyond the end of what there is of addresses.
    if (*address != 0 && (flags & SHM_REMAP) == 0 && *address + size < *address) code = EINVAL;
  }
  // Before Linux 4.17 the address is a mere wish.
  if (memory != MAP_FAILED && *address != 0 && memory != reinterpret_cast<void*>(*address)) {
    munmap(memory, size);
    memory = MAP_FAILED;
    code = EINVAL;
  }
  if (memory != MAP_FAILED && !add_attachment({reinterpret_cast<uintptr_t>(memory), size, answer->value})) {
    munmap(memory, size);
    memory = MAP_FAILED;
    code = ENOMEM;
  }
  if (memory != MAP_FAILED) return memory;
  tell_detached(call, answer->value, 1);
  return refuse(code);
}

int shm_detach(const void* address) {
  Call call;
  const auto attachment = take_attachment(reinterpret_cast<uintptr_t>(address));
  if (address == nullptr || !attachment) return call.fail(EINVAL);
  munmap(const_cast<void*>(address), attachment->size_bytes);
  tell_detached(call, attachment->name, 0);
  return 0;
}

void memory_unmaps(void* address, size_t size_bytes) {
  if (!has_attachments()) return;
  while (const auto attachment = take_attachment_within(reinterpret_cast<uintptr_t>(address), size_bytes)) {
    Call call;
    tell_detached(call, attachment->name, 0);
  }
}

int shm_control(int id, int command, shmid_ds* status) {
  Call call;
  constexpr auto kNumber = SysvNumber::kShmControl;
  switch (command) {
    case IPC_INFO:
      return info_control<shminfo>(call, kNumber, id, command, status);
    case SHM_INFO:
      return info_control<shm_info>(call, kNumber, id, command, status);
    case IPC_STAT:
    case SHM_STAT:
    case SHM_STAT_ANY: {
      control::SysvStat stat{};
      const auto answer = control_call(call, kNumber, id, command, control::writable_bytes_of(stat));
      if (!answer) return call.fail(answer.code());
      shmid_ds result{};
      fill_permissions(result.shm_perm, stat.permissions);
      result.shm_atime = stat.times[0];
      result.shm_dtime = stat.times[1];
      result.shm_ctime = stat.times[2];
      result.shm_cpid = stat.processes[0];
      result.shm_lpid = stat.processes[1];
      result.shm_segsz = stat.counts[0];
      result.shm_nattch = stat.counts[1];
      return deliver(call, status, result, answer->value);
    }
    case IPC_SET: {
      shmid_ds copy;
      if (!copy_in(copy, status)) return call.fail(EFAULT);
      return set_control(call, kNumber, id, copy.shm_perm);
    }
    default:
      return plain_control(call, kNumber, id, command);
  }
}

}  // namespace mqueuefs::client
