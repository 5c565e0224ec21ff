// One packet of the control socket in, one out. Both ends use this; what packets mean is in messages.h.
//
// Loaded into other people's programs with the client library: libc alone, no exceptions, no allocation.
// A packet that is not whole, or whose Header::size is not what came, never gets further than here (EPROTO),
// and descriptors that came with it are closed.
#pragma once

#include <sys/socket.h>
#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/result.h"
#include "base/unique_fd.h"
#include "control/messages.h"

namespace mqueuefs::control {

inline constexpr size_t kMaxPacketFds = 2;

/// The bytes of a message structure.
template <typename T>
std::span<const std::byte> bytes_of(const T& value) {
  return {reinterpret_cast<const std::byte*>(&value), sizeof value};
}
template <typename T>
std::span<std::byte> writable_bytes_of(T& value) {
  return {reinterpret_cast<std::byte*>(&value), sizeof value};
}

/// Who the packet says it is from. A client has to say kOwn: the daemon compares it with who connected, by
/// *effective* ids, and what the kernel would fill in by itself are the real ones. See unix(7).
enum class Credentials { kNone, kOwn };

/// Sends one packet; `header.size` is set from `body` and `tail`, which follows it. At most kMaxPacketFds
/// descriptors.
///
/// Blocks only if the socket does and `flags` (of sendmsg(2)) has no MSG_DONTWAIT. Never raises SIGPIPE.
/// Errors: those of sendmsg(2): EAGAIN, EINTR, EPIPE, ECONNRESET ...; nothing was sent then.
Status send_packet(int socket, Header header, std::span<const std::byte> body, std::span<const int> fds = {},
                   Credentials credentials = Credentials::kNone, int flags = 0,
                   std::span<const std::byte> tail = {});
/// The same, with credentials that the caller knows to be its own: process, effective user and group.
Status send_packet(int socket, Header header, std::span<const std::byte> body, std::span<const int> fds,
                   const ucred& own, int flags, std::span<const std::byte> tail);

/// A packet without its body.
struct ReceivedPacket {
  Header header{};
  size_t body_size = 0;  ///< bytes of the caller's buffer that are the body
  UniqueFd fds[kMaxPacketFds];
  size_t fd_count = 0;
  bool has_credentials = false;  ///< the socket has SO_PASSCRED
  ucred credentials{};           ///< as numbered in the receiver's namespaces
  UniqueFd pidfd;                ///< the sender's, if the socket has SO_PASSPIDFD
};

/// What becomes of descriptors that come along. With kRefuse they never enter the descriptor table: who
/// closes a descriptor of a FUSE file waits for that file's server (its FLUSH), and any client can send one.
enum class Descriptors { kTake, kRefuse };

/// Receives one packet; the body goes into `body`. Descriptors are close-on-exec.
///
/// Blocks as sendmsg does. Errors: ECONNRESET: the peer has closed; EPROTO: not a packet, or longer than
/// `body`; EMFILE, ENFILE: no room for its descriptors (the packet is lost); those of recvmsg(2).
Result<ReceivedPacket> receive_packet(int socket, std::span<std::byte> body, int flags = 0,
                                      Descriptors descriptors = Descriptors::kTake);

}  // namespace mqueuefs::control
