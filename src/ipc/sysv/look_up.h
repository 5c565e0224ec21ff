// How a call finds its object: by id or place, and with what right. What the *ctl calls have in common.
#pragma once

#include <cerrno>

#include "ipc/sysv/id_table.h"
#include "ipc/sysv/status.h"

namespace mqueuefs::ipc::sysv {

/// The object `id` for who has the rights `flags` to it. EINVAL; EACCES.
template <typename T>
Result<T*> look_up(const IdTable<T>& table, const Caller& caller, int id, unsigned flags) {
  T* const object = table.find(id);
  if (object == nullptr) return Error{EINVAL, "no such object"};
  if (!may_access(object->permissions(), caller, flags)) return Error{EACCES, "mode"};
  return object;
}

/// The object whose status is asked for. EINVAL; EACCES.
template <typename T>
Result<T*> look_up(const IdTable<T>& table, const Caller& caller, int id, Lookup lookup) {
  if (lookup == Lookup::kId) return look_up(table, caller, id, kRead);
  T* const object = table.find_by_index(id);
  if (object == nullptr) return Error{EINVAL, "no such object"};
  if (lookup == Lookup::kIndex && !may_access(object->permissions(), caller, kRead)) return Error{EACCES, "mode"};
  return object;
}

/// The object for who wants to change or remove it. EINVAL; EPERM.
template <typename T>
Result<T*> look_up_to_control(const IdTable<T>& table, const Caller& caller, int id) {
  T* const object = table.find(id);
  if (object == nullptr) return Error{EINVAL, "no such object"};
  if (const Status may = may_control(object->permissions(), caller); !may) return may.error();
  return object;
}

}  // namespace mqueuefs::ipc::sysv
