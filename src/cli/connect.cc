#include "cli/connect.h"

#include "cli/answering.h"
#include "cli/output.h"
#include "client/start_daemon.h"

namespace mqueuefs::cli {
namespace {

using control::Type;

}  // namespace

std::optional<client::Connection> connect_to_daemon(const Attempt& attempt) {
  auto connection = client::Connection::connect(client::StartDaemon::kIfNone, "/proc/self/exe");
  if (connection) {
    note_answering(find_answering());
    return std::move(*connection);
  }
  if (const char* const words = client::words_of_failed_daemon()) fail(std::string("the daemon ") + words);
  fail(explain(attempt, connection.error()));
  return std::nullopt;
}

Result<std::vector<control::QueueEntry>> fetch_queues(client::Connection& connection,
                                                      const std::string& namespace_name, const char* only, uint32_t parts) {
  control::QueueList request{};
  if (const Status set = client::set_name(request.target.name, namespace_name.c_str()); !set) return set.error();
  if (const Status set = client::set_name(request.only, only); !set) return set.error();
  request.parts = parts;
  return fetch_pages<control::QueueEntry>(connection, Type::kQueueList, request,
                                          [](control::QueueList& r, uint64_t cursor) { r.cursor.after = cursor; });
}

Result<std::vector<control::NamespaceEntry>> fetch_namespaces(client::Connection& connection) {
  return fetch_pages<control::NamespaceEntry>(connection, Type::kNamespaceList, control::ListCursor{},
                                              [](control::ListCursor& r, uint64_t cursor) { r.after = cursor; });
}

}  // namespace mqueuefs::cli
