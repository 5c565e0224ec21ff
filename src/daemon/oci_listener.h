// The socket where OCI runtimes hand over the seccomp listeners of their containers: `linux.seccomp.listenerPath`.
//
// A runtime connects and sends one container process state with its descriptors. Only root, and the
// daemon's own user, are heard.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "control/host.h"
#include "control/reactor.h"
#include "daemon/socket_file.h"
#include "seccomp/oci_state.h"

namespace mqueuefs::daemon {

/// Beside the control socket: mqueuefs.sock -> mqueuefs-oci.sock.
std::string oci_socket_path(const std::string& control_socket_path);

/// Thread rule: the loop's.
class OciListener {
 public:
  /// Gets each state with its listener, and who sent it.
  using Handler = std::function<void(const control::Caller&, const seccomp::OciState&, UniqueFd listener)>;

  OciListener(control::Reactor& reactor, Handler handler);
  ~OciListener();
  /// Takes the socket's name away, if listen() made it.
  void leave();

  /// Listens at `path`, in place of whatever socket is there. Errors: those of bind(2) and epoll_ctl(2).
  Status listen(const std::string& path);
  /// The same at a socket that listens already, whose path is left alone.
  Status listen(UniqueFd socket);

 private:
  struct Sender;
  void accept_one();
  void receive(Sender& sender);
  void finish(Sender& sender);

  control::Reactor& reactor_;
  const Handler handler_;
  SocketFile file_;
  UniqueFd socket_;
  std::unique_ptr<control::Watch> watch_;
  std::list<std::unique_ptr<Sender>> senders_;
};

}  // namespace mqueuefs::daemon
