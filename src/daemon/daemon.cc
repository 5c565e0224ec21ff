#include "daemon/daemon.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "daemon/daemon_host.h"
#include "daemon/event_loop.h"
#include "daemon/features.h"
#include "daemon/log.h"
#include "daemon/metrics_server.h"
#include "daemon/privileges.h"
#include "daemon/proc_files.h"
#include "daemon/service_manager.h"
#include "daemon/socket_place.h"

namespace mqueuefs::daemon {
namespace {

constexpr uint64_t kInitialIpcNamespaceInode = 0xEFFFFFFF;  // PROC_IPC_INIT_INO of include/linux/proc_ns.h

/// Who started us waits for one line.
class ReadyLine {
 public:
  explicit ReadyLine(int fd) : fd_(fd) {
    if (fd >= 0) fcntl(fd, F_SETFD, FD_CLOEXEC);
  }
  void say(const std::string& line) {
    if (!fd_) return;
    const std::string text = line + "\n";
    if (write(fd_.get(), text.data(), text.size()) < 0) {
      // Nobody waits any more.
    }
    fd_.reset();
  }

 private:
  UniqueFd fd_;
};

void leave_starter() {
  setsid();
  umask(022);
  if (chdir("/") < 0) return;
  const UniqueFd null(open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!null) return;
  for (int standard = 0; standard <= 2; ++standard)
    dup2(null.get(), standard);
}

void raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return;
  limit.rlim_cur = limit.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &limit) < 0) spdlog::warn("RLIMIT_NOFILE: {}", strerror(errno));
}

// A daemon that was started inside a container must not be the one who keeps its IPC namespace. Without the
// right to leave it the daemon at least does not count itself (KernelNamespaces).
void leave_ipc_namespace() {
  const auto own = namespace_inode_of(getpid(), "ipc");
  if (!own || *own == kInitialIpcNamespaceInode) return;
  if (unshare(CLONE_NEWIPC) < 0) spdlog::debug("staying in ipc:[{}]: {}", *own, strerror(errno));
}

// Nor its mount namespace: what is mounted there would stay mounted for as long as the daemon runs, our own
// file systems among them, which then never end. In a copy that follows the original's unmounts nothing new
// appears unless the original's mounts are shared, and those go again as they came. See mount_namespaces(7).
void leave_mount_namespace() {
  if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", nullptr, MS_REC | MS_SLAVE, nullptr) < 0) {
    spdlog::debug("staying in the mount namespace: {}", strerror(errno));
  }
}

