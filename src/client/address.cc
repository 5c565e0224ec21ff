#include "client/address.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"

namespace mqueuefs::client {
namespace {

// PROC_USER_INIT_INO of include/linux/proc_ns.h: the one number that the first user namespace always has.
constexpr ino_t kInitialUserNamespaceInode = 0xEFFFFFFD;

__attribute__((format(printf, 3, 4))) void add(Addresses& addresses, PeerRule rule, const char* format, ...) {
  MQUEUEFS_CHECK(addresses.count < Addresses::kMost);
  Address& address = addresses.list[addresses.count];
  va_list arguments;
  va_start(arguments, format);
  const int length = vsnprintf(address.path, sizeof address.path, format, arguments);
  va_end(arguments);
  address.rule = rule;
  // A path that sockets can't have is a place where none can be.
  if (length > 0 && static_cast<size_t>(length) < sizeof address.path) ++addresses.count;
}

}  // namespace

Addresses socket_addresses() {
  Addresses addresses;
  if (const char* chosen = secure_getenv("MQUEUEFS_SOCKET"); chosen != nullptr && *chosen != '\0') {
    add(addresses, PeerRule::kAnyone, "%s", chosen);
    return addresses;
  }

  char own[sizeof(sockaddr_un::sun_path)];
  const char* runtime = secure_getenv("XDG_RUNTIME_DIR");
  if (runtime != nullptr && runtime[0] == '/') {
    snprintf(own, sizeof own, "%s/mqueuefs", runtime);
  } else {
    snprintf(own, sizeof own, "/tmp/mqueuefs-%u", static_cast<unsigned>(geteuid()));
  }
  add(addresses, PeerRule::kSystem, "/run/mqueuefs/mqueuefs.sock");
  add(addresses, PeerRule::kRootOrOurself, "%s/mqueuefs.sock", own);

  // A daemon inside a user namespace can't see who is outside, so it doesn't take the names above.
  struct stat user_namespace {};
  if (stat("/proc/self/ns/user", &user_namespace) == 0 && user_namespace.st_ino != kInitialUserNamespaceInode) {
    const auto inode = static_cast<unsigned long>(user_namespace.st_ino);
    add(addresses, PeerRule::kRootOrOurself, "/run/mqueuefs/mqueuefs-userns-%lu.sock", inode);
    add(addresses, PeerRule::kRootOrOurself, "%s/mqueuefs-userns-%lu.sock", own, inode);
  }
  return addresses;
}

}  // namespace mqueuefs::client
