// What *ctl(2) carries: between the wire's structures and the C library's.
#pragma once

#include <sys/ipc.h>

#include "client/sysv_call.h"
#include "client/user_memory.h"

namespace mqueuefs::client {

inline void fill_permissions(ipc_perm& to, const control::SysvPermissions& from) {
  to.__key = from.key;
  to.uid = from.uid;
  to.gid = from.gid;
  to.cuid = from.creator_uid;
  to.cgid = from.creator_gid;
  to.mode = static_cast<decltype(to.mode)>(from.mode);
  to.__seq = static_cast<decltype(to.__seq)>(from.sequence);
}

/// One *ctl(2), with a structure of the wire out or in, or none.
inline Result<SysvAnswer> control_call(Call& call, control::SysvNumber number, int id, int command,
                                       std::span<std::byte> out = {}, std::span<const std::byte> in = {}) {
  SysvRequest request;
  request.head.number = number;
  request.head.id = id;
  request.head.command = command;
  request.in = in;
  request.out = out;
  auto answer = sysv_call(call, request);
  if (answer && answer->size != out.size()) return Error{EPROTO, "reply"};
  return answer;
}

/// A command that carries nothing, and IPC_SET: the call's value.
inline int plain_control(Call& call, control::SysvNumber number, int id, int command,
                         std::span<const std::byte> in = {}) {
  const auto answer = control_call(call, number, id, command, {}, in);
  return answer ? static_cast<int>(answer->value) : call.fail(answer.code());
}
inline int set_control(Call& call, control::SysvNumber number, int id, const ipc_perm& wanted, uint64_t qbytes = 0) {
  const control::SysvSet set{wanted.uid, wanted.gid, wanted.mode, 0, qbytes};
  return plain_control(call, number, id, IPC_SET, control::bytes_of(set));
}

/// Fills a structure of the caller's; the value that the call returns then. EFAULT.
template <typename T>
int deliver(Call& call, T* to, const T& value, int64_t returned) {
  return copy_out(to, value) ? static_cast<int>(returned) : call.fail(EFAULT);
}

/// *_INFO, whose structure T is carried as it is.
template <typename T>
int info_control(Call& call, control::SysvNumber number, int id, int command, void* to) {
  T info{};
  const auto answer = control_call(call, number, id, command, control::writable_bytes_of(info));
  return answer ? deliver(call, static_cast<T*>(to), info, answer->value) : call.fail(answer.code());
}

}  // namespace mqueuefs::client
