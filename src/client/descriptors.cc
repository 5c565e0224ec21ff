#include "client/descriptors.h"

#include <fcntl.h>

#include <cerrno>

namespace mqueuefs::client {

UniqueFd move_high(UniqueFd fd) {
  // Below 1024, which select(2) and the usual RLIMIT_NOFILE end at.
  constexpr int kLowest[] = {768, 192, 64, 20};
  if (!fd || fd.get() >= kLowest[0]) return fd;
  const int saved = errno;
  for (const int lowest : kLowest) {
    const int high = fcntl(fd.get(), F_DUPFD_CLOEXEC, lowest);
    if (high < 0) continue;
    fd.reset(high);
    break;
  }
  errno = saved;
  return fd;
}

SocketIdentity identity_of(int fd) {
  const int saved = errno;
  struct stat status {};
  const bool is_socket = fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode);
  errno = saved;
  return is_socket ? SocketIdentity{status.st_dev, status.st_ino} : SocketIdentity{};
}

}  // namespace mqueuefs::client
