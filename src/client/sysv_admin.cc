#include "client/sysv_admin.h"

#include <algorithm>

namespace mqueuefs::client {
namespace {

using control::SysvKind;
using control::SysvVerb;
using control::Type;

// What goes in one packet; more are staged.
constexpr size_t kPairsInPacket = 4096;

Status stage(Connection& connection, std::span<const std::byte> bytes) {
  const auto total = static_cast<uint32_t>(bytes.size());
  for (uint32_t offset = 0; offset < total;) {
    const uint32_t size = std::min(total - offset, control::kMaxPieceBytes);
    const control::Stage piece{total, offset};
    const auto staged =
        connection.request(Type::kStage, control::bytes_of(piece), {}, -1, bytes.subspan(offset, size));
    if (!staged) return staged.error();
    offset += size;
  }
  return {};
}

}  // namespace

Result<control::SysvAdmin> admin_request(const char* namespace_name, SysvVerb verb, SysvKind kind) {
  control::SysvAdmin request{};
  if (const Status named = set_name(request.target.name, namespace_name); !named) return named.error();
  request.verb = verb;
  request.kind = kind;
  return request;
}

Status permute_ids(Connection& connection, const char* namespace_name, SysvKind kind,
                   std::span<const control::SysvPair> pairs) {
  if (pairs.size() > kMostIdPairs) return Error{EINVAL, "more pairs than objects"};
  auto request = admin_request(namespace_name, SysvVerb::kPermute, kind);
  if (!request) return request.error();
  request->first = static_cast<int64_t>(pairs.size());
  std::span<const std::byte> bytes = std::as_bytes(pairs);
  if (pairs.size() > kPairsInPacket) {
    if (const Status staged = stage(connection, bytes); !staged) return staged;
    request->second = 1;
    bytes = {};
  }
  const auto reply = connection.request(Type::kSysvAdmin, control::bytes_of(*request), {}, -1, bytes);
  return reply ? Status() : reply.error();
}

Status remove_object(Connection& connection, const char* namespace_name, SysvKind kind, int32_t id) {
  auto request = admin_request(namespace_name, SysvVerb::kRemove, kind);
  if (!request) return request.error();
  request->first = id;
  const auto reply = connection.request(Type::kSysvAdmin, control::bytes_of(*request));
  return reply ? Status() : reply.error();
}

Result<int64_t> next_id(Connection& connection, const char* namespace_name, SysvKind kind) {
  const auto request = admin_request(namespace_name, SysvVerb::kNextId, kind);
  if (!request) return request.error();
  return connection.call<int64_t>(Type::kSysvAdmin, *request);
}

Status set_next_id(Connection& connection, const char* namespace_name, SysvKind kind, int64_t id) {
  auto request = admin_request(namespace_name, SysvVerb::kNextId, kind);
  if (!request) return request.error();
  request->first = id;
  request->second = 1;
  const auto set = connection.call<int64_t>(Type::kSysvAdmin, *request);
  return set ? Status() : set.error();
}

}  // namespace mqueuefs::client
