#include "daemon/socket_place.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "daemon/proc_files.h"

namespace mqueuefs::daemon {
namespace {

constexpr int kStartLimitMs = 10'000;
constexpr int kLookAgainMs = 10;
constexpr int kBacklog = 4096;

Result<sockaddr_un> address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) return Error{ENAMETOOLONG, "socket path"};
  memcpy(address.sun_path, path.c_str(), path.size());
  return address;
}

void remove_file(const std::string& path) {
  if (unlink(path.c_str()) < 0) {
    // It was another's already, or the directory is gone.
  }
}

/// The directory, if it is there or can be made, and we can write to it.
bool can_have(const std::string& directory, mode_t mode) {
  mkdir(directory.c_str(), mode);
  struct stat status {};
  return lstat(directory.c_str(), &status) == 0 && S_ISDIR(status.st_mode) && status.st_uid == geteuid() &&
         access(directory.c_str(), W_OK | X_OK) == 0;
}

}  // namespace

std::string default_socket_path() {
  if (const char* chosen = secure_getenv("MQUEUEFS_SOCKET"); chosen != nullptr && *chosen != '\0')
    return chosen;
  std::string name = "/mqueuefs.sock";
  if (const auto inode = namespace_inode_of(getpid(), "user");
      inode && *inode != kInitialUserNamespaceInode) {
    name = "/mqueuefs-userns-" + std::to_string(*inode) + ".sock";
  }
  if (geteuid() == 0 && can_have("/run/mqueuefs", 0755)) return "/run/mqueuefs" + name;
  const char* runtime = secure_getenv("XDG_RUNTIME_DIR");
  if (runtime != nullptr && runtime[0] == '/') return std::string(runtime) + "/mqueuefs" + name;
  return "/tmp/mqueuefs-" + std::to_string(geteuid()) + name;
}

Status SocketPlace::make_directory() {
  const size_t slash = path_.rfind('/');
  directory_ = slash == std::string::npos ? "." : path_.substr(0, slash == 0 ? 1 : slash);
  // Root's serves everybody.
  const mode_t mode = geteuid() == 0 ? 0755 : 0700;
  if (mkdir(directory_.c_str(), mode) == 0) {
    if (chmod(directory_.c_str(), mode) < 0) return last_error("chmod");  // not what umask makes of it
  } else if (errno != EEXIST) {
    return last_error("mkdir");
  }
  struct stat status {};
  if (lstat(directory_.c_str(), &status) < 0) return last_error("stat");
  if (!S_ISDIR(status.st_mode)) return Error{ENOTDIR, "socket directory"};
  // Somebody else's directory, /tmp/mqueuefs-1000 for example, could be made to serve us his socket.
  if (status.st_uid != geteuid() && status.st_uid != 0)
    return Error{EPERM, "the socket's directory is another user's"};
  return {};
}

bool SocketPlace::try_lock() {
  UniqueFd lock(open(lock_path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!lock || flock(lock.get(), LOCK_EX | LOCK_NB) < 0) return false;
  struct stat locked {};
  struct stat named {};
  if (fstat(lock.get(), &locked) < 0 || stat(lock_path_.c_str(), &named) < 0) return false;
  if (locked.st_ino != named.st_ino || locked.st_dev != named.st_dev)
    return false;  // its owner has just left
  lock_ = std::move(lock);
  return true;
}

bool SocketPlace::is_served() const {
  const auto address = address_of(path_);
  const UniqueFd trial(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!address || !trial) return false;
  // EAGAIN: its backlog is full.
  return connect(trial.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof *address) == 0 ||
         errno == EAGAIN;
}

Status SocketPlace::listen() {
  const auto address = address_of(path_);
  if (!address) return address.error();
  UniqueFd fresh(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fresh) return last_error("socket");
  remove_file(path_);  // stale: we have the lock
  if (bind(fresh.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof *address) < 0)
    return last_error("bind");
  bound_ = true;
  if (chmod(path_.c_str(), geteuid() == 0 ? 0666 : 0600) < 0) return last_error("chmod");
  if (::listen(fresh.get(), kBacklog) < 0) return last_error("listen");
  socket_ = std::move(fresh);
  return {};
}

Status SocketPlace::take_over(UniqueFd socket) {
  sockaddr_un address{};
  socklen_t size = sizeof address;
  int type = 0, listens = 0;
  socklen_t int_size = sizeof type;
  if (getsockopt(socket.get(), SOL_SOCKET, SO_TYPE, &type, &int_size) < 0 ||
      getsockopt(socket.get(), SOL_SOCKET, SO_ACCEPTCONN, &listens, &int_size) < 0 ||
      getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &size) < 0) {
    return last_error("the service manager's socket");
  }
  if (type != SOCK_SEQPACKET || listens == 0 || address.sun_family != AF_UNIX || address.sun_path[0] != '/')
    return Error{EINVAL, "the service manager's socket"};
  const int flags = fcntl(socket.get(), F_GETFL);
  if (flags < 0 || fcntl(socket.get(), F_SETFL, flags | O_NONBLOCK) < 0) return last_error("fcntl");
  path_.assign(address.sun_path, strnlen(address.sun_path, sizeof address.sun_path));
  lock_path_ = path_ + ".lock";
  if (const Status made = make_directory(); !made) return made;
  // One that was started before the manager took the path still has the lock.
  if (!try_lock()) return Error{EADDRINUSE, "another daemon listens there"};
  socket_ = std::move(socket);
  return {};
}

Result<SocketPlace::Found> SocketPlace::take(const std::string& path) {
  path_ = path;
  lock_path_ = path + ".lock";
  if (const auto address = address_of(path); !address) return address.error();
  for (int waited_ms = 0; waited_ms < kStartLimitMs; waited_ms += kLookAgainMs) {
    // A daemon that leaves takes the directory along.
    if (const Status made = make_directory(); !made) return made.error();
    if (try_lock()) {
      if (const Status listening = listen(); !listening) return listening.error();
      return Found::kOurs;
    }
    if (errno == EACCES || errno == EROFS || errno == EPERM) return last_error("lock file");
    if (is_served()) return Found::kServed;
    const timespec pause{0, kLookAgainMs * 1'000'000};
    nanosleep(&pause, nullptr);
  }
  return Error{EBUSY, "another daemon neither starts nor ends"};
}

void SocketPlace::leave() {
  socket_.reset();
  if (bound_) remove_file(path_);
  bound_ = false;
  if (!lock_) return;
  remove_file(lock_path_);
  lock_.reset();
  // Only if it is empty, and never one that is not for us alone.
  const bool ours = directory_.ends_with("/mqueuefs") || directory_.find("/mqueuefs-") != std::string::npos;
  if (ours && rmdir(directory_.c_str()) < 0) {
    // Others are in it.
  }
}

}  // namespace mqueuefs::daemon
