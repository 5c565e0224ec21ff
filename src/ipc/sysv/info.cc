#include "ipc/sysv/info.h"

#include <algorithm>
#include <climits>
#include <cstring>

#include "ipc/sysv/semaphores.h"

namespace mqueuefs::ipc::sysv {
namespace {

int as_int(uint64_t value) { return static_cast<int>(std::min<uint64_t>(value, INT_MAX)); }

}  // namespace

// msgctl_info() of ipc/msg.c; what has no meaning has been constant for long.
msginfo message_info(const Limits& limits, const Usage& usage, bool in_use) {
  msginfo info;
  memset(&info, 0, sizeof info);  // it goes out with its padding, as below
  info.msgpool = in_use ? as_int(usage.used_ids) : 512000;
  info.msgmap = in_use ? as_int(usage.messages) : 16384;
  info.msgtql = in_use ? as_int(usage.message_bytes) : 16384;
  info.msgmax = as_int(limits.msgmax);
  info.msgmnb = as_int(limits.msgmnb);
  info.msgmni = as_int(limits.msgmni);
  info.msgssz = 16;
  info.msgseg = 0xffff;
  return info;
}

// semctl_info() of ipc/sem.c.
seminfo semaphore_info(const Limits& limits, const Usage& usage, bool in_use) {
  seminfo info{};
  info.semmni = as_int(limits.semmni);
  info.semmns = info.semmap = info.semmnu = as_int(limits.semmns);
  info.semmsl = as_int(limits.semmsl);
  info.semopm = as_int(limits.semopm);
  info.semume = 500;
  info.semvmx = kMaxSemaphoreValue;
  info.semusz = in_use ? as_int(usage.used_ids) : 20;
  info.semaem = in_use ? as_int(usage.semaphores) : kMaxUndo;
  return info;
}

shminfo memory_info(const Limits& limits) {
  shminfo info{};
  info.shmmax = limits.shmmax;
  info.shmmin = 1;
  info.shmmni = info.shmseg = limits.shmmni;
  info.shmall = limits.shmall;
  return info;
}

shm_info memory_use(const Usage& usage) {
  shm_info info;
  memset(&info, 0, sizeof info);
  info.used_ids = as_int(usage.used_ids);
  info.shm_tot = usage.memory_pages;
  info.shm_rss = usage.rss_pages;
  info.shm_swp = usage.swap_pages;
  return info;
}

}  // namespace mqueuefs::ipc::sysv
