#include "client/limits.h"

#include <string.h>

namespace mqueuefs::client {

using control::Type;

Result<control::LimitsReply> get_limits(Connection& connection, const char* namespace_name) {
  control::Selector target{};
  if (const Status named = set_name(target.name, namespace_name); !named) return named.error();
  return connection.call<control::LimitsReply>(Type::kLimitsGet, target);
}

Result<control::LimitsReply> set_limit(Connection& connection, const char* namespace_name, const char* key,
                                       uint64_t value) {
  control::LimitsSet request{};
  if (const Status named = set_name(request.target.name, namespace_name); !named) return named.error();
  if (strlen(key) >= sizeof request.key) return Error{ENOENT, "limit"};
  memcpy(request.key, key, strlen(key));
  request.value = value;
  return connection.call<control::LimitsReply>(Type::kLimitsSet, request);
}

}  // namespace mqueuefs::client
