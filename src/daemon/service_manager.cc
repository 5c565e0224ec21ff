#include "daemon/service_manager.h"

#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <string_view>

namespace mqueuefs::daemon {
namespace {

constexpr int kFirstHandedOver = 3;  // SD_LISTEN_FDS_START
constexpr int kMostHandedOver = 16;

}  // namespace

void tell_service_manager(const char* state) {
  const char* path = getenv("NOTIFY_SOCKET");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path == nullptr || strlen(path) < 2 || strlen(path) >= sizeof address.sun_path) return;
  const size_t length = strlen(path);
  memcpy(address.sun_path, path, length);
  if (path[0] == '@') address.sun_path[0] = '\0';
  const UniqueFd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket) return;
  sendto(socket.get(), state, strlen(state), MSG_NOSIGNAL, reinterpret_cast<const sockaddr*>(&address),
         static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + length));
}

Result<HandedOver> take_handed_over() {
  HandedOver sockets;
  const char* const pid = getenv("LISTEN_PID");
  const char* const count_text = getenv("LISTEN_FDS");
  const char* const names_text = getenv("LISTEN_FDNAMES");
  const bool ours = pid != nullptr && count_text != nullptr && atoll(pid) == getpid();
  const int count = ours ? atoi(count_text) : 0;
  const std::string all_names = names_text != nullptr ? names_text : "";
  for (const char* name : {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"}) unsetenv(name);
  if (count < 0 || count > kMostHandedOver) return Error{EINVAL, "LISTEN_FDS"};
  std::string_view names = all_names;
  for (int i = 0; i < count; ++i) {
    UniqueFd socket(kFirstHandedOver + i);
    if (fcntl(socket.get(), F_SETFD, FD_CLOEXEC) < 0) return last_error("LISTEN_FDS");
    const std::string_view name = names.substr(0, names.find(':'));
    names.remove_prefix(std::min(names.size(), name.size() + 1));
    if (name == "mqueuefs-oci") {
      sockets.containers = std::move(socket);
    } else if (!sockets.control && (name == "mqueuefs" || (count == 1 && (name.empty() || name == "unknown")))) {
      sockets.control = std::move(socket);
    } else {
      return Error{EINVAL, "LISTEN_FDNAMES"};
    }
  }
  return sockets;
}

}  // namespace mqueuefs::daemon