/// SIGTERM and SIGINT end the loop, SIGHUP and SIGPIPE mean nothing.
class Signals {
 public:
  Status watch(EventLoop& loop) {
    signal(SIGPIPE, SIG_IGN);
    sigset_t set;
    sigemptyset(&set);
    for (const int signo : {SIGTERM, SIGINT, SIGHUP})
      sigaddset(&set, signo);
    if (sigprocmask(SIG_BLOCK, &set, nullptr) < 0) return last_error("sigprocmask");
    fd_ = UniqueFd(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
    if (!fd_) return last_error("signalfd");
    auto watch = loop.watch(fd_.get(), EPOLLIN, [this, &loop](uint32_t) {
      signalfd_siginfo info;
      while (read(fd_.get(), &info, sizeof info) == sizeof info) {
        if (info.ssi_signo == SIGHUP) continue;
        spdlog::info("signal {}: leaving", info.ssi_signo);
        loop.stop();
      }
    });
    if (!watch) return watch.error();
    watch_ = std::move(*watch);
    return {};
  }

 private:
  UniqueFd fd_;
  std::unique_ptr<control::Watch> watch_;
};

/// "KEY=VALUE"s over the greatest ceilings. EINVAL, ENOENT: not a limit, or out of its range.
Result<ipc::Limits> parse_ceilings(const std::vector<std::string>& texts) {
  ipc::Limits ceilings = ipc::Limits::greatest();
  for (const std::string& text : texts) {
    const size_t equals = std::min(text.find('='), text.size());
    char* end = nullptr;
    const uint64_t value = strtoull(text.c_str() + std::min(equals + 1, text.size()), &end, 10);
    if (equals + 1 >= text.size() || *end != '\0') return Error{EINVAL, "--max-limit"};
    if (const Status set = ceilings.set(text.substr(0, equals), value); !set) return Error{set.code(), "--max-limit"};
  }
  return ceilings;
}

Status listen_for_containers(const DaemonOptions& options, const SocketPlace& place, DaemonHost& host) {
  const std::string containers =
      options.oci_socket_path.empty() ? oci_socket_path(place.path()) : options.oci_socket_path;
  if (const Status listening = host.listen_for_containers(containers); !listening) {
    if (!options.oci_socket_path.empty()) return listening;
    spdlog::warn("no socket for containers at {}: {}", containers, strerror(listening.code()));
  }
  return {};
}

Status serve(const DaemonOptions& options, const ipc::Limits& ceilings, const Features& features, SocketPlace& place,
             UniqueFd containers_socket, ReadyLine& ready) {
  auto loop = EventLoop::create();
  if (!loop) return loop.error();
  Signals signals;
  if (const Status watched = signals.watch(**loop); !watched) return watched;
  DaemonHost host(**loop, features,
                  {.max_user_memory = options.max_user_memory,
                   .max_namespaces_per_user = options.max_namespaces_per_user,
                   .max_connections_per_user = options.max_connections_per_user,
                   .limit_ceilings = ceilings,
                   .work_dir = place.directory()});
  if (const Status listening = host.listen(place.release_socket()); !listening) return listening;
  if (containers_socket) {
    if (const Status listening = host.listen_for_containers(std::move(containers_socket)); !listening)
      return listening.error();
  } else if (const Status listening = listen_for_containers(options, place, host); !listening) {
    return listening;
  }
  std::unique_ptr<MetricsServer> metrics;
  if (!options.metrics.empty()) {
    auto listening = MetricsServer::listen(**loop, options.metrics, [&host, &options] {
      return exposition(host.metrics(options.metrics_max_queues));
    });
    if (!listening) return listening.error();
    metrics = std::move(*listening);
    (*loop)->measure();
  }
  if (options.on_demand) host.leave_when_idle([&loop] { (*loop)->stop(); });
  ready.say("ready");
  tell_service_manager("READY=1");
  const Status run = (*loop)->run();
  // Nobody is to find the sockets while we clean up; the directory goes with the last of them.
  host.leave_containers();
  place.leave();
  tell_service_manager("STOPPING=1");
  return run;
}

}  // namespace

int run_daemon(const DaemonOptions& options) {
  ReadyLine ready(options.ready_fd);
  const auto fail = [&](const Error& error) {
    const std::string line =
        std::string(error.step != nullptr ? error.step : "daemon") + ": " + strerror(error.code);
    fprintf(stderr, "mqueuefs: daemon: %s\n", line.c_str());
    ready.say("failed: " + line);
    return 1;
  };
  start_log(options.log_level, options.log_format == "json" ? LogFormat::kJson : LogFormat::kText, options.foreground);
  auto handed_over = take_handed_over();
  if (!handed_over) return fail(handed_over.error());
  leave_ipc_namespace();
  leave_mount_namespace();
  raise_descriptor_limit();
  Features features = detect_features();
  if (const Status removed = remove_features(features, options.without); !removed)
    return fail(removed.error());
  if (const Status dropped = drop_other_capabilities(features); !dropped) return fail(dropped.error());
  const auto ceilings = parse_ceilings(options.max_limits);
  if (!ceilings) return fail(ceilings.error());
  SocketPlace place;
  if (handed_over->control) {
    if (const Status taken = place.take_over(std::move(handed_over->control)); !taken) return fail(taken.error());
  } else if (const auto taken = place.take(options.socket_path, options.socket_access);
             !taken) {
    return fail(taken.error());
  } else if (*taken == SocketPlace::Found::kServed) {
    if (!options.on_demand) return fail(Error{EADDRINUSE, "another daemon listens there"});
    ready.say("ready");
    return 0;
  }
  if (options.on_demand) leave_starter();
  spdlog::info("serving; nsfs handles {}, namespace probe {}, peer pidfds {}, mounting {}, user namespaces {}, fusermount3 {}",
               features.nsfs_handles, features.namespace_probe, features.peer_pidfd, features.mount_privilege, features.user_namespaces,
               features.fusermount);
  const Status served = serve(options, *ceilings, features, place, std::move(handed_over->containers), ready);
  if (!served) return fail(served.error());
  return 0;
}

}  // namespace mqueuefs::daemon
