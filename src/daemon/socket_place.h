// The daemon's place in the file system: a directory, a lock file, the socket.
//
// Whoever holds the lock may replace a stale socket; so of two daemons that start at once one serves and the
// other finds that it is not needed. The lock file is removed with the rest at the end, hence the check that
// the locked file is still the one with the name.
//
// The path may come from the environment, so nothing is removed or changed by its name alone: a socket is removed if
// it is the daemon's own user's, the lock is held and nobody listens there, at the end only if it is the very one that
// was made; the lock file has to be empty and that user's; modes and groups are given at creation.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"
#include "daemon/socket_file.h"

namespace mqueuefs::daemon {

/// Who may connect.
struct SocketAccess {
  mode_t mode = 0600;
  std::optional<gid_t> group;  ///< none: the daemon's own
};

/// Thread rule: one thread.
class SocketPlace {
 public:
  enum class Found { kOurs, kServed };

  /// Takes the place. kServed: another daemon listens there. Blocks while another one is just starting or
  /// leaving, ten seconds at most (then EBUSY). Errors: EPERM: the directory is another user's; EEXIST: a file that is
  /// no stale socket or lock of ours has the name, and is left alone; those of the system calls.
  Result<Found> take(const std::string& path, const SocketAccess& access);

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
  Status listen(const SocketAccess& access);

  std::string path_;
  std::string lock_path_;
  std::string directory_;
  UniqueFd lock_;
  UniqueFd socket_;
  SocketFile file_;
};

}  // namespace mqueuefs::daemon
