// The daemon's place in the file system: a directory, a lock file, the socket.
//
// Whoever holds the lock may replace a stale socket; so of two daemons that start at once one serves and the
// other finds that it is not needed. The lock file is removed with the rest at the end, hence the check that
// the locked file is still the one with the name.
#pragma once

#include <string>

#include "base/result.h"
#include "base/unique_fd.h"

namespace mqueuefs::daemon {

/// Where a daemon with our rights listens if nobody says otherwise: the first that can be had of
/// /run/mqueuefs/mqueuefs.sock, $XDG_RUNTIME_DIR/mqueuefs/mqueuefs.sock, /tmp/mqueuefs-UID/mqueuefs.sock;
/// inside a user namespace with mqueuefs-userns-INODE.sock for the last part. $MQUEUEFS_SOCKET goes before
/// all.
std::string default_socket_path();

/// Thread rule: one thread.
class SocketPlace {
 public:
  enum class Found { kOurs, kServed };

  /// Takes the place. kServed: another daemon listens there. Blocks while another one is just starting or
  /// leaving, ten seconds at most (then EBUSY). Errors: EPERM: the directory is another user's; those of the
  /// system calls.
  Result<Found> take(const std::string& path);

  /// The same with a socket that a service manager listens on already: its path is left alone, at the end too.
  /// EADDRINUSE: another daemon has the place. Errors: as above; EINVAL: it is not a listening SEQPACKET socket with
  /// a path.
  Status take_over(UniqueFd socket);

  /// The listening socket, once.
  UniqueFd release_socket() { return std::move(socket_); }
  const std::string& path() const { return path_; }
  const std::string& directory() const { return directory_; }

  /// Removes what was made. Idempotent.
  void leave();

  SocketPlace() = default;
  SocketPlace(const SocketPlace&) = delete;
  SocketPlace& operator=(const SocketPlace&) = delete;
  ~SocketPlace() { leave(); }

 private:
  Status make_directory();
  bool try_lock();
  bool is_served() const;
  Status listen();

  std::string path_;
  std::string lock_path_;
  std::string directory_;
  UniqueFd lock_;
  UniqueFd socket_;
  bool bound_ = false;
};

}  // namespace mqueuefs::daemon
