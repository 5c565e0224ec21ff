#include "client/queue.h"

#include <limits.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "client/descriptors.h"

namespace mqueuefs::client {
namespace {

using control::Type;

Result<UniqueFd> fetch_root(Connection& connection, const control::OpenRoot& request) {
  auto reply = connection.request(Type::kOpenRoot, control::bytes_of(request));
  if (!reply) return reply.error();
  if (!reply->fd) return Error{EPROTO, "reply without descriptor"};
  // Not under the number that the queue is to have.
  return move_high(std::move(reply->fd));
}

// Whatever was announced must not meet a later create of this thread that comes another way.
void withdraw(Connection& connection) { static_cast<void>(connection.request(Type::kWithdraw, {}).ok()); }

// F_GETFL shows O_NOFOLLOW to who asks openat(2) for it, the kernel's mq_open only what it was given. (And O_LARGEFILE,
// which both calls set in 64-bit processes and nothing takes away.)
int open_as_asked(int root, const char* name, int oflag, mode_t mode) {
  // The rest means nothing to a queue, or, unknown to openat2(2), is an error there.
  constexpr int kKnown = O_ACCMODE | O_CREAT | O_EXCL | O_NOCTTY | O_APPEND | O_NONBLOCK | O_SYNC | O_DSYNC | O_ASYNC |
                         O_DIRECT | O_NOATIME | O_CLOEXEC | O_NOFOLLOW | O_PATH;
  // O_NOCTTY, and no links, guard against a server that shows something else than queues.
  const int flags = (oflag & kKnown) | O_CLOEXEC | O_NOCTTY;
  if ((flags & O_PATH) == 0) {
    open_how how{};
    how.flags = static_cast<uint64_t>(flags);
    how.mode = (flags & O_CREAT) != 0 ? mode & 07777 : 0;
    how.resolve = RESOLVE_NO_SYMLINKS;
    const long fd = syscall(SYS_openat2, root, name, &how, sizeof how);
    // A kernel before 5.6, or a filter that does not know it.
    if (fd >= 0 || (errno != ENOSYS && errno != EPERM)) return static_cast<int>(fd);
  }
  return openat(root, name, flags | O_NOFOLLOW, mode);
}

// mq_open(3) has no EINTR: from a FUSE file it means that the request was not handled.
UniqueFd open_uninterrupted(int root, const char* name, int oflag, mode_t mode) {
  for (;;) {
    UniqueFd queue(open_as_asked(root, name, oflag, mode));
    if (queue || errno != EINTR) return queue;
  }
}

// Creates the queue or opens the existing one, in two calls that the kernel's check for sticky directories
// (fs.protected_regular of sysctl/fs, fs/namei.c:may_create_in_sticky) does not apply to: it refuses O_CREAT without
// O_EXCL on another user's file, mq_open(2) does not. Each call is atomic. ENOENT: the queue went between the two.
Result<UniqueFd> create_or_open(int root, const char* name, int oflag, mode_t mode) {
  UniqueFd queue = open_uninterrupted(root, name, oflag | O_EXCL, mode);
  if (!queue && errno == EEXIST) queue = open_uninterrupted(root, name, oflag & ~O_CREAT, 0);
  if (!queue) return last_error("openat");
  return queue;
}

Result<UniqueFd> open_at(int root, const char* name, int oflag, mode_t mode) {
  UniqueFd queue = open_uninterrupted(root, name, oflag, mode);
  if (queue) return queue;
  if (errno == EACCES && (oflag & (O_CREAT | O_EXCL)) == O_CREAT) return create_or_open(root, name, oflag, mode);
  return last_error("openat");
}

}  // namespace

Result<const char*> file_name_of(const char* queue_name) {
  const char* name = *queue_name == '/' ? queue_name + 1 : queue_name;
  if (*name == '\0') return Error{ENOENT, "queue name"};
  if (strnlen(name, NAME_MAX + 1) > NAME_MAX) return Error{ENAMETOOLONG, "queue name"};
  if (strchr(name, '/') != nullptr) return Error{EACCES, "queue name"};
  if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) return Error{EACCES, "queue name"};
  return name;
}

Result<UniqueFd> open_root(Connection& connection, const char* namespace_name) {
  control::OpenRoot request{};
  if (const Status named = set_name(request.target.name, namespace_name); !named) return named.error();
  return fetch_root(connection, request);
}

Result<UniqueFd> open_queue(Connection& connection, const char* namespace_name, const char* queue_name, int oflag,
                            mode_t mode, const Attributes* attributes) {
  const auto name = file_name_of(queue_name);
  if (!name) return name.error();
  control::OpenRoot request{};
  if (const Status named = set_name(request.target.name, namespace_name); !named) return named.error();
  const bool for_neither = (oflag & O_ACCMODE) == O_ACCMODE;
  const bool announced = (oflag & O_CREAT) != 0 && (attributes != nullptr || for_neither);
  if (announced) {
    if (attributes != nullptr) {
      request.announcement.present |= control::kAnnounceAttributes;
      request.announcement.maxmsg = attributes->maxmsg;
      request.announcement.msgsize = attributes->msgsize;
    }
    if (for_neither) request.announcement.present |= control::kAnnounceNeither;
    if (const Status named = set_name(request.announcement.name, *name); !named) return named.error();
  }
  constexpr int kMostTries = 100;  // others may create and unlink it for as long as they like
  for (int tries = 1;; ++tries) {
    const auto root = fetch_root(connection, request);
    if (!root) return root.error();
    if (for_neither && (oflag & (O_CREAT | O_EXCL)) != (O_CREAT | O_EXCL)) {
      // open(2) takes access mode 3 of an existing file, mq_open refuses it (prepare_open, doc/behaviour.md C2).
      struct stat status {};
      if (fstatat(root->get(), *name, &status, AT_SYMLINK_NOFOLLOW) == 0) {
        if (announced) withdraw(connection);
        return Error{EINVAL, "access mode"};
      }
    }
    auto queue = open_at(root->get(), *name, oflag, mode);
    // The queue that create_or_open() found is gone: announce and create again.
    if (queue.code() == ENOENT && (oflag & O_CREAT) != 0 && tries < kMostTries) continue;
    if (!queue && announced) withdraw(connection);
    return queue;
  }
}

Status unlink_queue(Connection& connection, const char* namespace_name, const char* queue_name) {
  const auto name = file_name_of(queue_name);
  if (!name) return name.error();
  const auto root = open_root(connection, namespace_name);
  if (!root) return root.error();
  while (unlinkat(root->get(), *name, 0) != 0) {
    if (errno != EINTR) return last_error("unlinkat");
  }
  return {};
}

}  // namespace mqueuefs::client
