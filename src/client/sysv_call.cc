#include "client/sysv_call.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <utility>

#include "client/habit.h"
#include "client/held_signals.h"
#include "client/kernel_call.h"
#include "client/pool.h"

namespace mqueuefs::client {
namespace {

using control::SysvNumber;
using control::Type;

constexpr int64_t kSecond_ns = 1'000'000'000;

// What has to wait is likely to again: by call and object.
constinit Habit habit;
// How often a thread of ours has changed its namespace.
constinit std::atomic<uint32_t> moves{0};

int64_t now_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * kSecond_ns + now.tv_nsec;
}

// "": that of the thread's kernel IPC namespace. What `mqueuefs enter` said does not change; it is looked up once, since
// that costs more than the rest of a call here.
const char* own_namespace() {
  enum : int { kUnknown, kCopying, kKnown };
  static constinit std::atomic<int> state{kUnknown};
  static char copy[control::kNameBytes + 1];  // the program may write over its environment
  if (state.load(std::memory_order_acquire) == kKnown) return copy;
  const char* const name = secure_getenv("MQUEUEFS_NS");
  if (name == nullptr) {
    state.store(kKnown, std::memory_order_release);  // nobody has written to the copy
    return "";
  }
  int unknown = kUnknown;
  if (!state.compare_exchange_strong(unknown, kCopying)) return name;
  const size_t length = strnlen(name, control::kNameBytes);  // one too long stays too long
  memcpy(copy, name, length);
  state.store(kKnown, std::memory_order_release);
  return copy;
}

// One packet from the daemon that has to do with a System V call: its fixed part, then what is for the caller.
struct Packet {
  control::Header header{};
  union {
    control::SysvReply reply{};
    control::CancelReply cancelled;
    control::NotifyThread news;
  };
  size_t tail = 0;  // bytes for the caller
  UniqueFd fd;
};
static_assert(sizeof(control::CancelReply) <= sizeof(control::SysvReply));
static_assert(sizeof(control::NotifyThread) <= sizeof(control::SysvReply));

// Puts the tail where the caller wants it, unseen. EFAULT: it is lost.
Result<Packet> receive(Connection& connection, std::span<std::byte> out) {
  out = out.first(std::min<size_t>(out.size(), control::kSysvMaxBytes));
  Packet packet;
  iovec parts[3] = {{&packet.header, sizeof packet.header},
                    {&packet.reply, sizeof packet.reply},
                    {out.data(), out.size()}};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = out.empty() ? 2 : 3;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t received = 0;
  do {
    received = recvmsg(connection.fd(), &message, MSG_CMSG_CLOEXEC);
  } while (received < 0 && errno == EINTR);
  if (received < 0) {
    const Error error = last_error("recvmsg");
    return error.code == EFAULT ? error : connection.broken(error);
  }
  if (received == 0) return connection.broken({ECONNRESET, "recvmsg"});
  for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr; part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    int fd;
    memcpy(&fd, CMSG_DATA(part), sizeof fd);
    packet.fd.reset(fd);
  }
  const auto size = static_cast<size_t>(received);
  if ((message.msg_flags & MSG_TRUNC) != 0 || size < sizeof packet.header ||
      packet.header.size != size - sizeof packet.header) {
    return connection.broken({EPROTO, "packet size"});
  }
  packet.tail = size > sizeof packet.header + sizeof packet.reply ? size - sizeof packet.header - sizeof packet.reply : 0;
  return packet;
}

class Attempt {
 public:
  Attempt(Call& call, Connection& connection, SysvRequest& request, void (*clean_up)(void*), void* context)
      : cancellable_(request.sleep == SysvSleep::kLikeMessages && call.may_be_cancelled()),
        connection_(connection),
        request_(request),
        clean_up_(clean_up),
        context_(context) {}

  Result<SysvAnswer> run() {
    const bool may_sleep = request_.sleep != SysvSleep::kNever;
    const int what = static_cast<int>(static_cast<uint32_t>(request_.head.id) * 4 + static_cast<uint32_t>(request_.head.number) % 4);
    if (request_.in.size() > control::kSysvMaxBytes) {
      if (const Status staged = stage(); !staged) return staged.error();
    }
    if (!may_sleep) return ask(0);
    if (!habit.waits(what)) {
      auto answer = ask(0);
      if (answer || answer.code() != EAGAIN || outcome_ != control::kSysvWouldWait) return answer;
    }
    for (;;) {
      HeldSignals held;
      auto answer = ask(control::kSysvMayWait);
      const bool interrupted = held.release(HeldSignals::Interrupts::kAlways);
      const bool waits = answer.ok() && outcome_ == control::kSysvWaiting;
      habit.note(what, waits);
      if (!waits) return answer;
      auto served = wait(interrupted);
      // Who was stopped is in the line no longer: again to its end.
      if (served || served.code() != ERESTART) return served;
    }
  }

