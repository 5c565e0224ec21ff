// Which daemon a process uses: the one decision, for the library, the preloaded library and the commands.
//
//   $MQUEUEFS_SOCKET is set     the daemon there, and no other
//   root, the group `mqueuefs`  the system's daemon, also while it does not run
//   any other user              a daemon of the user's own, whatever root runs; the system's only if its socket is
//                               open to everybody
//
// So the answer changes with the user's groups and with the socket's mode, which an administrator sets, and never with
// which daemon happens to run. The group is looked up in /etc/group by hand: name services allocate memory and load
// libraries, which a library in somebody else's program must not.
//
// Inside a user namespace the ids of the outside have no names, so there the system's socket counts if it can be
// opened, and a daemon inside has a name of its own.
//
// A socket at a place that is looked at could be anybody's who can write to its folder, so a place counts only if
// nobody but root or the user can have made it; $MQUEUEFS_SOCKET is the user's own word, and ignored by set-uid programs.
#pragma once

#include <sys/un.h>

#include <cstddef>

namespace mqueuefs::client {

inline constexpr const char* kSystemSocketGroup = "mqueuefs";

/// What the socket's peer must be.
enum class PeerRule {
  kAnyone,         ///< named by the user
  kSystem,         ///< in a directory that only root writes: no more to check
  kRootOrOurself,  ///< a directory of the user's: the daemon runs as that user or as root
};

enum class Domain { kChosen, kSystem, kOwn };

struct Address {
  char path[sizeof(sockaddr_un::sun_path)];
  PeerRule rule;
};

/// Places in the order in which they are tried; fixed size, no allocation.
struct Addresses {
  static constexpr size_t kMost = 4;
  Address list[kMost];
  size_t count = 0;
  Domain domain = Domain::kOwn;
  bool may_start = true;  ///< a daemon that this process starts would listen at one of them
};

/// Where this process's requests go. Reads the environment (not for set-uid programs), /proc/self/ns/user, /etc/group.
Addresses socket_addresses();

/// Where a daemon that this process starts listens: the first whose folder can be had.
Addresses places_to_listen();

/// The system's and the user's own, whichever of them is in use.
Addresses known_addresses();

/// The step of Connection::connect()'s ECONNREFUSED if only the system's daemon would do, which this process can't start.
extern const char* const kSystemIsDown;

/// The number of the group whose members use the system's daemon; false: there is none.
bool system_group(unsigned& number);

}  // namespace mqueuefs::client
