#include "control/server.h"

#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <utility>
#include <vector>

#include "control/connection.h"
#include "control/sysv_host.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77  // asm-generic/socket.h since 6.5
#endif

namespace mqueuefs::control {
namespace {

constexpr int kAcceptsPerTurn = 64;
constexpr int64_t kPauseMs = 100;

Result<UniqueFd> peer_pidfd(int socket, pid_t process, bool use_peer_pidfd) {
  int fd = -1;
  socklen_t size = sizeof fd;
  if (use_peer_pidfd && getsockopt(socket, SOL_SOCKET, SO_PEERPIDFD, &fd, &size) == 0) return UniqueFd(fd);
  // If the number has gone to another process meanwhile it is that one's credentials that packets have to
  // show.
  fd = static_cast<int>(syscall(SYS_pidfd_open, process, 0));
  if (fd < 0) return last_error("pidfd_open");
  return UniqueFd(fd);
}

}  // namespace

Server::Server(Reactor& reactor, Host& host, ipc::MemoryBudget& budget, const ServerOptions& options)
    : reactor_(reactor), host_(host), budget_(budget), options_(options) {}

Server::~Server() {
  close_all();
}

void Server::close_all() {
  // Each takes itself out of the map.
  while (!connections_.empty()) {
    const auto last = connections_.begin()->second;
    last->close();
  }
}

std::unordered_set<pid_t> Server::processes() const {
  std::unordered_set<pid_t> found;
  for (const auto& [id, connection] : connections_) found.insert(connection->process());
  return found;
}

void Server::close_all_of(pid_t process) {
  std::vector<std::shared_ptr<Connection>> its;
  for (const auto& [id, connection] : connections_) {
    if (connection->process() == process) its.push_back(connection);
  }
  for (const auto& connection : its) connection->close();
}

Status Server::listen(UniqueFd socket) {
  auto watch = reactor_.watch(socket.get(), EPOLLIN, [this](uint32_t) { accept_some(); });
  if (!watch) return watch.error();
  watch_ = std::move(*watch);
  socket_ = std::move(socket);
  resume_ = reactor_.make_timer([this] { watch_->set_events(EPOLLIN); });
  return {};
}

Connection* Server::find(uint64_t id) const {
  const auto found = connections_.find(id);
  return found == connections_.end() ? nullptr : found->second.get();
}

void Server::accept_some() {
  for (int turn = 0; turn < kAcceptsPerTurn; ++turn) {
    UniqueFd socket(accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (socket) {
      accept_one(std::move(socket));
      continue;
    }
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
      // The connection stays in the backlog and the socket readable: look again a little later.
      host_.note_misbehaviour(0, 0, "out of descriptors: not accepting for a moment");
      watch_->set_events(0);
      resume_->set_delay_ms(kPauseMs);
    }
    return;
  }
}

void Server::accept_one(UniqueFd socket) {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0) return;
  if (peer.pid == 0) return;  // not visible from here: nothing could be proved
  const int on = 1;
  if (setsockopt(socket.get(), SOL_SOCKET, SO_PASSCRED, &on, sizeof on) < 0) return;
  if (peer.uid != 0 && per_user_[peer.uid] >= options_.max_connections_per_user) {
    host_.note_misbehaviour(peer.pid, peer.uid, "has too many connections");
    const Header refusal{Type::kHello, EMFILE, 0, 0};
    if (const auto sent = send_packet(socket.get(), refusal, {}, {}, Credentials::kNone, MSG_DONTWAIT);
        !sent) {
      // It will see the end.
    }
    return;
  }
  auto pidfd = peer_pidfd(socket.get(), peer.pid, options_.use_peer_pidfd);
  if (!pidfd) return;
  uint64_t id = 0;
  do {
    if (getrandom(&id, sizeof id, 0) != sizeof id) return;
  } while (id == 0 || connections_.contains(id));
  auto connection = std::make_shared<Connection>(*this, id, std::move(socket), peer, budget_);
  connections_.emplace(id, connection);
  ++per_user_[peer.uid];
  if (const auto started = connection->start(std::move(*pidfd)); !started) connection->close();
  host_.connections_changed();
}

void Server::remove(Connection& connection) {
  const auto found = connections_.find(connection.id());
  MQUEUEFS_CHECK(found != connections_.end());
  const std::shared_ptr<Connection> owner = std::move(found->second);
  connections_.erase(found);
  const auto count = per_user_.find(connection.uid());
  if (--count->second == 0) per_user_.erase(count);
  announcements_.drop_connection(connection.id());
  connection.abandon();
  host_.sysv().connection_ended(connection.process());
  // It may be below us on the stack.
  reactor_.run_later([owner] {});
  host_.connections_changed();
}

}  // namespace mqueuefs::control
