// Descriptors that the library has for itself, in a program that does not know of them.
//
// A program may count on the number of its next descriptor, close all that there are, or put others in their
// place. So ours have high numbers, and one that was kept is looked at again before each use.
#pragma once

#include <sys/stat.h>

#include "base/unique_fd.h"

namespace mqueuefs::client {

/// The same file under a number that programs do not expect, close-on-exec; as it is if there is no such number.
/// None stays none, errno as it was.
UniqueFd move_high(UniqueFd fd);

/// Tells one open socket of this system from all others.
struct SocketIdentity {
  dev_t device = 0;
  ino_t inode = 0;

  bool operator==(const SocketIdentity&) const = default;
};

/// All 0: not a socket. Does not change errno.
SocketIdentity identity_of(int fd);

}  // namespace mqueuefs::client
