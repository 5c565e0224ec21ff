// What helper processes of the system-call front door do, in the target's place (target_identity.h): the calls
// that make, remove and mount, each undone if nobody takes its answer.
//
// A call that is interrupted mostly comes again, and then is to find what it has done, not a second time of it, or a
// target that is interrupted often would never get on. So a helper whose answer nobody took waits a moment for the
// number of the same call's next notification, on `retries`, before it undoes what it did.
//
// In a helper process only: all of this may block. Each answers the call.
#pragma once

#include "seccomp/host.h"

namespace mqueuefs::daemon {

/// Where the answer goes.
struct Reply {
  const seccomp::HelperCall& call;
  int retries = -1;  ///< a socket; each packet is an id
};

/// mq_open(2), under the root directory of the namespace's superblock.
void open_in_place(const Reply& reply, const seccomp::OpenCall& what, int root);
/// mq_unlink(2).
void unlink_in_place(const Reply& reply, const std::string& name, int root);
/// mount(2): attaches a detached mount.
void mount_in_place(const Reply& reply, const std::string& target, int mount);
/// The call has failed.
void fail_in_place(const Reply& reply, int error);

/// F_SETFL of the task's descriptor, if it is the file `inode` still.
int set_nonblocking_in_place(ipc::TaskId task, int descriptor, uint64_t inode, bool nonblocking);
/// The task's netlink socket, bound. EBADF, EINVAL: it is none.
Result<UniqueFd> fetch_netlink_socket(ipc::TaskId task, int descriptor);

}  // namespace mqueuefs::daemon
