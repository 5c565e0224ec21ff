// The two small protocols of service managers: readiness (sd_notify(3)) and sockets handed over (sd_listen_fds(3)).
//
// Both are spoken without libsystemd: they are documented and frozen, and some lines long here, while the library
// would come with a dozen dependencies into each container that this runs in.
#pragma once

#include "base/result.h"
#include "base/unique_fd.h"

namespace mqueuefs::daemon {

/// "READY=1", "STOPPING=1"; to $NOTIFY_SOCKET, if there is one. Nobody is told of a failure: there is nobody.
void tell_service_manager(const char* state);

struct HandedOver {
  UniqueFd control;     ///< FileDescriptorName=mqueuefs
  UniqueFd containers;  ///< FileDescriptorName=mqueuefs-oci
};

/// The sockets of $LISTEN_FDS, by their names in $LISTEN_FDNAMES; a single one without a name is `control`. Called
/// once; takes the variables out of the environment. EINVAL: one that is neither.
Result<HandedOver> take_handed_over();

}  // namespace mqueuefs::daemon
