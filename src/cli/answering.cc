#include "cli/answering.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/unique_fd.h"
#include "cli/encoding.h"
#include "client/address.h"

namespace mqueuefs::cli {
namespace {

enum class Socket { kNone, kNotForUs, kAnswers };

Socket socket_at(const client::Address& address) {
  struct stat there {};
  if (lstat(address.path, &there) != 0 || !S_ISSOCK(there.st_mode)) return Socket::kNone;
  const UniqueFd trial(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  memcpy(name.sun_path, address.path, sizeof name.sun_path);
  if (!trial) return Socket::kNone;
  if (connect(trial.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name) == 0 || errno == EAGAIN) return Socket::kAnswers;
  // What listens behind it, or nothing any more, can't be told.
  return errno == EACCES ? Socket::kNotForUs : Socket::kNone;
}

std::string described(const client::Address& address) {
  const bool system = address.rule == client::PeerRule::kSystem;
  return (system ? "the system's daemon (" : "your own daemon (") + printable(address.path) + ")";
}

bool is_among(const client::Address& address, const client::Addresses& addresses) {
  for (size_t i = 0; i < addresses.count; ++i) {
    if (strcmp(address.path, addresses.list[i].path) == 0) return true;
  }
  return false;
}

Answering& noted() {
  static Answering facts;
  return facts;
}

}  // namespace

Answering find_answering() {
  Answering found;
  const client::Addresses used = client::socket_addresses();
  if (used.domain == client::Domain::kChosen) return found;
  const client::Addresses known = client::known_addresses();
  for (size_t i = 0; i < known.count; ++i) {
    const client::Address& address = known.list[i];
    const Socket socket = socket_at(address);
    if (socket == Socket::kNone) continue;
    if (socket == Socket::kAnswers && found.which.empty() && is_among(address, used)) {
      found.which = described(address);
      continue;
    }
    found.others = described(address);
    if (address.rule == client::PeerRule::kSystem) found.others += ", which serves root and the group mqueuefs";
  }
  return found;
}

void note_answering(Answering answering) { noted() = std::move(answering); }
const Answering& answering() { return noted(); }

}  // namespace mqueuefs::cli
