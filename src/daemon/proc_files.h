// Reading the files of a task under /proc. The texts are parsed by proc_text.h.
//
// Task numbers are those of the daemon's pid namespace; a thread's id does as well as a process's. None of
// this blocks. Nothing here says that two reads were of the same task: numbers are used again.
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

/// The inode of /proc/TASK/ns/`kind`, which names the namespace while it lives. EACCES: not ours to know.
Result<uint64_t> namespace_inode_of(pid_t task, const char* kind);

/// The same of an open namespace.
Result<uint64_t> inode_of(int fd);

}  // namespace mqueuefs::daemon
