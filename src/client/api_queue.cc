// Opening, closing and removing: mqueuefs_open and its kin. The names' rules are those of the C library first
// (EINVAL without a leading slash), then the kernel's.
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "client/call.h"
#include "client/mapped_queues.h"
#include "client/queue.h"
#include "client/queue_file.h"
#include "client/user_memory.h"
#include "mqueuefs/mqueuefs.h"

namespace mqueuefs::client {
namespace {

// Which namespace the caller's own is: its kernel IPC namespace's, or, where the kernel has none, what
// `mqueuefs enter` said.
const char* own_namespace() {
  const char* name = secure_getenv("MQUEUEFS_NS");
  return name != nullptr ? name : "";
}

// What the C library says of a name.
Status check_slash(const char* name) {
  if (!readable(name, 1)) return Error{EFAULT, "name"};
  return name[0] == '/' ? Status() : Error{EINVAL, "name"};
}

// What the kernel then says of it, before anybody is asked.
Status check_name(const char* name) {
  const ptrdiff_t length = readable_length(name, PATH_MAX);
  if (length < 0) return Error{EFAULT, "name"};
  if (length == PATH_MAX) return Error{ENAMETOOLONG, "name"};
  const auto file_name = file_name_of(name);
  return file_name ? Status() : file_name.error();
}

// The kernel takes a descriptor before it looks at what the name says (do_mq_open), so that the lack of one is told
// first. Asked only where the call fails anyway.
int unless_no_descriptor_is_left(int code) {
  const UniqueFd trial(eventfd(0, EFD_CLOEXEC));
  return trial || (errno != EMFILE && errno != ENFILE) ? code : errno;
}

// Calls `work` with a connection; a second time with a new one if a kept one was the dead daemon's.
template <typename Work>
int with_connection(Call& call, Work work) {
  Lease lease;
  auto connection = lease.connection();
  for (bool again = lease.was_idle();; again = false) {
    if (!connection) return call.fail(errno_without_daemon(connection.code()));
    const auto done = work(**connection);
    if (done) return *done;
    if (!again || (*connection)->healthy()) return call.fail(done.code());
    connection = lease.renewed();
  }
}

mqd_t open_in(const char* namespace_name, const char* name, int oflag, mode_t mode, const mq_attr* given) {
  Call call;
  // Name, attributes, name: first the C library, then the kernel.
  if (const Status slash = check_slash(name); !slash) return call.fail(slash.code());
  Attributes attributes;
  if (given != nullptr) {
    mq_attr copy;
    if (!copy_in(copy, given)) return call.fail(EFAULT);
    attributes = {copy.mq_maxmsg, copy.mq_msgsize};
  }
  if (const Status checked = check_name(name); !checked) {
    const bool before_descriptor = checked.code() == EFAULT || strnlen(name, PATH_MAX) == PATH_MAX;
    return call.fail(before_descriptor ? checked.code() : unless_no_descriptor_is_left(checked.code()));
  }
  return with_connection(call, [&](Connection& connection) -> Result<int> {
    auto queue =
        open_queue(connection, namespace_name, name, oflag, mode, given != nullptr ? &attributes : nullptr);
    if (!queue) return queue.error();
    return queue->release();
  });
}

int unlink_in(const char* namespace_name, const char* name) {
  Call call;
  if (const Status slash = check_slash(name); !slash) return call.fail(slash.code());
  if (const Status checked = check_name(name); !checked) return call.fail(checked.code());
  return with_connection(call, [&](Connection& connection) -> Result<int> {
    const Status unlinked = unlink_queue(connection, namespace_name, name);
    if (unlinked) return 0;
    // mq_unlink(3): POSIX has no EPERM here.
    return unlinked.code() == EPERM ? Error{EACCES, "unlink"} : unlinked.error();
  });
}

}  // namespace
}  // namespace mqueuefs::client

using namespace mqueuefs::client;

extern "C" {

mqd_t mqueuefs_open(const char* name, int oflag, ...) {
  mode_t mode = 0;
  mq_attr* attributes = nullptr;
  if ((oflag & O_CREAT) != 0) {
    va_list arguments;
    va_start(arguments, oflag);
    mode = va_arg(arguments, mode_t);
    attributes = va_arg(arguments, mq_attr*);
    va_end(arguments);
  }
  return open_in(own_namespace(), name, oflag, mode, attributes);
}

mqd_t mqueuefs_open_in(const char* namespace_name, const char* name, int oflag, mode_t mode,
                       const struct mq_attr* attributes) {
  return open_in(namespace_name, name, oflag, mode, attributes);
}

// Not close(): that is a cancellation point, mq_close(3) is none.
int mqueuefs_close(mqd_t queue) {
  descriptor_closes(queue);
  return static_cast<int>(syscall(SYS_close, queue));
}

int mqueuefs_map(mqd_t queue) {
  Call call;
  if (!may_be_queue(queue)) return call.fail(EBADF);
  if (map_queue(queue)) return 0;
  // Neither for reading nor for writing: see mq_open(2) with access mode 3.
  const int flags = fcntl(queue, F_GETFL);
  return call.fail(flags < 0 || (flags & O_ACCMODE) == O_ACCMODE ? EBADF : ENOTSUP);
}

int mqueuefs_unlink(const char* name) { return unlink_in(own_namespace(), name); }

int mqueuefs_unlink_in(const char* namespace_name, const char* name) { return unlink_in(namespace_name, name); }

}  // extern "C"
