#include "client/queue.h"

#include <limits.h>
#include <string.h>
#include <sys/stat.h>
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

Result<UniqueFd> open_at(int root, const char* name, int oflag, mode_t mode) {
  for (;;) {
    UniqueFd queue(openat(root, name, oflag, mode));
    if (queue) return queue;
    // mq_open(3) knows no EINTR: here it means that the request had not been looked at.
    if (errno != EINTR) return last_error("openat");
  }
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
  const bool announced = (oflag & O_CREAT) != 0 && attributes != nullptr;
  if (announced) {
    request.announcement.present = 1;
    request.announcement.maxmsg = attributes->maxmsg;
    request.announcement.msgsize = attributes->msgsize;
    if (const Status named = set_name(request.announcement.name, *name); !named) return named.error();
  }
  auto root = fetch_root(connection, request);
  if (!root) return root.error();

  // O_NOFOLLOW and O_NOCTTY change nothing for a queue, and guard against a server that shows something else.
  const int flags = (oflag & ~O_TRUNC) | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY;
  if ((oflag & O_ACCMODE) == O_ACCMODE && (oflag & (O_CREAT | O_EXCL)) != (O_CREAT | O_EXCL)) {
    // open(2) takes access mode 3 of an existing file, mq_open refuses it (prepare_open, SPEC C2).
    struct stat status {};
    if (fstatat(root->get(), *name, &status, AT_SYMLINK_NOFOLLOW) == 0) {
      if (announced) withdraw(connection);
      return Error{EINVAL, "access mode"};
    }
  }
  auto queue = open_at(root->get(), *name, flags, mode);
  if (!queue && announced) withdraw(connection);
  return queue;
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
