#include "ipc/sysv/sysv_ipc.h"

namespace mqueuefs::ipc::sysv {

SysvIpc::SysvIpc(const Surroundings& surroundings)
    : messages_(surroundings), semaphores_(surroundings), memory_(surroundings) {}

const ObjectTable& SysvIpc::table(Kind kind) const {
  if (kind == Kind::kMessages) return messages_.table();
  if (kind == Kind::kSemaphores) return semaphores_.table();
  return memory_.table();
}

ObjectTable& SysvIpc::table(Kind kind) {
  if (kind == Kind::kMessages) return messages_.table();
  if (kind == Kind::kSemaphores) return semaphores_.table();
  return memory_.table();
}

Status SysvIpc::remove(const Caller& caller, Kind kind, int id, const Confirm& confirm) {
  if (kind == Kind::kMessages) return messages_.remove(caller, id, confirm);
  if (kind == Kind::kSemaphores) return semaphores_.remove(caller, id, confirm);
  return memory_.remove(caller, id, confirm);
}

Usage SysvIpc::usage(Kind kind) const {
  if (kind == Kind::kMessages) return messages_.usage();
  if (kind == Kind::kSemaphores) return semaphores_.usage();
  return memory_.usage();
}

bool SysvIpc::is_empty() const {
  for (const Kind kind : {Kind::kMessages, Kind::kSemaphores, Kind::kMemory}) {
    if (table(kind).count() != 0 || table(kind).next_id() != -1) return false;
  }
  return true;
}

void SysvIpc::process_ended(pid_t process) {
  memory_.process_left(process);
  semaphores_.process_ended(process);
}

}  // namespace mqueuefs::ipc::sysv
