#include "daemon/socket_place.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/fsuid.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

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

/// For files that are made: the mode as it is given, and the group, without a chmod(2) by name afterwards, which could
/// meet another file.
class CreationAs {
 public:
  explicit CreationAs(mode_t mode, std::optional<gid_t> group = {}) : mask_(umask(~mode & 0777)) {
    if (group) group_ = setfsgid(*group);
  }
  ~CreationAs() {
    umask(mask_);
    if (group_) setfsgid(static_cast<gid_t>(*group_));
  }
  CreationAs(const CreationAs&) = delete;
  CreationAs& operator=(const CreationAs&) = delete;

 private:
  mode_t mask_;
  std::optional<int> group_;
};

}  // namespace

Status SocketPlace::make_directory() {
  const size_t slash = path_.rfind('/');
  directory_ = slash == std::string::npos ? "." : path_.substr(0, slash == 0 ? 1 : slash);
  // Root's serves everybody.
  const mode_t mode = geteuid() == 0 ? 0755 : 0700;
  {
    const CreationAs created(mode);
    if (mkdir(directory_.c_str(), mode) < 0 && errno != EEXIST) return last_error("mkdir");
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
  UniqueFd lock(open(lock_path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600));
  if (!lock) return false;
  struct stat locked {};
  struct stat named {};
  if (fstat(lock.get(), &locked) < 0) return false;
  // It is removed at the end: another's file must not be taken for it.
  if (!S_ISREG(locked.st_mode) || locked.st_size != 0 || locked.st_uid != geteuid() || locked.st_nlink > 1) {
    errno = EEXIST;
    return false;
  }
  if (flock(lock.get(), LOCK_EX | LOCK_NB) < 0 || lstat(lock_path_.c_str(), &named) < 0) return false;
  if (locked.st_ino != named.st_ino || locked.st_dev != named.st_dev) {
    errno = EAGAIN;  // its owner has just left
    return false;
  }
  lock_ = std::move(lock);
  return true;
}

Status SocketPlace::listen(const SocketAccess& access) {
  const auto address = address_of(path_);
  if (!address) return address.error();
  UniqueFd fresh(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fresh) return last_error("socket");
  remove_stale_socket(*address, SOCK_SEQPACKET);
  {
    const CreationAs created(access.mode, access.group);
    if (bind(fresh.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof *address) < 0) {
      if (errno == EADDRINUSE) return Error{EEXIST, "the socket's path is another file's"};
      return last_error("bind");
    }
  }
  file_.made(path_);
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

Result<SocketPlace::Found> SocketPlace::take(const std::string& path, const SocketAccess& access) {
  path_ = path;
  lock_path_ = path + ".lock";
  const auto address = address_of(path);
  if (!address) return address.error();
  for (int waited_ms = 0; waited_ms < kStartLimitMs; waited_ms += kLookAgainMs) {
    // A daemon that leaves takes the directory along.
    if (const Status made = make_directory(); !made) return made.error();
    if (try_lock()) {
      if (const Status listening = listen(access); !listening) return listening.error();
      return Found::kOurs;
    }
    if (errno == EEXIST || errno == ELOOP || errno == EISDIR) return Error{EEXIST, "the lock file's path is another file's"};
    if (errno == EACCES || errno == EROFS || errno == EPERM) return last_error("lock file");
    if (is_listened_at(*address, SOCK_SEQPACKET)) return Found::kServed;
    const timespec pause{0, kLookAgainMs * 1'000'000};
    nanosleep(&pause, nullptr);
  }
  return Error{EBUSY, "another daemon neither starts nor ends"};
}

void SocketPlace::leave() {
  socket_.reset();
  file_.remove();
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