 private:
  // What is too long for one packet goes ahead of the call; whether it may be so long is asked before it is carried.
  Status stage() {
    const std::span<const std::byte> whole = std::exchange(request_.in, {});
    if (const auto probed = ask(control::kSysvProbe); !probed) return probed.error();
    const auto total = static_cast<uint32_t>(whole.size());
    for (uint32_t offset = 0; offset < total;) {
      const uint32_t size = std::min(total - offset, control::kMaxPieceBytes);
      const control::Stage piece{total, offset};
      const auto staged = connection_.request(Type::kStage, control::bytes_of(piece), {}, -1, whole.subspan(offset, size));
      if (!staged) return staged.error();
      offset += size;
    }
    request_.head.how |= control::kSysvStaged;
    return {};
  }

  Status send(Type type, std::span<const std::byte> body, std::span<const std::byte> tail) {
    control::Header header{};
    header.type = type;
    header.tid = static_cast<int32_t>(syscall(SYS_gettid));
    for (;;) {
      const Status sent =
          control::send_packet(connection_.fd(), header, body, {}, *connection_.identity(), 0, tail);
      if (sent || sent.code() == EFAULT) return sent;
      if (sent.code() != EINTR) return connection_.broken(sent.error());
    }
  }

  Result<SysvAnswer> ask(uint32_t how) {
    struct {
      control::SysvCall call;
      control::Selector target;
    } named;
    named.call = request_.head;
    named.call.how |= how;
    size_t size = sizeof named.call;
    if (const char* name = own_namespace(); *name != '\0') {
      if (const Status set = set_name(named.target.name, name); !set) return set.error();
      named.call.how |= control::kSysvNamed;
      size = sizeof named;
    }
    const Status sent = send(Type::kSysvCall, std::as_bytes(std::span(&named, 1)).first(size), request_.in);
    if (!sent) return sent.error();
    for (;;) {
      auto packet = receive(connection_, request_.out);
      if (!packet) return packet.error();
      if (packet->header.type == Type::kNotifyThread) continue;  // nobody here registered for it
      if (packet->header.type != Type::kSysvCall) return connection_.broken({EPROTO, "reply to another request"});
      outcome_ = packet->reply.outcome;
      if (packet->header.status != 0) return Error{packet->header.status, "daemon"};
      return finish(*packet);
    }
  }

  Result<SysvAnswer> finish(Packet& packet) {
    SysvAnswer answer{packet.reply.value, packet.reply.type, packet.tail, std::move(packet.fd)};
    outcome_ = packet.reply.outcome;
    if (packet.reply.outcome != control::kSysvInPieces) return answer;
    return fetch(std::move(answer));
  }

  // A message that is too long for one packet.
  Result<SysvAnswer> fetch(SysvAnswer answer) {
    const auto total = static_cast<size_t>(answer.value) + sizeof(int64_t);
    if (total > request_.out.size()) return connection_.broken({EPROTO, "message longer than agreed"});
    for (size_t offset = 0; offset < total;) {
      const auto size = static_cast<uint32_t>(std::min<size_t>(total - offset, control::kMaxPieceBytes));
      const control::Fetch piece{static_cast<uint32_t>(offset), size};
      const auto reply =
          connection_.request(Type::kFetch, control::bytes_of(piece), request_.out.subspan(offset, size));
      if (!reply) return reply.code() == EFAULT ? connection_.broken(reply.error()) : reply.error();
      if (reply->size != size) return connection_.broken({EPROTO, "fetch"});
      offset += size;
    }
    answer.size = total;
    return answer;
  }

  Result<SysvAnswer> wait(bool interrupted) {
    int why = interrupted ? EINTR : 0;
    if (why == 0) why = request_.sleep == SysvSleep::kLikeMessages ? sleep_in_poll() : sleep_in_recv();
    if (why != 0) return cancel(why);
    auto packet = receive(connection_, request_.out);
    if (!packet) return lost(packet.error());
    return done(*packet);
  }

  Result<SysvAnswer> done(Packet& packet) {
    if (packet.header.type != Type::kSysvDone) return connection_.broken({EPROTO, "unexpected packet"});
    if (packet.reply.status != 0) return Error{packet.reply.status, "wait"};
    return finish(packet);
  }

  // With the daemon went what was waited for.
  Error lost(Error error) const { return error.code == EFAULT ? error : Error{EIDRM, error.step}; }

