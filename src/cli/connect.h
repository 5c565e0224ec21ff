// The program's way to the daemon.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/explain.h"
#include "client/connection.h"

namespace mqueuefs::cli {

/// Connects, starting this program as a daemon if none answers. Nothing: the failure has been reported.
std::optional<client::Connection> connect_to_daemon(const Attempt& attempt);

/// All queues of a namespace (or `only` one), newest first. Errors: of the request; EPROTO.
Result<std::vector<control::QueueEntry>> fetch_queues(client::Connection& connection,
                                                      const std::string& namespace_name, const char* only = "");

/// All namespaces that the caller may see.
Result<std::vector<control::NamespaceEntry>> fetch_namespaces(client::Connection& connection);

}  // namespace mqueuefs::cli
