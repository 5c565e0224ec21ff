// The calls, one function each; each checks in the order of the kernel's (ipc/mqueue.c, doc/behaviour.md C, E, F).
#include <fcntl.h>
#include <limits.h>
#include <mqueue.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>

#include <utility>

#include "seccomp/session.h"

namespace mqueuefs::seccomp {
namespace {

// The kernel's struct mq_attr of a 64-bit process, linux/mqueue.h.
struct Attributes {
  int64_t flags;
  int64_t maxmsg;
  int64_t msgsize;
  int64_t curmsgs;
  int64_t reserved[4];
};

// linux/time.h: __kernel_timespec.
struct TimeSpec {
  int64_t seconds;
  int64_t nanoseconds;
};

// asm-generic/siginfo.h: sigevent, its first three fields.
struct SignalEvent {
  uint64_t value;
  int32_t signo;
  int32_t notify;
  uint8_t rest[48];
};

constexpr int64_t kSecond_ns = 1'000'000'000;
constexpr size_t kCookieBytes = 32;  // NOTIFY_COOKIE_LEN of linux/mqueue.h

// mount(2): with these flags it makes no new file system and looks at no type.
constexpr uint64_t kOtherMountOperations =
    MS_REMOUNT | MS_BIND | MS_MOVE | MS_SHARED | MS_PRIVATE | MS_SLAVE | MS_UNBINDABLE;

int int_argument(const Notification& call, int index) {
  return static_cast<int>(static_cast<uint32_t>(call.arguments[index]));
}

// The raw call's rules: a slash is a byte that no name has, in front as well (doc/behaviour.md C1).
Status check_name(const std::string& name) {
  if (name.empty()) return Error{ENOENT, "name"};
  if (name.find('/') != std::string::npos || name == "." || name == "..") return Error{EACCES, "name"};
  if (name.size() > NAME_MAX) return Error{ENAMETOOLONG, "name"};
  return {};
}

}  // namespace

std::shared_ptr<ipc::QueueInode> Session::queue_or_go_on(const Notification& call, TargetFile& file) {
  const int descriptor = int_argument(call, 0);
  if (auto queue = targets_.remembered(call, descriptor, file)) return queue;
  const auto found = targets_.file(call, descriptor);
  if (found) {
    file = *found;
    auto queue = host_.find_queue(file.device_major, file.device_minor, file.inode);
    // Access mode 3 (doc/behaviour.md C3), or O_PATH, which is no open file.
    if (queue != nullptr && !file.readable && !file.writable) {
      const auto flags = targets_.flags(call, descriptor);
      if (!flags || (*flags & O_PATH) != 0) queue = nullptr;
    } else if (queue != nullptr) {
      targets_.remember(call, descriptor, file, queue);
    }
    if (queue != nullptr) return queue;
  }
  listener_.let_go_on(call.id);
  return nullptr;
}

void Session::fail(const Notification& call, int error) {
  // What was remembered of another task is no reason.
  if (targets_.is_stranger(call)) return serve_anew(call);
  targets_.fail(call, error);
}

void Session::closed_meanwhile(const Notification& call) {
  if (targets_.is_stranger(call)) return serve_anew(call);
  listener_.let_go_on(call.id);  // EBADF, or what is there now
}

// ipc/mqueue.c:prepare_timeout.
Result<std::optional<int64_t>> Session::deadline_of(const Notification& call, uint64_t address) {
  if (address == 0) return std::optional<int64_t>();
  const auto time = targets_.read_value<TimeSpec>(call, address);
  if (!time) return time.error();
  if (time->seconds < 0 || time->nanoseconds < 0 || time->nanoseconds >= kSecond_ns) return Error{EINVAL, "timeout"};
  if (time->seconds >= INT64_MAX / kSecond_ns) return std::optional<int64_t>(INT64_MAX);
  return std::optional<int64_t>(time->seconds * kSecond_ns + time->nanoseconds);
}

ipc::WaitRequest Session::wait_request(const Notification& call, const std::optional<int64_t>& deadline_ns) {
  ipc::TaskInfo& tasks = host_.tasks();
  return {.rank = tasks.rank_of(call.task), .process = tasks.process_of(call.task), .deadline_ns = deadline_ns};
}

void Session::timed_send(const Notification& call) {
  const auto deadline_ns = deadline_of(call, call.arguments[4]);
  if (!deadline_ns) return void(fail(call, deadline_ns.code()));
  const auto priority = static_cast<uint32_t>(call.arguments[3]);
  if (priority >= kPriorities) return void(fail(call, EINVAL));
  TargetFile file;
  const auto queue = queue_or_go_on(call, file);
  if (queue == nullptr) return;
  if (!file.writable) return void(fail(call, EBADF));
  const uint64_t size = call.arguments[2];
  if (size > queue->attributes().msgsize) return void(fail(call, EMSGSIZE));
  payload_.resize(size);
  if (const Status got = targets_.read(call, call.arguments[1], payload_); !got)
    return void(fail(call, EFAULT));

  ipc::Sender sender{.task = call.task};
  if (const pid_t owner = queue->registered_process(); owner != 0) {
    // The notification tells who it was, and comes when he has his answer and may be gone.
    sender.uid = host_.uid_of(call.task);
    sender.seen_as = host_.tasks().pid_seen_by(host_.tasks().process_of(call.task), owner);
  }
  Status answered;
  const auto sent = queue->send_if(priority, payload_, sender, [&] {
    answered = targets_.answer(call, 0);
    return answered.ok();
  });
  if (answered.code() == ESTALE) return serve_anew(call);
  if (sent || sent.code() != EAGAIN) {
    if (!sent) fail(call, sent.code());
    return;
  }
  const auto flags = targets_.flags(call, int_argument(call, 0));
  if (!flags) return closed_meanwhile(call);
  if ((*flags & O_NONBLOCK) != 0) return void(fail(call, EAGAIN));
  sender.uid = host_.uid_of(call.task);
  BlockedCall& blocked = block(call, {});
  const Status waiting =
      queue->wait_to_send_if(priority, payload_, sender, blocked, wait_request(call, *deadline_ns));
  if (waiting) return;
  call_over(call.id);
  if (waiting.code() == EAGAIN) return serve(call);  // what it would have waited for is there
  fail(call, waiting.code());
}

void Session::timed_receive(const Notification& call) {
  const auto deadline_ns = deadline_of(call, call.arguments[4]);
  if (!deadline_ns) return void(fail(call, deadline_ns.code()));
  TargetFile file;
  const auto queue = queue_or_go_on(call, file);
  if (queue == nullptr) return;
  if (!file.readable) return void(fail(call, EBADF));
  const ReceiveBuffer buffer{call.arguments[1], call.arguments[3]};
  Status answered;
  const auto received =
      queue->receive_if(call.arguments[2], [&](const MessageInfo& info, std::span<const std::byte> payload) {
        answered = answer_receive(targets_, call, buffer, info, payload);
        return answered.ok();
      }, call.task);
  if (answered.code() == ESTALE) return serve_anew(call);
  // The kernel's mq_timedreceive(2) loses the message here; it stays in the queue.
  if (answered.code() == EFAULT) return void(fail(call, EFAULT));
  if (received || received.code() != EAGAIN) {
    if (!received) fail(call, received.code());
    return;
  }
  const auto flags = targets_.flags(call, int_argument(call, 0));
  if (!flags) return closed_meanwhile(call);
  if ((*flags & O_NONBLOCK) != 0) return void(fail(call, EAGAIN));
  BlockedCall& blocked = block(call, buffer);
  const Status waiting = queue->wait_to_receive_if(blocked, wait_request(call, *deadline_ns));
  if (waiting) return;
  call_over(call.id);
  if (waiting.code() == EAGAIN) return serve(call);  // what it would have waited for is there
  fail(call, waiting.code());
}

void Session::get_set_attributes(const Notification& call) {
  const uint64_t new_address = call.arguments[1];
  const uint64_t old_address = call.arguments[2];
  std::optional<bool> nonblocking;
  if (new_address != 0) {
    const auto wanted = targets_.read_value<Attributes>(call, new_address);
    if (!wanted) return void(fail(call, EFAULT));
    if ((wanted->flags & ~int64_t{O_NONBLOCK}) != 0) return void(fail(call, EINVAL));
    nonblocking = (wanted->flags & O_NONBLOCK) != 0;
  }
  TargetFile file;
  const auto queue = queue_or_go_on(call, file);
  if (queue == nullptr) return;
  const auto flags = targets_.flags(call, int_argument(call, 0));
  if (!flags) return closed_meanwhile(call);
  Attributes before{};
  before.flags = *flags & O_NONBLOCK;
  before.maxmsg = queue->attributes().maxmsg;
  before.msgsize = queue->attributes().msgsize;
  before.curmsgs = queue->curmsgs();

  // As the kernel: the flag is set also where the old attributes can't be written.
  const auto finish = [call, before, old_address, nonblocking, weak = weak_from_this(), queue](int error) {
    const auto self = weak.lock();
    if (self == nullptr) return;
    if (error == 0 && old_address != 0) {
      const Targets::Piece piece{old_address, std::as_bytes(std::span(&before, 1))};
      const Status written = self->targets_.write(call, std::span(&piece, 1));
      if (written.code() == ESTALE) return self->serve_anew(call);
      if (!written) error = written.code();
    }
    if (error != 0) return void(self->fail(call, error));
    const Status answered = self->targets_.answer(call, 0);
    if (answered.code() == ESTALE) return self->serve_anew(call);
    if (answered && nonblocking) queue->touch();
  };
  if (!nonblocking || *nonblocking == (before.flags != 0)) return finish(0);
  host_.set_nonblocking(call.task, int_argument(call, 0), file.inode, *nonblocking, finish);
}

void Session::notify(const Notification& call) {
  const int descriptor = int_argument(call, 0);
  if (call.arguments[1] == 0) {
    TargetFile file;
    const auto queue = queue_or_go_on(call, file);
    if (queue == nullptr) return;
    const pid_t process = host_.tasks().process_of(call.task);
    const Status answered = targets_.answer(call, 0);
    if (answered.code() == ESTALE) return serve_anew(call);
    if (answered && process != 0) queue->unregister_notification(process);
    return;
  }
  const auto event = targets_.read_value<SignalEvent>(call, call.arguments[1]);
  if (!event) return void(fail(call, EFAULT));
  if (const Status ok = ipc::notification_type_ok(event->notify, event->signo); !ok)
    return void(fail(call, ok.code()));

  ipc::Registration registration;
  registration.process = host_.tasks().process_of(call.task);
  registration.type = event->notify;
  if (event->notify == SIGEV_SIGNAL) {
    registration.signo = event->signo;
    registration.target = host_.make_signal_target(registration.process, event->signo, event->value);
    if (registration.target == nullptr) return void(fail(call, ENOMEM));
  }
  if (event->notify != SIGEV_THREAD) return register_notification(call, descriptor, std::move(registration));

  std::string cookie(kCookieBytes, '\0');
  if (!targets_.read(call, event->value, std::as_writable_bytes(std::span(cookie.data(), cookie.size()))))
    return void(fail(call, EFAULT));
  const auto shared = std::make_shared<ipc::Registration>(std::move(registration));
  host_.make_netlink_target(
      call.task, event->signo, cookie,
      [call, descriptor, shared, weak = weak_from_this()](Result<std::unique_ptr<ipc::NotificationTarget>> target) {
        const auto self = weak.lock();
        if (self == nullptr) return;
        if (!target) return void(self->fail(call, target.code()));
        shared->target = std::move(*target);
        self->register_notification(call, descriptor, std::move(*shared));
      });
}

void Session::register_notification(const Notification& call, int, ipc::Registration registration) {
  TargetFile file;
  const auto queue = queue_or_go_on(call, file);
  if (queue == nullptr) return;
  if (registration.process == 0) return void(fail(call, ESRCH));
  if (queue->has_registration()) return void(fail(call, EBUSY));
  const Status answered = targets_.answer(call, 0);
  if (answered.code() == ESTALE) return serve_anew(call);
  if (!answered) return;
  const Status registered = queue->register_notification(std::move(registration));
  if (!registered) host_.note_misbehaviour(call.task, "a registration that was checked was refused");
}

void Session::open(const Notification& call) {
  OpenCall what;
  if (call.arguments[3] != 0) {
    const auto attributes = targets_.read_value<Attributes>(call, call.arguments[3]);
    if (!attributes) return void(fail(call, EFAULT));
    what.attributes = ipc::RequestedAttributes{attributes->maxmsg, attributes->msgsize};
  }
  auto name = targets_.read_string(call, call.arguments[0], PATH_MAX);
  if (!name) return void(fail(call, name.code()));
  if (const Status ok = check_name(*name); !ok) return void(fail(call, ok.code()));
  what.name = std::move(*name);
  what.flags = int_argument(call, 1);
  what.mode = static_cast<mode_t>(call.arguments[2]) & 07777;
  host_.open_queue(helper_call(call), what);
}

void Session::unlink(const Notification& call) {
  const auto name = targets_.read_string(call, call.arguments[0], PATH_MAX);
  if (!name) return void(fail(call, name.code()));
  if (const Status ok = check_name(*name); !ok) return void(fail(call, ok.code()));
  host_.unlink_queue(helper_call(call), *name);
}

// fsopen(2). The context of a mount is the kernel's own, and so would be the mount. As on a kernel before 5.2: callers
// fall back to mount(2).
void Session::open_context(const Notification& call) {
  const auto type = targets_.read_string(call, call.arguments[0], 7);  // longer ones are others
  if (!type && targets_.is_late(call)) return void(fail(call, EFAULT));
  if (type && *type == "mqueue") return void(fail(call, ENOSYS));
  listener_.let_go_on(call.id);
}

void Session::mount(const Notification& call) {
  const uint64_t flags = call.arguments[3];
  const uint64_t type_address = call.arguments[2];
  std::string type;
  if ((flags & kOtherMountOperations) == 0 && type_address != 0) {
    // Longer ones are others.
    if (const auto text = targets_.read_string(call, type_address, 7)) {
      type = *text;
    } else if (targets_.is_late(call)) {
      return void(fail(call, EFAULT));
    }
  }
  if (type != "mqueue") return void(listener_.let_go_on(call.id));
  MountCall what;
  what.flags = flags;
  what.source = "none";
  if (call.arguments[0] != 0) {
    auto source = targets_.read_string(call, call.arguments[0], PATH_MAX);
    if (!source) return void(fail(call, source.code() == ENAMETOOLONG ? EINVAL : source.code()));
    what.source = std::move(*source);
  }
  auto target = targets_.read_string(call, call.arguments[1], PATH_MAX);
  if (!target) return void(fail(call, target.code()));
  what.target = std::move(*target);
  // The kernel's mqueue has no options.
  if (call.arguments[4] != 0) {
    const auto first = targets_.read_value<char>(call, call.arguments[4]);
    if (!first || *first != '\0') return void(fail(call, first ? EINVAL : EFAULT));
  }
  host_.mount(helper_call(call), what);
}

}  // namespace mqueuefs::seccomp
