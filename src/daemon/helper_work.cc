#include "daemon/helper_work.h"

#include <fcntl.h>
#include <linux/netlink.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <string_view>

#include "daemon/proc_files.h"
#include "seccomp/sure_answer.h"

// linux/pidfd.h, which does not go with fcntl.h.
#ifndef PIDFD_THREAD
#define PIDFD_THREAD O_EXCL
#endif

namespace mqueuefs::daemon {
namespace {

// What mq_open(2) makes of open(2)'s flags; O_TRUNC does nothing there, others would mean something else here.
constexpr int kOpenFlags = O_ACCMODE | O_NONBLOCK | O_APPEND | O_SYNC | O_DIRECT | O_NOATIME | O_ASYNC |
                           O_NOFOLLOW;
// For a queue that is there, then gone, then there...
constexpr int kMostTries = 100;

struct Opened {
  UniqueFd file;
  bool created = false;
};

// open(2) does not say whether it created the file, which has to be undone if nobody takes it.
Result<Opened> open_or_create(const seccomp::OpenCall& what, int root) {
  const int flags = (what.flags & kOpenFlags) | O_CLOEXEC | O_NOCTTY;
  const char* const name = what.name.c_str();
  for (int attempt = 0; attempt < kMostTries; ++attempt) {
    if ((what.flags & O_CREAT) != 0) {
      UniqueFd fresh(openat(root, name, flags | O_CREAT | O_EXCL, what.mode));
      if (fresh) return Opened{std::move(fresh), true};
      if (errno != EEXIST || (what.flags & O_EXCL) != 0) return last_error("openat");
    }
    if ((what.flags & O_ACCMODE) == O_ACCMODE) {
      // open(2) takes access mode 3 of an existing file, mq_open refuses it (prepare_open, doc/behaviour.md C2).
      struct stat status {};
      if (fstatat(root, name, &status, AT_SYMLINK_NOFOLLOW) == 0) return Error{EINVAL, "access mode"};
      if (errno != ENOENT || (what.flags & O_CREAT) == 0) return last_error("fstatat");
      continue;
    }
    UniqueFd there(openat(root, name, flags));
    if (there) return Opened{std::move(there), false};
    if (errno != ENOENT || (what.flags & O_CREAT) == 0) return last_error("openat");
  }
  return Error{ENOENT, "openat"};
}

void remove_if_same(int root, const char* name, int file) {
  struct stat made {};
  struct stat there {};
  if (fstat(file, &made) == 0 && fstatat(root, name, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
      made.st_ino == there.st_ino && made.st_dev == there.st_dev) {
    unlinkat(root, name, 0);
  }
}

Result<UniqueFd> fetch(ipc::TaskId task, int descriptor) {
  // A thread may have descriptors of its own (CLONE_FILES); kernels before 6.9 know processes only.
  UniqueFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, task, PIDFD_THREAD)));
  if (!pidfd) {
    const auto status = read_proc(task, "status");
    const size_t tgid = status ? status->find("\nTgid:") : std::string::npos;
    if (tgid == std::string::npos) return Error{EBADF, "task"};
    pidfd = UniqueFd(static_cast<int>(syscall(SYS_pidfd_open, atoi(status->c_str() + tgid + 6), 0)));
  }
  if (!pidfd) return Error{EBADF, "pidfd_open"};
  UniqueFd file(static_cast<int>(syscall(SYS_pidfd_getfd, pidfd.get(), descriptor, 0)));
  if (!file) return Error{errno == EPERM ? EPERM : EBADF, "pidfd_getfd"};
  return file;
}

}  // namespace

namespace {

// How long the same call has to come again.
constexpr int kRetryWithinMs = 20;

// Offers an answer to the call, and if nobody takes it to the same call when it comes again. `give` answers an id:
// ENOENT: nobody took it; 0, or another error, is the end. The end's code.
template <typename Give>
int give_answer(const Reply& reply, Give give) {
  uint64_t id = reply.call.id;
  for (;;) {
    const int code = give(id);
    if (code != ENOENT) return code;
    pollfd socket{reply.retries, POLLIN, 0};
    uint64_t next = 0;
    if (reply.retries < 0 || poll(&socket, 1, kRetryWithinMs) != 1 || read(reply.retries, &next, sizeof next) != sizeof next)
      return ENOENT;
    id = next;
  }
}

int give_success(const Reply& reply) {
  return give_answer(reply, [&](uint64_t id) {
    return seccomp::answer_surely(*reply.call.listener, id, reply.call.task, 0) ? 0 : ENOENT;
  });
}

}  // namespace

void fail_in_place(const Reply& reply, int error) {
  give_answer(reply, [&](uint64_t id) { return reply.call.listener->fail(id, error) ? 0 : ENOENT; });
}

void open_in_place(const Reply& reply, const seccomp::OpenCall& what, int root) {
  const auto opened = open_or_create(what, root);
  if (!opened) return fail_in_place(reply, opened.code());
  const int code = give_answer(reply, [&](uint64_t id) {
    return reply.call.listener->answer_with_descriptor(id, opened->file.get()).code();
  });
  if (code == 0) return;
  if (opened->created) remove_if_same(root, what.name.c_str(), opened->file.get());
  if (code != ENOENT) fail_in_place(reply, code);
}

void unlink_in_place(const Reply& reply, const std::string& name, int root) {
  if (unlinkat(root, name.c_str(), 0) < 0) return fail_in_place(reply, errno);
  if (give_success(reply) == 0) return;
  // This brings the same queue back (ipc::Announced).
  const UniqueFd restored(openat(root, name.c_str(), O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0));
}

void mount_in_place(const Reply& reply, const std::string& target, int mount) {
  if (syscall(SYS_move_mount, mount, "", AT_FDCWD, target.c_str(),
              MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_SYMLINKS | MOVE_MOUNT_T_AUTOMOUNTS) < 0) {
    return fail_in_place(reply, errno);
  }
  if (give_success(reply) != 0) umount2(target.c_str(), MNT_DETACH);
}

int set_nonblocking_in_place(ipc::TaskId task, int descriptor, uint64_t inode, bool nonblocking) {
  const auto file = fetch(task, descriptor);
  if (!file) return file.code();
  struct statx status {};
  if (statx(file->get(), "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_INO, &status) < 0 || status.stx_ino != inode)
    return EBADF;
  const int flags = fcntl(file->get(), F_GETFL);
  const int wanted = nonblocking ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
  return flags >= 0 && fcntl(file->get(), F_SETFL, wanted) == 0 ? 0 : errno;
}

Result<UniqueFd> fetch_netlink_socket(ipc::TaskId task, int descriptor) {
  auto file = fetch(task, descriptor);
  if (!file) return file.error();
  struct stat status {};
  if (fstat(file->get(), &status) < 0 || !S_ISSOCK(status.st_mode)) return Error{ENOTSOCK, "netlink"};
  int domain = 0;
  socklen_t length = sizeof domain;
  if (getsockopt(file->get(), SOL_SOCKET, SO_DOMAIN, &domain, &length) < 0 || domain != AF_NETLINK)
    return Error{EINVAL, "netlink"};
  sockaddr_nl address{};
  length = sizeof address;
  if (getsockname(file->get(), reinterpret_cast<sockaddr*>(&address), &length) < 0) return last_error("getsockname");
  if (address.nl_pid == 0) {
    // Only one that has a number can be sent to; the kernel chooses it.
    address = {};
    address.nl_family = AF_NETLINK;
    if (bind(file->get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0) return last_error("bind");
  }
  return file;
}

}  // namespace mqueuefs::daemon
