// The control socket's server: accepts connections, finds them by their secrets, closes them.
//
// A connection (connection.h) ends when it is closed or when the process that made it ends, whichever is
// first: the socket may have been inherited by others. It is destroyed from the loop, never under its own
// feet.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

#include "base/result.h"
#include "base/unique_fd.h"
#include "control/announcements.h"
#include "control/host.h"
#include "control/reactor.h"
#include "ipc/memory_budget.h"

namespace mqueuefs::control {

class Connection;

struct ServerOptions {
  uint32_t max_connections_per_user = 4096;  ///< root has no bound
  bool use_peer_pidfd = true;                ///< SO_PEERPIDFD (6.5); else pidfd_open(2)
};

/// Thread rule: the loop's. Everything passed to it must outlive it.
class Server {
 public:
  Server(Reactor& reactor, Host& host, ipc::MemoryBudget& budget, const ServerOptions& options);
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  ~Server();

  /// Takes a listening SOCK_SEQPACKET socket, non-blocking. Errors: those of epoll_ctl(2).
  Status listen(UniqueFd socket);

  /// Closes all connections; they are destroyed when the loop comes round.
  void close_all();

  /// The connection that calls itself `id`, or null.
  Connection* find(uint64_t id) const;
  /// Ends all connections of this process, as it has ended.
  void close_all_of(pid_t process);
  /// Those that have a connection.
  std::unordered_set<pid_t> processes() const;
  size_t connection_count() const { return connections_.size(); }
  Announcements& announcements() { return announcements_; }

 private:
  friend class Connection;

  void accept_some();
  void accept_one(UniqueFd socket);
  /// Takes `connection` out; the object goes when the loop comes round.
  void remove(Connection& connection);

  Reactor& reactor_;
  Host& host_;
  ipc::MemoryBudget& budget_;
  const ServerOptions options_;
  UniqueFd socket_;
  std::unique_ptr<Watch> watch_;
  std::unique_ptr<Timer> resume_;  // accepting pauses while descriptors are short
  std::unordered_map<uint64_t, std::shared_ptr<Connection>> connections_;
  std::unordered_map<uid_t, uint32_t> per_user_;
  Announcements announcements_;
};

}  // namespace mqueuefs::control
