// mqueuefs_getattr, mqueuefs_setattr, mqueuefs_notify, in the kernel's order of checks (doc/behaviour.md F1, F2).
//
// The attributes of a queue that this process maps are read there: one system call, F_GETFL, since O_NONBLOCK belongs to the
// open file description, which other processes may share.
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>

#include "client/call.h"
#include "client/mapped_transfer.h"
#include "client/notify_thread.h"
#include "client/queue_file.h"
#include "client/transfer.h"
#include "client/user_memory.h"
#include "control/queue_ioctl.h"
#include "mqueuefs/mqueuefs.h"

namespace mqueuefs::client {
namespace {

using control::queue_ioctl;
using control::QueueIoctl;

int attributes(mqd_t queue, const mq_attr* wanted, mq_attr* before) {
  if (wanted == nullptr && before != nullptr && get_mapped_attributes(queue, before)) return 0;
  if (!may_be_queue(queue)) {
    const long result = syscall(SYS_mq_getsetattr, queue, wanted, before);
    if (result == 0 || errno != ENOSYS) return static_cast<int>(result);
    Call call;
    mq_attr copy;
    if (wanted != nullptr && !copy_in(copy, wanted)) return call.fail(EFAULT);
    return call.fail(wanted != nullptr && (copy.mq_flags & ~long{O_NONBLOCK}) != 0 ? EINVAL : EBADF);
  }
  Call call;
  mq_attr copy;
  if (wanted != nullptr) {
    if (!copy_in(copy, wanted)) return call.fail(EFAULT);
    if ((copy.mq_flags & ~long{O_NONBLOCK}) != 0) return call.fail(EINVAL);
  }
  const int flags = fcntl(queue, F_GETFL);
  if (flags < 0) return call.fail(errno);
  // Both questions in one request.
  control::AttributesReply reply{};
  const auto asked = ask(queue, queue_ioctl(wanted != nullptr ? QueueIoctl::kTouch : QueueIoctl::kGetAttributes, sizeof reply),
                         &reply, "attributes");
  if (!asked) return call.fail(asked.code());
  if (wanted != nullptr) {
    // The flag is the open file description's, as any file's.
    const int changed = (flags & ~O_NONBLOCK) | static_cast<int>(copy.mq_flags);
    if (changed != flags && fcntl(queue, F_SETFL, changed) != 0) return call.fail(errno);
  }
  if (before == nullptr) return 0;
  mq_attr seen{};
  seen.mq_flags = flags & O_NONBLOCK;
  seen.mq_maxmsg = reply.maxmsg;
  seen.mq_msgsize = reply.msgsize;
  seen.mq_curmsgs = reply.curmsgs;
  return copy_out(before, seen) ? 0 : call.fail(EFAULT);
}

int notify(mqd_t queue, const sigevent* given) {
  if (!may_be_queue(queue)) {
    // SIGEV_THREAD of the kernel's queues is the C library's own affair.
    using Notify = int (*)(mqd_t, const sigevent*);
    static constinit std::atomic<Notify> real{nullptr};
    Notify function = real.load(std::memory_order_relaxed);
    if (function == nullptr) {
      function = reinterpret_cast<Notify>(dlsym(RTLD_NEXT, "mq_notify"));
      real.store(function, std::memory_order_relaxed);
    }
    const int result = function != nullptr ? function(queue, given)
                                           : static_cast<int>(syscall(SYS_mq_notify, queue, given));
    if (result < 0 && errno == ENOSYS) errno = EBADF;
    return result;
  }
  Call call;
  control::NotifyHeader header{};
  if (given != nullptr) {
    sigevent event;
    if (!copy_in(event, given)) return call.fail(EFAULT);
    const int type = event.sigev_notify;
    if (type != SIGEV_SIGNAL && type != SIGEV_NONE && type != SIGEV_THREAD) return call.fail(EINVAL);
    if (type == SIGEV_SIGNAL && (event.sigev_signo < 0 || event.sigev_signo > 64)) return call.fail(EINVAL);
    if (type == SIGEV_THREAD) {
      const Status registered = notify_by_thread(queue, event);
      return call.finish(registered);
    }
    header.register_it = 1;
    header.type = type;
    header.signo = event.sigev_signo;
    static_assert(sizeof event.sigev_value <= sizeof header.value);
    header.value = reinterpret_cast<uint64_t>(event.sigev_value.sival_ptr);
  }
  const auto asked = ask(queue, queue_ioctl(QueueIoctl::kNotify, sizeof header), &header, "notify");
  return asked ? 0 : call.fail(asked.code());
}

}  // namespace
}  // namespace mqueuefs::client

using namespace mqueuefs::client;

extern "C" {

int mqueuefs_getattr(mqd_t queue, struct mq_attr* before) { return attributes(queue, nullptr, before); }

int mqueuefs_setattr(mqd_t queue, const struct mq_attr* wanted, struct mq_attr* before) {
  return attributes(queue, wanted, before);
}

int mqueuefs_notify(mqd_t queue, const struct sigevent* event) { return notify(queue, event); }

}  // extern "C"
