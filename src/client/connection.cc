#include "client/connection.h"

#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "client/address.h"
#include "client/kernel_call.h"
#include "client/descriptors.h"
#include "client/start_daemon.h"
#include "control/queue_ioctl.h"

namespace mqueuefs::client {

namespace {

using control::Type;

// The longest packet that comes unasked.
constexpr size_t kMaxUnaskedBytes = sizeof(control::WaitDone) + control::kMaxNewsBytes;
static_assert(kMaxUnaskedBytes >= sizeof(control::NotifyThread));

Status believe(int socket, PeerRule rule) {
  if (rule != PeerRule::kRootOrOurself) return {};
  ucred peer{};
  socklen_t size = sizeof peer;
  if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return last_error("SO_PEERCRED");
  if (peer.uid == 0 || peer.uid == geteuid()) return {};
  return Error{EACCES, "the socket is another user's"};
}

Result<UniqueFd> connect_to(const Address& address) {
  UniqueFd socket = move_high(UniqueFd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)));
  if (!socket) return last_error("socket");
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  memcpy(name.sun_path, address.path, sizeof name.sun_path);
  while (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name) != 0) {
    if (errno != EINTR) return last_error("connect");
  }
  if (const Status believed = believe(socket.get(), address.rule); !believed) return believed.error();
  return socket;
}

// Sleeps until something can be received; 0 or an errno. A cancellation point. (In a function of its own: no
// object with a destructor may be alive in it.)
int sleep_cancellable(int socket, void (*clean_up)(void*), void* context) {
  volatile int error = 0;  // read after what may be a longjmp
  pthread_cleanup_push(clean_up, context);
  int state = PTHREAD_CANCEL_DISABLE;
  pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &state);
  char first;
  const long peeked = kernel_call(SYS_recvfrom, socket, reinterpret_cast<long>(&first), sizeof first, MSG_PEEK, 0, 0);
  if (peeked < 0) error = errno;
  pthread_setcancelstate(state, nullptr);
  pthread_cleanup_pop(0);
  return error;
}

// The first daemon that answers; otherwise the most telling error.
Result<UniqueFd> connect_to_any(const Addresses& addresses) {
  Error telling{ECONNREFUSED, "no daemon"};
  for (size_t i = 0; i < addresses.count; ++i) {
    auto socket = connect_to(addresses.list[i]);
    if (socket) return socket;
    const int code = socket.error().code;
    if (code != ENOENT && code != ECONNREFUSED) telling = socket.error();
  }
  return telling;
}

}  // namespace

Result<Connection> Connection::connect(StartDaemon start, const char* program) {
  const Addresses addresses = socket_addresses();
  for (bool started = false;; started = true) {
    auto socket = connect_to_any(addresses);
    // A daemon that was about to leave accepts no more but may reset what it had not accepted yet: look again.
    int failure = socket.code();
    if (socket) {
      Connection connection(std::move(*socket));
      const Status greeted = connection.hello();
      if (greeted) return connection;
      failure = greeted.code();
      if (failure != ECONNRESET && failure != EPIPE) return greeted.error();
    }
    if (start == StartDaemon::kNever || started || failure == EACCES) {
      return socket ? Error{failure, "hello"} : socket.error();
    }
    // One of the process's own would be another domain's.
    if (!addresses.may_start) return Error{ECONNREFUSED, kSystemIsDown};
    if (const Status ready = start_daemon(program); !ready) {
      // Someone else's may have won the race for the socket.
      if (auto other = connect_to_any(addresses); !other) return ready.error();
    }
  }
}

Status Connection::hello() {
  const control::Hello hello{control::kProtocolVersion, 0};
  const auto reply = call<control::HelloReply>(Type::kHello, hello);
  if (!reply) return reply.error();
  if (reply->version != control::kProtocolVersion) return Error{EPROTONOSUPPORT, "the daemon's version"};
  channel_ = reply->channel;
  daemon_pid_ = reply->daemon_pid;
  return {};
}

Status Connection::send(Type type, std::span<const std::byte> body, int fd, std::span<const std::byte> tail) {
  control::Header header{};
  header.type = type;
  header.tid = static_cast<int32_t>(syscall(SYS_gettid));
  for (;;) {
    const ucred own = identity_ ? *identity_ : ucred{getpid(), geteuid(), getegid()};
    const Status sent = control::send_packet(socket_.get(), header, body,
                                             fd >= 0 ? std::span<const int>(&fd, 1) : std::span<const int>(), own, 0,
                                             tail);
    if (sent) return sent;
    if (sent.code() != EINTR) return broken(sent.error());
  }
}

void Connection::drop() {
  healthy_ = false;
  if (socket_) shutdown(socket_.get(), SHUT_RDWR);
  socket_.reset();
}

