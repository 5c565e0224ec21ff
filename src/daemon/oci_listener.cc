#include "daemon/oci_listener.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <utility>

namespace mqueuefs::daemon {
namespace {

constexpr size_t kMostStateBytes = 1 << 20;
constexpr size_t kMostFds = 16;
constexpr size_t kMostSenders = 256;
constexpr int64_t kSenderPatienceMs = 10'000;

}  // namespace

std::string oci_socket_path(const std::string& control_socket_path) {
  constexpr std::string_view kEnd = ".sock";
  std::string path = control_socket_path;
  if (path.ends_with(kEnd)) path.resize(path.size() - kEnd.size());
  return path + "-oci.sock";
}

struct OciListener::Sender {
  UniqueFd socket;
  control::Caller who;
  std::string text;
  std::vector<UniqueFd> fds;
  std::unique_ptr<control::Watch> watch;
  std::unique_ptr<control::Timer> patience;
  std::list<std::unique_ptr<Sender>>::iterator place;
};

OciListener::OciListener(control::Reactor& reactor, Handler handler)
    : reactor_(reactor), handler_(std::move(handler)) {}

OciListener::~OciListener() { leave(); }

void OciListener::leave() {
  file_.remove();
}

Status OciListener::listen(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return Error{ENAMETOOLONG, "OCI socket"};
  memcpy(address.sun_path, path.c_str(), path.size());
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) return last_error("socket");
  remove_stale_socket(address, SOCK_STREAM);
  const mode_t mask = umask(0177);
  const int bound = bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  umask(mask);
  if (bound < 0) return last_error("bind");
  file_.made(path);
  if (::listen(socket.get(), SOMAXCONN) < 0) return last_error("listen");
  return listen(std::move(socket));
}

Status OciListener::listen(UniqueFd socket) {
  socket_ = std::move(socket);
  // A runtime that has gone again before we look must not make us wait for the next.
  const int flags = fcntl(socket_.get(), F_GETFL);
  if (flags < 0 || fcntl(socket_.get(), F_SETFL, flags | O_NONBLOCK) < 0) return last_error("fcntl");
  auto watch = reactor_.watch(socket_.get(), EPOLLIN, [this](uint32_t) { accept_one(); });
  if (!watch) return watch.error();
  watch_ = std::move(*watch);
  return {};
}

void OciListener::accept_one() {
  auto sender = std::make_unique<Sender>();
  sender->socket = UniqueFd(accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!sender->socket) return;
  ucred peer{};
  socklen_t length = sizeof peer;
  if (getsockopt(sender->socket.get(), SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0) return;
  if ((peer.uid != 0 && peer.uid != geteuid()) || senders_.size() >= kMostSenders) {
    spdlog::warn("OCI: user {} is not heard", peer.uid);
    return;
  }
  sender->who = {peer.pid, peer.pid, peer.uid, peer.gid};
  auto watch = reactor_.watch(sender->socket.get(), EPOLLIN, [this, raw = sender.get()](uint32_t) { receive(*raw); });
  if (!watch) return;
  sender->watch = std::move(*watch);
  sender->patience = reactor_.make_timer([this, raw = sender.get()] { senders_.erase(raw->place); });
  sender->patience->set_delay_ms(kSenderPatienceMs);
  senders_.push_front(std::move(sender));
  senders_.front()->place = senders_.begin();
}

void OciListener::receive(Sender& sender) {
  std::array<char, 16384> piece;
  iovec part{piece.data(), piece.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(kMostFds * sizeof(int))];
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  const ssize_t got = recvmsg(sender.socket.get(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (got < 0) {
    if (errno == EAGAIN || errno == EINTR) return;
    senders_.erase(sender.place);
    return;
  }
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd;
      memcpy(&fd, CMSG_DATA(header) + i * sizeof fd, sizeof fd);
      sender.fds.emplace_back(fd);
    }
  }
  sender.text.append(piece.data(), static_cast<size_t>(got));
  // A runtime may keep the connection for as long as it runs.
  if (got == 0 || seccomp::parse_oci_state(sender.text)) return finish(sender);
  if (sender.text.size() > kMostStateBytes || sender.fds.size() > kMostFds) senders_.erase(sender.place);
}

void OciListener::finish(Sender& sender) {
  const auto place = sender.place;
  const auto last = std::move(*place);
  senders_.erase(place);
  const auto state = seccomp::parse_oci_state(last->text);
  if (!state || state->listener >= last->fds.size()) {
    spdlog::warn("OCI: process {}: {}", last->who.process, state ? "no seccompFd" : state.error().step);
    return;
  }
  handler_(last->who, *state, std::move(last->fds[state->listener]));
}

}  // namespace mqueuefs::daemon
