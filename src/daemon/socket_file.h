// A UNIX socket's name in the file system, which may come from the environment or a command line: what stands at that
// name is removed only if it is a socket that the daemon's own user left and nobody listens at, and at the end only if
// it is the very socket that was made.
#pragma once

#include <sys/types.h>
#include <sys/un.h>

#include <optional>
#include <string>
#include <utility>

namespace mqueuefs::daemon {

/// Somebody listens there with a socket of `type`, or has no more room for one that connects.
bool is_listened_at(const sockaddr_un& address, int type);

/// Removes a socket of our own user at which nobody listens. Anything else stays, and bind(2) will say EADDRINUSE.
void remove_stale_socket(const sockaddr_un& address, int type);

/// The name of a socket that we made. Thread rule: one thread.
class SocketFile {
 public:
  /// To be called when bind(2) has made it.
  void made(const std::string& path);
  /// Removes it unless another file has the name now. Idempotent.
  void remove();

 private:
  std::string path_;
  std::optional<std::pair<dev_t, ino_t>> identity_;
};

}  // namespace mqueuefs::daemon
