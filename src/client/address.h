// Where the daemon's socket may be, and whose daemon may be believed.
//
// A user's requests go to the system's daemon if one runs, else to one of his own. Whoever can make a socket at
// a place that is looked at could play the daemon, so a place counts only if nobody but root or the user himself
// can have made it; $MQUEUEFS_SOCKET is the user's own word, and ignored by set-uid programs.
#pragma once

#include <sys/un.h>

#include <cstddef>

namespace mqueuefs::client {

/// What the socket's peer must be.
enum class PeerRule {
  kAnyone,         ///< named by the user himself
  kSystem,         ///< in a directory that only root writes: no more to check
  kRootOrOurself,  ///< a directory of the user's: the daemon runs as him or as root
};

struct Address {
  char path[sizeof(sockaddr_un::sun_path)];
  PeerRule rule;
};

/// The places in the order in which they are tried; fixed size, no allocation.
struct Addresses {
  static constexpr size_t kMost = 4;
  Address list[kMost];
  size_t count = 0;
};

/// Reads the environment (not for set-uid programs) and /proc/self/ns/user.
Addresses socket_addresses();

}  // namespace mqueuefs::client
