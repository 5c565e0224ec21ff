// Opening and removing queues: mq_open(2) and mq_unlink(2) as file operations of the caller's own.
//
// mq_open is an openat(2) under the root of the namespace's superblock, done here with the caller's credentials,
// umask and limits, so the descriptor is an ordinary one of the kernel's. The root is fetched for each call and
// not kept: it would keep the superblock alive, and the caller may change its namespace in between.
#pragma once

#include <fcntl.h>
#include <sys/types.h>

#include <cstdint>

#include "base/result.h"
#include "base/unique_fd.h"
#include "client/connection.h"

namespace mqueuefs::client {

/// mq_attr's two that count on create.
struct Attributes {
  int64_t maxmsg = 0;
  int64_t msgsize = 0;
};

/// The rules for names of mq_open(2) (ipc/mqueue.c, doc/behaviour.md C1), after stripping one leading slash, which is the
/// file name then. ENOENT: empty; ENAMETOOLONG: over 255 bytes; EACCES: a '/' inside, "." or "..".
Result<const char*> file_name_of(const char* queue_name);

/// The root of a namespace's superblock, O_PATH. `namespace_name` "": the calling thread's own namespace.
///
/// Errors: ENOENT: no namespace of that name; what the daemon says otherwise.
Result<UniqueFd> open_root(Connection& connection, const char* namespace_name);

/// mq_open(2). `oflag` as for open(2); O_CLOEXEC is always set; O_TRUNC and flags that
/// mean nothing to a queue do nothing. `attributes` may be null;
/// they take effect if the queue is created by this call.
///
/// Errors (doc/behaviour.md C2, C5): EINVAL: an existing queue and access mode 3, or attributes out of range; ENOENT, EEXIST,
/// EACCES, ENOSPC, EMFILE, EOVERFLOW, ENOMEM, EROFS, and those of open_root.
Result<UniqueFd> open_queue(Connection& connection, const char* namespace_name, const char* queue_name, int oflag,
                            mode_t mode, const Attributes* attributes);

/// mq_unlink(2): ENOENT, EPERM (sticky directory), EACCES, EROFS, and those of open_root.
Status unlink_queue(Connection& connection, const char* namespace_name, const char* queue_name);

}  // namespace mqueuefs::client
