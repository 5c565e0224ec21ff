// Reading the files of a task under /proc, and its namespaces. The texts are parsed by proc_text.h.
//
// Task numbers are those of the daemon's pid namespace; a thread's id does as well as a process's. Nothing here
// says that two reads were of the same task: numbers are used again.
//
// Which files the loop may read: execve(2) holds the task's exec_update_lock while it closes the descriptors that are
// close-on-exec. If one is a queue's, it waits there for this daemon's answer to FLUSH; if one belongs to another file
// server, it may wait for ever. `status`, `limits`, `uid_map` and `gid_map` are read without that lock. `stat`, `maps`,
// `pagemap` and all of `ns/` wait for it, and so does everything that asks for them. Namespaces are therefore asked of a
// pidfd (Linux 6.11), which takes no such lock; only older kernels are asked through `ns/`.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"

namespace mqueuefs::daemon {

/// The inode that PROC_USER_INIT_INO (include/linux/proc_ns.h) gives the first user namespace.
inline constexpr uint64_t kInitialUserNamespaceInode = 0xEFFFFFFD;

/// The whole of /proc/TASK/`file`. Errors: those of open(2) and read(2); ENOENT, ESRCH: no such task.
Result<std::string> read_proc(pid_t task, const char* file);

/// Opens /proc/TASK/`file`, read-only and close-on-exec.
Result<UniqueFd> open_proc(pid_t task, const char* file);

/// The task's namespace of `kind`: "ipc", "pid" or "user". Errors: ENOENT, ESRCH: no such task; EACCES: not ours to
/// know; EOPNOTSUPP: the kernel has no such namespaces.
Result<UniqueFd> open_namespace_of(pid_t task, const char* kind);

/// The inode of that namespace, which names it while it lives. Errors: the same.
Result<uint64_t> namespace_inode_of(pid_t task, const char* kind);

/// The same of an open namespace.
Result<uint64_t> inode_of(int fd);

}  // namespace mqueuefs::daemon
