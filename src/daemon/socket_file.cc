#include "daemon/socket_file.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/unique_fd.h"

namespace mqueuefs::daemon {
namespace {

// 0: it was accepted.
int connect_error(const sockaddr_un& address, int type) {
  const UniqueFd trial(socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!trial) return errno;
  return connect(trial.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 ? 0 : errno;
}

}  // namespace

bool is_listened_at(const sockaddr_un& address, int type) {
  const int error = connect_error(address, type);
  return error == 0 || error == EAGAIN;
}

void remove_stale_socket(const sockaddr_un& address, int type) {
  struct stat there {};
  if (lstat(address.sun_path, &there) != 0 || !S_ISSOCK(there.st_mode) || there.st_uid != geteuid()) return;
  if (connect_error(address, type) != ECONNREFUSED) return;
  if (unlink(address.sun_path) < 0) return;  // bind(2) will say it
}

void SocketFile::made(const std::string& path) {
  struct stat there {};
  if (lstat(path.c_str(), &there) != 0) return;
  path_ = path;
  identity_.emplace(there.st_dev, there.st_ino);
}

void SocketFile::remove() {
  struct stat there {};
  if (identity_ && lstat(path_.c_str(), &there) == 0 && std::pair(there.st_dev, there.st_ino) == *identity_)
    if (unlink(path_.c_str()) < 0) return;  // the directory is gone, or read-only by now
  identity_.reset();
}

}  // namespace mqueuefs::daemon
