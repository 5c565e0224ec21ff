// A connection to the daemon: the client's end of the control socket.
//
// Model: one request at a time, one reply each, in order. Two packets come unasked: WaitDone, when the waiter
// that this connection's channel holds was served, and NotifyThread. Whoever reads the socket takes them in
// passing, so none is lost whichever call happens to read it.
//
// The connection *is* the channel (messages.h): when it closes, a waiter is cancelled, a received message that
// was not fetched goes back to its place, a staged one is dropped.
#pragma once

#include <signal.h>
#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>

#include "base/result.h"
#include "base/unique_fd.h"
#include "control/messages.h"
#include "control/wire.h"

namespace mqueuefs::client {

enum class StartDaemon { kNever, kIfNone };

/// What came back beside the reply's body.
struct Reply {
  size_t size = 0;  ///< bytes of the body
  UniqueFd fd;      ///< if the reply has one
};

/// Thread rule: one thread at a time. Not for use in the child after fork: the daemon takes each packet's sender
/// for who asks, and refuses one who did not connect.
class Connection {
 public:
  using NotifyHandler = void (*)(const control::NotifyThread& event, void* context);

  /// Finds the daemon (address.h), or starts `program` as one, and says hello. `program` is what to execute:
  /// an absolute path or "/proc/self/exe".
  ///
  /// Blocks for at most some seconds while a daemon starts.
  /// Errors: ECONNREFUSED: no daemon, and none to be started; EACCES: one is there that may not be believed;
  /// EPROTONOSUPPORT: it speaks another version; ETIMEDOUT: it did not get ready.
  static Result<Connection> connect(StartDaemon start, const char* program);

  /// A connection that was made before: see release().
  static Connection adopt(UniqueFd socket, uint64_t channel) {
    Connection connection(std::move(socket));
    connection.channel_ = channel;
    return connection;
  }
  /// Gives up ownership of the socket, to adopt() it later in the same process.
  int release() { return socket_.release(); }

  Connection(Connection&&) = default;
  Connection& operator=(Connection&&) = default;

  /// Sends a request and waits for its reply; the reply's body goes into `reply_body`. Restarted after signals.
  /// Errors: what the daemon answered; ECONNRESET, EPIPE: the daemon is gone; EPROTO.
  /// `tail` follows the request's body.
  Result<Reply> request(control::Type type, std::span<const std::byte> body, std::span<std::byte> reply_body = {},
                        int fd = -1, std::span<const std::byte> tail = {});

  /// A request whose reply has a body of fixed size.
  template <typename ReplyBody, typename Body>
  Result<ReplyBody> call(control::Type type, const Body& body) {
    ReplyBody answer{};
    const auto reply = request(type, control::bytes_of(body), control::writable_bytes_of(answer));
    if (!reply) return reply.error();
    if (reply->size != sizeof answer) return Error{EPROTO, "reply"};
    return answer;
  }

  /// Drops what is known of earlier waits; to be called before a waiter is registered. A message that comes with the
  /// news goes to `room`, which is to stay until the wait is over.
  void begin_wait(std::span<std::byte> room = {}) {
    wait_done_.reset();
    news_room_ = room;
    interrupted_ = false;
  }
  /// A handler without SA_RESTART has run since the waiter was registered: wait() will not sleep.
  void interrupt_wait() { interrupted_ = true; }

  /// Sleeps until the waiter in the channel is over; its `status` says how. A handler with SA_RESTART goes
  /// unnoticed. EINTR: a signal came and the waiter is cancelled: nothing was sent or taken. ERESTART: the thread was
  /// stopped and so is not in the line any more: the call is to be begun anew.
  Result<control::WaitDone> wait();

  /// While it sleeps in wait(), the thread's signal mask is `mask` (as with ppoll(2), which no handler restarts).
  /// For a program that keeps signals blocked except while it sleeps. Null: as it is.
  void set_wait_mask(const sigset_t* mask) { wait_mask_ = mask; }

  /// Lets the thread be cancelled (pthreads(7)) while it sleeps in wait(), where otherwise, as everywhere in here,
  /// its caller has cancellation disabled. `clean_up` runs then in place of wait()'s return.
  void set_cancellation(void (*clean_up)(void*), void* context) {
    clean_up_ = clean_up;
    clean_up_context_ = context;
  }

  struct Mapping {
    control::Mapped mapped;
    UniqueFd memfd;
  };
  /// After a successful ioctl kMap, which named this connection.
  Result<Mapping> take_mapping();

  /// Takes the packets that come unasked, until the daemon is gone. For a thread that waits for NotifyThread.
  Error take_notifications();

  /// Closes the connection for good, also where a forked child has a copy of its socket.
  void drop();
  /// False: the daemon is gone, or the two ends do not understand each other any more.
  bool healthy() const { return healthy_ && socket_; }

  void set_notify_handler(NotifyHandler handler, void* context) {
    notify_handler_ = handler;
    notify_context_ = context;
  }

  /// Who we are, as long as that does not change: the caller's thread has just asked.
  void set_identity(const ucred& own) { identity_ = own; }
  const std::optional<ucred>& identity() const { return identity_; }
  /// The two ends do not understand each other any more; or a packet was lost.
  Error broken(Error error) {
    healthy_ = false;
    return error;
  }

  /// Names this connection in ioctls (queue_ioctl.h).
  uint64_t channel() const { return channel_; }
  pid_t daemon_pid() const { return daemon_pid_; }
  int fd() const { return socket_.get(); }

 private:
  explicit Connection(UniqueFd socket) : socket_(std::move(socket)) {}

  Status hello();
  Status send(control::Type type, std::span<const std::byte> body, int fd, std::span<const std::byte> tail);
  Status sleep();
  bool take_unasked(const control::ReceivedPacket& packet, std::span<const std::byte> body);
  Result<control::WaitDone> cancel();

  UniqueFd socket_;
  std::optional<ucred> identity_;
  uint64_t channel_ = 0;
  pid_t daemon_pid_ = 0;
  bool healthy_ = true;
  std::optional<control::WaitDone> wait_done_;
  bool interrupted_ = false;
  std::span<std::byte> news_room_;
  const sigset_t* wait_mask_ = nullptr;
  void (*clean_up_)(void*) = nullptr;
  void* clean_up_context_ = nullptr;
  NotifyHandler notify_handler_ = nullptr;
  void* notify_context_ = nullptr;
};

/// Fills a fixed, NUL-padded name. ENAMETOOLONG: it has more than `kNameBytes - 1` bytes.
Status set_name(char (&field)[control::kNameBytes], const char* name);

}  // namespace mqueuefs::client