bool Connection::take_unasked(const control::ReceivedPacket& packet, std::span<const std::byte> body) {
  if (packet.header.type == Type::kWaitDone && packet.body_size >= sizeof(control::WaitDone)) {
    control::WaitDone done;
    memcpy(&done, body.data(), sizeof done);
    const std::span<const std::byte> message = body.first(packet.body_size).subspan(sizeof done);
    if (message.size() != (done.enclosed != 0 ? done.total : 0) || message.size() > news_room_.size()) return false;
    if (!message.empty()) memcpy(news_room_.data(), message.data(), message.size());
    wait_done_ = done;
    return true;
  }
  if (packet.header.type == Type::kNotifyThread && packet.body_size == sizeof(control::NotifyThread)) {
    control::NotifyThread event;
    memcpy(&event, body.data(), sizeof event);
    if (notify_handler_ != nullptr) notify_handler_(event, notify_context_);
    return true;
  }
  return false;
}

Result<Reply> Connection::request(Type type, std::span<const std::byte> body, std::span<std::byte> reply_body,
                                  int fd, std::span<const std::byte> tail) {
  if (const Status sent = send(type, body, fd, tail); !sent) return sent.error();
  // Room for an unasked packet, however little the caller expects.
  alignas(8) std::byte small[kMaxUnaskedBytes];
  const std::span<std::byte> space = reply_body.size() >= sizeof small ? reply_body : std::span(small);
  for (;;) {
    auto packet = control::receive_packet(socket_.get(), space);
    if (!packet) {
      if (packet.code() == EINTR) continue;
      return broken(packet.error());
    }
    if (take_unasked(*packet, space)) continue;
    if (packet->header.type != type) return broken({EPROTO, "reply to another request"});
    if (packet->header.status != 0) return Error{packet->header.status, "daemon"};
    if (packet->body_size > reply_body.size()) return broken({EPROTO, "reply too long"});
    if (space.data() != reply_body.data() && packet->body_size > 0) {
      memcpy(reply_body.data(), small, packet->body_size);
    }
    Reply reply;
    reply.size = packet->body_size;
    if (packet->fd_count > 0) reply.fd = std::move(packet->fds[0]);
    return reply;
  }
}

// EINTR: a signal came.
Status Connection::sleep() {
  if (wait_mask_ != nullptr) {
    pollfd readable{socket_.get(), POLLIN, 0};
    if (ppoll(&readable, 1, nullptr, wait_mask_) < 0 && errno == EINTR) return Error{EINTR, "wait"};
  }
  if (clean_up_ != nullptr && sleep_cancellable(socket_.get(), clean_up_, clean_up_context_) == EINTR) {
    return Error{EINTR, "wait"};
  }
  alignas(8) std::byte body[kMaxUnaskedBytes];
  const auto packet = control::receive_packet(socket_.get(), body);
  if (packet.code() == EINTR) return packet.error();
  if (!packet) return broken(packet.error());
  if (!take_unasked(*packet, body)) return broken({EPROTO, "unexpected packet"});
  return {};
}

Error Connection::take_notifications() {
  for (;;) {
    const Status slept = sleep();
    if (!slept && slept.code() != EINTR) return slept.error();
  }
}

Result<Connection::Mapping> Connection::take_mapping() {
  alignas(8) std::byte body[64]{};
  for (;;) {
    auto packet = control::receive_packet(socket_.get(), body);
    if (packet.code() == EINTR) continue;
    Mapping mapping;
    if (packet.code() == EMFILE) {  // all of it has come but the descriptor
      memcpy(&mapping.mapped, body, sizeof mapping.mapped);
      return mapping;
    }
    if (!packet) return broken(packet.error());
    if (take_unasked(*packet, body)) continue;
    if (packet->header.type != Type::kMapped || packet->body_size != sizeof mapping.mapped || packet->fd_count != 1) {
      return broken({EPROTO, "mapping"});
    }
    memcpy(&mapping.mapped, body, sizeof mapping.mapped);
    mapping.memfd = std::move(packet->fds[0]);
    return mapping;
  }
}

Result<control::WaitDone> Connection::wait() {
  while (!wait_done_) {
    const Status slept = interrupted_ ? Error{EINTR, "wait"} : sleep();
    if (slept.code() == EINTR) return cancel();
    if (!slept) return slept.error();
  }
  if (wait_done_->status == ERESTART) return Error{ERESTART, "wait"};
  return *wait_done_;
}

Result<control::WaitDone> Connection::cancel() {
  control::CancelReply answer{};
  const auto reply = request(Type::kCancel, {}, control::writable_bytes_of(answer));
  if (!reply) return reply.error();
  if (reply->size != sizeof answer) return Error{EPROTO, "reply"};
  // A WaitDone that crossed with our request was read before its reply.
  if (!wait_done_ && answer.served != 0) {
    if (answer.done.enclosed != 0) return broken({EPROTO, "reply without the message"});
    wait_done_ = answer.done;
  }
  // Begun anew the call would have forgotten the signal.
  if (!wait_done_ || wait_done_->status == ERESTART) return Error{EINTR, "wait"};
  return *wait_done_;
}

Status set_name(char (&field)[control::kNameBytes], const char* name) {
  const size_t length = strnlen(name, sizeof field);
  if (length == sizeof field) return Error{ENAMETOOLONG, "name"};
  memset(field, 0, sizeof field);
  memcpy(field, name, length);
  return {};
}

}  // namespace mqueuefs::client
