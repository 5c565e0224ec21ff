// The daemon as a program: its place, its log, its end. What it does is in daemon_host.h.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "daemon/socket_place.h"

namespace mqueuefs::daemon {

struct DaemonOptions {
  std::string socket_path;
  SocketAccess socket_access;             ///< who may connect there
  std::string oci_socket_path;            ///< for containers' listeners; empty: beside the other
  bool foreground = false;                ///< log to stderr
  bool on_demand = false;                 ///< leave when nobody is served
  int ready_fd = -1;                      ///< one line goes there: "ready", or why not; then it is closed
  uint64_t max_user_memory = UINT64_MAX;  ///< bytes
  uint32_t max_namespaces_per_user = 1024;
  uint32_t max_connections_per_user = 4096;
  std::vector<std::string> max_limits;  ///< KEY=VALUE: ceilings for the limits that others than root may set
  std::string log_format = "text";  ///< text, json
  std::string metrics;              ///< see MetricsServer::listen; empty: none
  uint32_t metrics_max_queues = 200;  ///< that have series of their own
  std::string log_level = "info";  ///< trace, debug, info, warn, error, critical, off
  std::string without;             ///< see remove_features
};

/// Serves until SIGTERM, SIGINT, or until it is not needed. Returns the exit code: 0, or 1 after one line on
/// stderr (and on ready_fd). If another daemon listens there: 0 when on demand.
int run_daemon(const DaemonOptions& options);

}  // namespace mqueuefs::daemon
