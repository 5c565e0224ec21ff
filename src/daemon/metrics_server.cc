#include "daemon/metrics_server.h"

#include <arpa/inet.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "base/clock.h"
#include "base/unique_fd.h"
#include "daemon/socket_file.h"

namespace mqueuefs::daemon {
namespace {

constexpr unsigned kMostConnections = 16;
// The library does not see the end of a connection whose half request came together with it: it holds its place so long.
constexpr unsigned kTimeoutS = 3;
constexpr size_t kConnectionBytes = size_t{16} * 1024;
constexpr int64_t kFreshNs = 1'000'000'000;
constexpr const char* kNoAddress = "--metrics: neither unix:/PATH nor 127.0.0.1:PORT, [::1]:PORT, localhost:PORT";
constexpr const char* kNotLoopback = "--metrics: not a loopback address";

Result<UniqueFd> listen_at(const sockaddr* address, socklen_t size) {
  UniqueFd socket(::socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket) return last_error("--metrics");
  const int on = 1;
  if (address->sa_family != AF_UNIX) setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(socket.get(), address, size) < 0 || ::listen(socket.get(), 64) < 0) return last_error("--metrics");
  return socket;
}

Result<UniqueFd> listen_unix(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path[0] != '/' || path.size() >= sizeof address.sun_path) return Error{EINVAL, kNoAddress};
  memcpy(address.sun_path, path.data(), path.size());
  remove_stale_socket(address, SOCK_STREAM);
  const mode_t before = umask(0177);  // names of queues are not for everybody
  auto socket = listen_at(reinterpret_cast<const sockaddr*>(&address), sizeof address);
  umask(before);
  return socket;
}

Result<UniqueFd> listen_tcp(std::string host, const std::string& port_text) {
  char* end = nullptr;
  const unsigned long port = strtoul(port_text.c_str(), &end, 10);
  if (port_text.empty() || *end != '\0' || port > 65535) return Error{EINVAL, kNoAddress};
  if (host == "localhost") host = "127.0.0.1";
  sockaddr_in v4{};
  v4.sin_family = AF_INET;
  v4.sin_port = htons(static_cast<uint16_t>(port));
  if (inet_pton(AF_INET, host.c_str(), &v4.sin_addr) == 1) {
    if (ntohl(v4.sin_addr.s_addr) >> 24 != 127) return Error{EINVAL, kNotLoopback};
    return listen_at(reinterpret_cast<const sockaddr*>(&v4), sizeof v4);
  }
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(static_cast<uint16_t>(port));
  if (host != "[::1]") return Error{EINVAL, kNotLoopback};
  v6.sin6_addr = in6addr_loopback;
  return listen_at(reinterpret_cast<const sockaddr*>(&v6), sizeof v6);
}

}  // namespace

struct MetricsServer::Http {
  explicit Http(control::Reactor& loop) : reactor(loop) {}
  ~Http() {
    watch.reset();
    if (daemon != nullptr) MHD_stop_daemon(daemon);
    if (response != nullptr) MHD_destroy_response(response);
    file.remove();
  }

