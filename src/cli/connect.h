// The program's way to the daemon.
#pragma once

#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "cli/explain.h"
#include "client/connection.h"

namespace mqueuefs::cli {

/// Connects, starting this program as a daemon if none answers. Nothing: the failure has been reported.
std::optional<client::Connection> connect_to_daemon(const Attempt& attempt);

/// Goes through a list in pages: a ListPage, then records. Errors: of the request; EPROTO.
template <typename Record, typename Request, typename SetCursor>
Result<std::vector<Record>> fetch_pages(client::Connection& connection, control::Type type, Request request,
                                        SetCursor set_cursor) {
  std::vector<Record> records;
  std::vector<std::byte> body(control::kMaxPacketBytes);
  for (uint64_t cursor = 0;;) {
    set_cursor(request, cursor);
    const auto reply = connection.request(type, control::bytes_of(request), body);
    if (!reply) return reply.error();
    control::ListPage page;
    if (reply->size < sizeof page) return Error{EPROTO, "list"};
    memcpy(&page, body.data(), sizeof page);
    if (reply->size - sizeof page != page.entries * sizeof(Record)) return Error{EPROTO, "list"};
    const size_t known = records.size();
    records.resize(known + page.entries);
    memcpy(static_cast<void*>(records.data() + known), body.data() + sizeof page, page.entries * sizeof(Record));
    if (page.next == 0) return records;
    cursor = page.next;
  }
}

/// All queues of a namespace (or `only` one), newest first, with `parts` (QueueParts). Errors: of the request; EPROTO.
Result<std::vector<control::QueueEntry>> fetch_queues(client::Connection& connection,
                                                      const std::string& namespace_name, const char* only = "", uint32_t parts = 0);

/// All namespaces that the caller may see.
Result<std::vector<control::NamespaceEntry>> fetch_namespaces(client::Connection& connection);

}  // namespace mqueuefs::cli
