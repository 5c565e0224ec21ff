#include "control/connection.h"

#include <linux/sockios.h>
#include <sys/epoll.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <utility>

#include "control/server.h"
#include "control/sysv_session.h"

namespace mqueuefs::control {
namespace {

// A client that lets this many packets wait does not read.
constexpr size_t kMostQueuedPackets = 64;
// What a trace may leave waiting for its reader; more is counted and not kept.
constexpr size_t kMostQueuedTraces = 1024;
constexpr size_t kMostQueuedTraceBytes = size_t{1024} * 1024;
// Requests answered for one readiness, so that nobody holds the loop.
constexpr int kRequestsPerTurn = 8;

}  // namespace

Connection::Connection(Server& server, uint64_t id, UniqueFd socket, const ucred& peer,
                       ipc::MemoryBudget& budget)
    : Channel(peer.uid, budget, peer.pid), server_(server), id_(id), socket_(std::move(socket)), peer_(peer) {}

Connection::~Connection() {
  abandon();
}

Status Connection::start(UniqueFd pidfd) {
  auto process_watch = server_.host_.watch_process(peer_.pid, std::move(pidfd), [this] { close(); });
  if (!process_watch) return process_watch.error();
  process_watch_ = std::move(*process_watch);
  auto watch = server_.reactor_.watch(socket_.get(), EPOLLIN, [this](uint32_t events) { ready(events); });
  if (!watch) return watch.error();
  watch_ = std::move(*watch);
  return {};
}

void Connection::close() {
  if (std::exchange(closed_, true)) return;
  watch_.reset();
  process_watch_.reset();
  deadline_.reset();
  trace_.reset();
  if (!queued_.empty()) reset_ = true;
  queued_.clear();
  if (sysv_ != nullptr) sysv_->cancel();
  queued_bytes_ = 0;
  server_.remove(*this);
}

Host& Connection::host() { return server_.host_; }

void Connection::leave_stopped() {
  for (const auto& [id, connection] : server_.connections_) {
    if (connection->sysv_ != nullptr) connection->sysv_->leave_if_stopped();
  }
}

SysvSession& Connection::sysv() {
  if (sysv_ == nullptr) sysv_ = std::make_unique<SysvSession>(*this, server_.host_.sysv());
  return *sysv_;
}

void Connection::ready(uint32_t events) {
  // The callback may end this connection; it stays until we are out of here (Server::remove).
  if ((events & EPOLLOUT) != 0) send_queued();
  if (!closed_ && (events & EPOLLIN) != 0 && !answering_ && queued_.empty()) {
    receive_some();
  } else if ((events & (EPOLLHUP | EPOLLERR)) != 0) {
    close();
  }
}

void Connection::receive_some() {
  // Shared by all connections: a request is handled, or copied, before the next one is read.
  static std::array<std::byte, kMaxPacketBytes> body;
  for (int turn = 0; turn < kRequestsPerTurn && !closed_ && !answering_ && queued_.empty(); ++turn) {
    errno = 0;
    const bool adoption = may_adopt_ && is_adoption_next();
    // Told once, to whoever asks the socket first; at the end without it both calls return 0.
    if (errno == ECONNRESET) reset_ = true;
    if (adoption) {
      answering_ = true;
      adopt(body);
      continue;
    }
    errno = 0;
    auto packet = receive_packet(socket_.get(), body, MSG_DONTWAIT, Descriptors::kRefuse);
    if (!packet && errno == ECONNRESET) reset_ = true;
    if (packet) {
      answering_ = true;
      handle(*packet, std::span(body).first(packet->body_size));
      // The caller is not likely to have another one ready: to look would cost more than to be told.
      if (!may_adopt_) return;
      continue;
    }
    switch (packet.code()) {
      case EAGAIN:
      case EINTR:
        return;
      case EPROTO:
        server_.host_.note_misbehaviour(peer_.pid, peer_.uid, packet.error().step);
        answering_ = true;
        reply(Type{}, EPROTO);
        continue;
      case EMFILE:
      case ENFILE:
      case ENOMEM:
        answering_ = true;
        reply(Type{}, packet.code());
        continue;
      default:
        close();
        return;
    }
  }
}

void Connection::reply(Type type, int status, std::span<const std::byte> body, UniqueFd fd) {
  if (!std::exchange(answering_, false)) return;  // closed meanwhile
  send(type, status, status == 0 ? body : std::span<const std::byte>(), std::move(fd));
}

void Connection::send(Type type, int status, std::span<const std::byte> body, UniqueFd fd,
                      std::span<const std::byte> tail) {
  if (closed_) {
    lost_ = true;
    return;
  }
  const Header header{type, status, 0, 0};
  if (queued_.empty()) {
    const int raw = fd.get();
    const auto sent = send_packet(socket_.get(), header, body, std::span(&raw, fd ? 1 : 0),
                                  Credentials::kNone, MSG_DONTWAIT, tail);
    if (sent) {
      update_events();
      return;
    }
    if (sent.code() != EAGAIN && sent.code() != ENOBUFS && sent.code() != ETOOMANYREFS) {
      lost_ = true;
      if (sent.code() == ECONNRESET) reset_ = true;
      // Not at once: wait_done() comes from deep inside the model.
      server_.reactor_.run_later([weak = weak_from_this()] {
        if (const auto self = weak.lock()) self->close();
      });
      return;
    }
  }
  if (queued_.size() >= kMostQueuedPackets && type != Type::kTraced) {
    lost_ = true;
    server_.host_.note_misbehaviour(peer_.pid, peer_.uid, "does not read its packets");
    server_.reactor_.run_later([weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->close();
    });
    return;
  }
  queued_.push_back({header, {body.begin(), body.end()}, std::move(fd)});
  queued_.back().body.insert(queued_.back().body.end(), tail.begin(), tail.end());
  queued_bytes_ += queued_.back().body.size();
  update_events();
}

bool Connection::send_sysv(Type type, int status, std::span<const std::byte> body, std::span<const std::byte> tail,
                           UniqueFd fd) {
  if (type == Type::kSysvCall) answering_ = false;
  if (closed_ || lost_) return false;
  send(type, status, body, std::move(fd), tail);
  return !lost_;
}

void Connection::send_queued() {
  while (!queued_.empty()) {
    const Packet& packet = queued_.front();
    const int raw = packet.fd.get();
    const auto sent = send_packet(socket_.get(), packet.header, packet.body,
                                  std::span(&raw, packet.fd ? 1 : 0), Credentials::kNone, MSG_DONTWAIT);
    if (!sent) {
      if (sent.code() != EAGAIN && sent.code() != ENOBUFS && sent.code() != ETOOMANYREFS) close();
      return;
    }
    queued_bytes_ -= packet.body.size();
    queued_.pop_front();
  }
  if (trace_ != nullptr) trace_->has_room();
  update_events();
}

void Connection::update_events() {
  if (watch_ == nullptr) return;
  uint32_t events = 0;
  if (!answering_ && queued_.empty()) events |= EPOLLIN;
  if (!queued_.empty()) events |= EPOLLOUT;
  watch_->set_events(events);
}

void Connection::wait_begun() {
  wait_over_ = false;
  const auto& deadline_ns = wait_request().deadline_ns;
  if (!deadline_ns) return;
  if (deadline_ == nullptr) deadline_ = server_.reactor_.make_timer([this] { end(ETIMEDOUT); });
  deadline_->set_realtime(*deadline_ns);
}

void Connection::wait_done(int code) {
  if (deadline_ != nullptr) deadline_->cancel();
  wait_over_ = true;
  last_done_ = {};
  last_done_.status = code;
  std::span<const std::byte> enclosed;
  if (const ipc::Message* message = assigned_or_null(); code == 0 && message != nullptr) {
    last_done_.total = static_cast<uint32_t>(message->payload.size());
    last_done_.priority = message->info.priority;
    if (last_done_.total <= wait_request().inline_bytes) {
      last_done_.enclosed = 1;
      enclosed = message->payload;
    }
  }
  send(Type::kWaitDone, 0, bytes_of(last_done_), UniqueFd(), enclosed);
  if (last_done_.enclosed != 0) mark_delivered();
}

// What is unread when its reader closes is a reset for us (unix(7)); what has a reader that does not read any more,
// since a copy of the socket is held by a child, is still in the line.
bool Connection::died_without_reading() {
  int error = 0;
  socklen_t size = sizeof error;
  if (getsockopt(socket_.get(), SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == ECONNRESET) reset_ = true;
  int unread = 0;
  return reset_ || lost_ || (ioctl(socket_.get(), SIOCOUTQ, &unread) == 0 && unread > 0);
}

// POLLHUP: the other end is closed, by its process or because that has ended. A process has closed its descriptors before
// another one can have waited for it.
bool Connection::is_gone() const {
  pollfd other_end{socket_.get(), POLLRDHUP, 0};
  return closed_ || lost_ || poll(&other_end, 1, 0) != 0;
}

void Connection::send_mapping(const Mapped& mapping, UniqueFd memfd) {
  send(Type::kMapped, 0, bytes_of(mapping), std::move(memfd));
}

bool Connection::send_traced(const Traced& traced, std::span<const std::byte> payload) {
  if (closed_ || queued_.size() >= kMostQueuedTraces || queued_bytes_ >= kMostQueuedTraceBytes) return false;
  send(Type::kTraced, 0, bytes_of(traced), UniqueFd(), payload);
  return true;
}

void Connection::notify_thread(uint64_t value, uint32_t reason) {
  const NotifyThread message{value, reason, 0};
  send(Type::kNotifyThread, 0, bytes_of(message));
}

}  // namespace mqueuefs::control
