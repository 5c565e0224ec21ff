// What may be done with System V objects from outside: lists, removals, ids that are to be others (doc/behaviour.md H3 to H5).
//
// All of these ask the daemon once, or a page at a time. `namespace_name` "": the calling thread's own namespace.
#pragma once

#include <cstdint>
#include <span>

#include "base/result.h"
#include "client/connection.h"
#include "control/sysv_messages.h"

namespace mqueuefs::client {

/// At most this many in one permutation: one for each object that there can be.
inline constexpr size_t kMostIdPairs = 32768;

/// All at once, or none. EINVAL: no such object, a negative id, the same id twice; EBUSY: another object's place;
/// EPERM: not the namespace's owner; ENOENT: no such namespace.
Status permute_ids(Connection& connection, const char* namespace_name, control::SysvKind kind,
                   std::span<const control::SysvPair> pairs);

/// As IPC_RMID by the caller, or by the namespace's owner. EINVAL, EPERM.
Status remove_object(Connection& connection, const char* namespace_name, control::SysvKind kind, int32_t id);

/// What the next object's id is to be; -1: as it comes.
Result<int64_t> next_id(Connection& connection, const char* namespace_name, control::SysvKind kind);
/// Errors: EINVAL: less than -1, or no id; EPERM.
Status set_next_id(Connection& connection, const char* namespace_name, control::SysvKind kind, int64_t id);

/// The request for one page of a list: ListPage, then SysvEntry each.
Result<control::SysvAdmin> admin_request(const char* namespace_name, control::SysvVerb verb, control::SysvKind kind);

}  // namespace mqueuefs::client
