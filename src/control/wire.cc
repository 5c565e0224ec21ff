#include "control/wire.h"

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cstring>

#ifndef SCM_PIDFD
#define SCM_PIDFD 0x04  // linux/socket.h since 6.5
#endif

namespace mqueuefs::control {
namespace {

constexpr size_t kControlBytes =
    CMSG_SPACE(kMaxPacketFds * sizeof(int)) + CMSG_SPACE(sizeof(ucred)) + CMSG_SPACE(sizeof(int));

void append_control(msghdr& message, int type, const void* data, size_t size) {
  auto* control =
      reinterpret_cast<cmsghdr*>(static_cast<char*>(message.msg_control) + message.msg_controllen);
  control->cmsg_level = SOL_SOCKET;
  control->cmsg_type = type;
  control->cmsg_len = CMSG_LEN(size);
  memcpy(CMSG_DATA(control), data, size);
  message.msg_controllen += CMSG_SPACE(size);
}

void take_control(msghdr& message, ReceivedPacket& packet) {
  for (cmsghdr* control = CMSG_FIRSTHDR(&message); control != nullptr;
       control = CMSG_NXTHDR(&message, control)) {
    if (control->cmsg_level != SOL_SOCKET) continue;
    const size_t size = control->cmsg_len - CMSG_LEN(0);
    if (control->cmsg_type == SCM_RIGHTS) {
      for (size_t at = 0; at + sizeof(int) <= size; at += sizeof(int)) {
        int fd;
        memcpy(&fd, CMSG_DATA(control) + at, sizeof fd);
        UniqueFd owned(fd);
        if (packet.fd_count < kMaxPacketFds) packet.fds[packet.fd_count++] = std::move(owned);
      }
    } else if (control->cmsg_type == SCM_CREDENTIALS && size == sizeof(ucred)) {
      memcpy(&packet.credentials, CMSG_DATA(control), sizeof(ucred));
      packet.has_credentials = true;
    } else if (control->cmsg_type == SCM_PIDFD && size == sizeof(int)) {
      int fd;
      memcpy(&fd, CMSG_DATA(control), sizeof fd);
      if (fd >= 0) packet.pidfd = UniqueFd(fd);
    }
  }
}

// The kernel says MSG_CTRUNC both for more descriptors than we take and for a full descriptor table.
Error control_truncated(int socket) {
  const UniqueFd trial(fcntl(socket, F_DUPFD_CLOEXEC, 0));
  if (!trial) return last_error("receiving a descriptor");
  return Error{EPROTO, "more descriptors than a packet has"};
}

}  // namespace

namespace {

Status send_packet_as(const ucred* own, int socket, Header header, std::span<const std::byte> body,
                      std::span<const int> fds, int flags, std::span<const std::byte> tail) {
  const size_t size = body.size() + tail.size();
  if (fds.size() > kMaxPacketFds || size > kMaxPacketBytes) return Error{EINVAL, "control packet"};
  header.size = static_cast<uint32_t>(size);
  iovec parts[3] = {{&header, sizeof header},
                    {const_cast<std::byte*>(body.data()), body.size()},
                    {const_cast<std::byte*>(tail.data()), tail.size()}};
  alignas(cmsghdr) char control[kControlBytes] = {};
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = !tail.empty() ? 3 : body.empty() ? 1 : 2;
  message.msg_control = control;
  if (!fds.empty()) append_control(message, SCM_RIGHTS, fds.data(), fds.size_bytes());
  if (own != nullptr) append_control(message, SCM_CREDENTIALS, own, sizeof *own);
  if (message.msg_controllen == 0) message.msg_control = nullptr;
  if (sendmsg(socket, &message, flags | MSG_NOSIGNAL) < 0) return last_error("sendmsg");
  return {};
}

}  // namespace

Status send_packet(int socket, Header header, std::span<const std::byte> body, std::span<const int> fds,
                   const ucred& own, int flags, std::span<const std::byte> tail) {
  return send_packet_as(&own, socket, header, body, fds, flags, tail);
}

Status send_packet(int socket, Header header, std::span<const std::byte> body, std::span<const int> fds,
                   Credentials credentials, int flags, std::span<const std::byte> tail) {
  if (credentials == Credentials::kNone) return send_packet_as(nullptr, socket, header, body, fds, flags, tail);
  return send_packet(socket, header, body, fds, ucred{getpid(), geteuid(), getegid()}, flags, tail);
}

Result<ReceivedPacket> receive_packet(int socket, std::span<std::byte> body, int flags,
                                      Descriptors descriptors) {
  ReceivedPacket packet;
  iovec parts[2] = {{&packet.header, sizeof packet.header}, {body.data(), body.size()}};
  alignas(cmsghdr) char control[kControlBytes];
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = 2;
  message.msg_control = control;
  // The credentials come first: with room for them alone the kernel drops the descriptors (MSG_CTRUNC).
  const bool refuse = descriptors == Descriptors::kRefuse;
  message.msg_controllen = refuse ? CMSG_SPACE(sizeof(ucred)) : sizeof control;
  const ssize_t received = recvmsg(socket, &message, flags | MSG_CMSG_CLOEXEC);
  if (received < 0) return last_error("recvmsg");
  take_control(message, packet);
  // A packet of no bytes, which nobody sends, can't be told from the end.
  if (received == 0) return Error{ECONNRESET, "recvmsg"};
  if ((message.msg_flags & MSG_CTRUNC) != 0 && !refuse) return control_truncated(socket);
  if ((message.msg_flags & MSG_TRUNC) != 0) return Error{EPROTO, "packet too long"};
  if (static_cast<size_t>(received) < sizeof packet.header) return Error{EPROTO, "packet without header"};
  packet.body_size = static_cast<size_t>(received) - sizeof packet.header;
  if (packet.header.size != packet.body_size) return Error{EPROTO, "packet size"};
  return packet;
}

}  // namespace mqueuefs::control