  // 0: there is something to be received; EINTR; EAGAIN: the deadline has passed.
  int sleep_in_poll() {
    // ppoll(2): a handler ends it, whatever it was installed with; stopping and continuing does not.
    if (cancellable_) return poll_cancellable(connection_.fd(), clean_up_, context_);
    pollfd readable{connection_.fd(), POLLIN, 0};
    return poll(&readable, 1, -1) < 0 ? errno : 0;
  }

  // (In a function of its own: no object with a destructor may be alive in it.)
  static int poll_cancellable(int socket, void (*clean_up)(void*), void* context) {
    volatile int error = 0;  // read after what may be a longjmp
    pollfd readable{socket, POLLIN, 0};
    pthread_cleanup_push(clean_up, context);
    int state = PTHREAD_CANCEL_DISABLE;
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &state);
    if (kernel_call(SYS_ppoll, reinterpret_cast<long>(&readable), 1, 0, 0, 0) < 0) error = errno;
    pthread_setcancelstate(state, nullptr);
    pthread_cleanup_pop(0);
    return error;
  }

  // A receive with a timeout: a handler ends it, whatever it was installed with, and so does SIGCONT (signal(7)).
  int sleep_in_recv() {
    int why = 0;
    for (;;) {
      timeval limit{1'000'000, 0};
      if (request_.deadline_ns != INT64_MAX) {
        const int64_t left_ns = request_.deadline_ns - now_ns();
        if (left_ns <= 0) {
          why = EAGAIN;
          break;
        }
        const int64_t left_us = std::min<int64_t>((left_ns + 999) / 1000, limit.tv_sec * 1'000'000);
        limit = {left_us / 1'000'000, left_us % 1'000'000};
      }
      set_receive_timeout(limit);
      char first;
      const long peeked = syscall(SYS_recvfrom, connection_.fd(), &first, sizeof first, MSG_PEEK, nullptr, nullptr);
      if (peeked >= 0) break;
      // EAGAIN: the socket counts in ticks of the clock, and may be early by one.
      if (errno != EAGAIN) {
        why = errno;
        break;
      }
    }
    set_receive_timeout({});
    return why == EINTR || why == EAGAIN ? why : 0;
  }

  void set_receive_timeout(timeval limit) {
    syscall(SYS_setsockopt, connection_.fd(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  }

  // It may have been served just before.
  Result<SysvAnswer> cancel(int why) {
    if (const Status sent = send(Type::kCancel, {}, {}); !sent) return lost(sent.error());
    bool served = false;
    Packet news{};
    for (;;) {
      auto packet = receive(connection_, request_.out);
      if (!packet) {
        if (packet.code() != EFAULT) return lost(packet.error());
        why = EFAULT;
        continue;
      }
      if (packet->header.type == Type::kCancel) break;
      if (packet->header.type != Type::kSysvDone) return connection_.broken({EPROTO, "unexpected packet"});
      served = true;
      news = std::move(*packet);
    }
    // Begun anew it would have forgotten the signal.
    if (served && news.reply.status != ERESTART) return done(news);
    return Error{why, "wait"};
  }

  const bool cancellable_;
  Connection& connection_;
  SysvRequest& request_;
  void (*const clean_up_)(void*);
  void* const context_;
  uint32_t outcome_ = 0;
};

}  // namespace

Result<SysvAnswer> sysv_call(Call& call, SysvRequest& request) {
  request.head.moves = moves.load(std::memory_order_relaxed);
  Lease lease;
  auto connection = lease.connection();
  for (bool again = lease.was_idle();; again = false) {
    if (!connection) return Error{errno_without_daemon(connection.code()), connection.error().step};
    Attempt attempt(call, **connection, request, [](void* leased) { static_cast<Lease*>(leased)->drop(); }, &lease);
    auto answer = attempt.run();
    if (!answer && (request.head.how & control::kSysvStaged) != 0 && (*connection)->healthy()) {
      static_cast<void>((*connection)->request(Type::kGiveBack, {}).ok());
    }
    if (answer || !again || (*connection)->healthy() || answer.code() == EIDRM) return answer;
    // A connection that was kept for long may be one to a daemon that is gone.
    connection = lease.renewed();
  }
}

Status sysv_tell(const control::SysvCall& head) {
  // It is kept: its end tells the daemon when another program is executed.
  Lease lease(StartDaemon::kNever);
  const auto connection = lease.connection();
  if (!connection) return connection.error();
  const auto reply = (*connection)->call<control::SysvReply>(Type::kSysvCall, head);
  if (reply) return {};
  lease.drop();
  return reply.error();
}

void sysv_moved() { moves.fetch_add(1, std::memory_order_relaxed); }

}  // namespace mqueuefs::client
