// Whether a kernel IPC namespace still lives, asked of its own message queue file system.
//
// For kernels that open no file handle of a namespace (before 6.18). A detached mount of the namespace's mqueue
// superblock holds no reference on the namespace, and outlives it. Creating a queue there answers EACCES once the
// namespace has ended (ipc/mqueue.c:mqueue_create_attr looks for the namespace first, then at queues_max, then at
// RLIMIT_MSGQUEUE), and with a limit of 0 it answers EMFILE or ENOSPC before: nothing is ever created.
//
// The answer needs the lock of that directory, which a member can hold for as long as it likes (getdents(2) into
// memory whose page never comes). So all of this is for helper processes.
//
// Where no such mount can be made (a kernel without mqueue, a daemon without the rights) holders are searched for in
// /proc, which is slower and sees only what is visible there.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "base/unique_fd.h"

namespace mqueuefs::daemon {

/// Holds nothing of the namespace itself.
struct NamespaceProbe {
  UniqueFd mount;           ///< of its mqueue superblock
  UniqueFd user_namespace;  ///< its owner, entered before asking: there the asker's ids have names. None: not needed
};

enum class NamespaceLife { kLives, kEnded, kUnknown };

/// In a helper process only, which afterwards is in other namespaces. `ipc_namespace` is open on nsfs. The probe has
/// been tried on the living namespace. Errors: those of the system calls; EOPNOTSUPP: it gives no answer.
Result<NamespaceProbe> make_namespace_probe(int ipc_namespace);

/// In a helper process only; may block. The descriptors of a probe; -1: none. kUnknown: a member has changed the directory so that it does not tell.
NamespaceLife ask_namespace_probe(int mount, int user_namespace);

/// In a helper process only; may block. Whether some task that can be seen is in the namespace with this inode, has a
/// descriptor of it, or sees a mount of it.
bool holder_is_seen(uint64_t ipc_inode);

/// Whether probes work on this kernel with these rights; in a helper process only.
bool namespace_probes_work();

}  // namespace mqueuefs::daemon