  // In the answer of MHD_get_timeout lies what its descriptor does not show: data in its own buffers.
  void run() {
    // At its limit it does not listen, and it looks whether it should again at the beginning of a turn: if connections
    // end in one, nothing would begin the next.
    for (unsigned before = connections() + 1; connections() < before;) {
      before = connections();
      MHD_run(daemon);
    }
    MHD_UNSIGNED_LONG_LONG wait_ms = 0;
    if (MHD_get_timeout(daemon, &wait_ms) == MHD_YES) {
      timer->set_delay_ms(static_cast<int64_t>(std::min<MHD_UNSIGNED_LONG_LONG>(wait_ms, 60'000)));
    }
  }

  unsigned connections() const {
    const MHD_DaemonInfo* const info = MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS);
    return info != nullptr ? info->num_connections : 0;
  }

  void refresh() {
    const int64_t now_ns = monotonic_now_ns();
    if (response != nullptr && now_ns - made_at_ns < kFreshNs) return;
    std::string text = make_text();
    MHD_Response* const fresh = MHD_create_response_from_buffer(text.size(), text.data(), MHD_RESPMEM_MUST_COPY);
    if (fresh == nullptr) return;
    MHD_add_response_header(fresh, MHD_HTTP_HEADER_CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8");
    if (response != nullptr) MHD_destroy_response(response);  // goes when the last answer with it has gone out
    response = fresh;
    made_at_ns = now_ns;
  }

  static MHD_Result refuse(MHD_Connection* connection, unsigned status) {
    MHD_Response* const empty = MHD_create_response_from_buffer(0, nullptr, MHD_RESPMEM_PERSISTENT);
    if (empty == nullptr) return MHD_NO;
    const MHD_Result queued = MHD_queue_response(connection, status, empty);
    MHD_destroy_response(empty);
    return queued;
  }

  static MHD_Result answer(void* self, MHD_Connection* connection, const char* url, const char* method, const char*,
                           const char*, size_t* upload_size, void**) {
    auto& http = *static_cast<Http*>(self);
    if (*upload_size != 0) return MHD_NO;
    const bool head = strcmp(method, MHD_HTTP_METHOD_HEAD) == 0;
    if (!head && strcmp(method, MHD_HTTP_METHOD_GET) != 0) return refuse(connection, MHD_HTTP_METHOD_NOT_ALLOWED);
    if (strcmp(url, "/metrics") != 0) return refuse(connection, MHD_HTTP_NOT_FOUND);
    http.refresh();
    if (http.response == nullptr) return refuse(connection, MHD_HTTP_SERVICE_UNAVAILABLE);
    return MHD_queue_response(connection, MHD_HTTP_OK, http.response);
  }

  control::Reactor& reactor;
  std::function<std::string()> make_text;
  SocketFile file;
  MHD_Daemon* daemon = nullptr;
  MHD_Response* response = nullptr;
  int64_t made_at_ns = 0;
  std::unique_ptr<control::Watch> watch;
  std::unique_ptr<control::Timer> timer;
};

MetricsServer::MetricsServer(std::unique_ptr<Http> http) : http_(std::move(http)) {}
MetricsServer::~MetricsServer() = default;

Result<std::unique_ptr<MetricsServer>> MetricsServer::listen(control::Reactor& reactor, const std::string& address,
                                                             std::function<std::string()> make_text) {
  auto http = std::make_unique<Http>(reactor);
  const bool is_unix = address.starts_with("unix:");
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos) return Error{EINVAL, kNoAddress};
  auto socket = is_unix ? listen_unix(address.substr(5)) : listen_tcp(address.substr(0, colon), address.substr(colon + 1));
  if (!socket) return socket.error();
  if (is_unix) http->file.made(address.substr(5));
  http->make_text = std::move(make_text);
  http->daemon = MHD_start_daemon(MHD_USE_EPOLL, 0, nullptr, nullptr, &Http::answer, http.get(),
                                  MHD_OPTION_LISTEN_SOCKET, socket->get(), MHD_OPTION_CONNECTION_LIMIT, kMostConnections,
                                  MHD_OPTION_CONNECTION_TIMEOUT, kTimeoutS, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
                                  kConnectionBytes, MHD_OPTION_END);
  if (http->daemon == nullptr) return Error{ENOMEM, "--metrics"};
  static_cast<void>(socket->release());  // the library closes it
  const MHD_DaemonInfo* const info = MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_EPOLL_FD);
  if (info == nullptr) return Error{ENOSYS, "--metrics"};
  Http* const raw = http.get();
  http->timer = reactor.make_timer([raw] { raw->run(); });
  auto watch = reactor.watch(info->epoll_fd, EPOLLIN, [raw](uint32_t) { raw->run(); });
  if (!watch) return watch.error();
  http->watch = std::move(*watch);
  return std::unique_ptr<MetricsServer>(new MetricsServer(std::move(http)));
}

}  // namespace mqueuefs::daemon
