// A namespace's limits, asked of and set at the daemon.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "client/connection.h"

namespace mqueuefs::client {

/// ENOENT: no namespace of that name.
Result<control::LimitsReply> get_limits(Connection& connection, const char* namespace_name);

/// Answers with all of them as they are then. ENOENT: no such namespace or limit; EINVAL: out of range;
/// EPERM: not the namespace's owner, or over the daemon's ceiling.
Result<control::LimitsReply> set_limit(Connection& connection, const char* namespace_name, const char* key,
                                       uint64_t value);

}  // namespace mqueuefs::client
