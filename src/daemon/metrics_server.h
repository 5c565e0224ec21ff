// The metrics over HTTP: libmicrohttpd, driven by our loop.
//
// The library has an epoll descriptor of its own, which our loop watches; it never blocks, and has no thread. What a
// scraper can cost is bounded: few connections, each with little memory and a time limit, and the text is made at most
// once a second, whoever asks how often.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "control/reactor.h"

namespace mqueuefs::daemon {

/// Thread rule: the loop's.
class MetricsServer {
 public:
  /// `address`: "unix:PATH", "127.0.0.1:PORT", "[::1]:PORT" or "localhost:PORT" (127.0.0.1). `make_text` is called from
  /// the loop. EINVAL: another address, or not of this machine itself; those of bind(2).
  static Result<std::unique_ptr<MetricsServer>> listen(control::Reactor& reactor, const std::string& address,
                                                       std::function<std::string()> make_text);
  MetricsServer(const MetricsServer&) = delete;
  MetricsServer& operator=(const MetricsServer&) = delete;
  ~MetricsServer();

 private:
  struct Http;
  explicit MetricsServer(std::unique_ptr<Http> http);
  const std::unique_ptr<Http> http_;
};

}  // namespace mqueuefs::daemon
