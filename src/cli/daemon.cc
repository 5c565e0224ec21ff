// mqueuefs daemon: starts it. What it does is in daemon/.
#include "daemon/daemon.h"

#include <fcntl.h>
#include <grp.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/unique_fd.h"
#include "cli/command.h"
#include "cli/explain.h"
#include "cli/output.h"
#include "client/address.h"

namespace mqueuefs::cli {
namespace {

// Goes into the background: returns in the parent when the daemon can be connected to, or has failed. The child
// is still one thread, so it may do anything.
int run_in_background(daemon::DaemonOptions options) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return fail("daemon: pipe: " + describe_errno(errno));
  const UniqueFd ready(ends[0]);
  UniqueFd says(ends[1]);
  const pid_t child = fork();
  if (child < 0) return fail("daemon: fork: " + describe_errno(errno));
  if (child == 0) {
    setsid();
    if (chdir("/") != 0) _exit(fail("daemon: /: " + describe_errno(errno)));
    const UniqueFd null(open("/dev/null", O_RDWR | O_CLOEXEC));
    for (int standard = 0; standard <= 2; ++standard) dup2(null.get(), standard);
    options.ready_fd = says.release();
    _exit(daemon::run_daemon(options));
  }
  says.reset();
  std::string line;
  char c;
  for (ssize_t n; (n = read(ready.get(), &c, 1)) != 0 && (n < 0 || c != '\n');) {
    if (n > 0) line += c;
  }
  if (line == "ready") return kSuccess;
  if (line.starts_with("failed: ")) line.erase(0, 8);
  return fail("daemon: " + (line.empty() ? std::string("it ended at once") : printable(line)));
}

struct DaemonCommand {
  daemon::DaemonOptions options;
  std::string socket_mode;
  std::string socket_group;
};

bool can_have(std::string directory) {
  directory.resize(directory.rfind('/'));
  mkdir(directory.c_str(), 0755);
  struct stat status {};
  return lstat(directory.c_str(), &status) == 0 && S_ISDIR(status.st_mode) && status.st_uid == geteuid() &&
         access(directory.c_str(), W_OK | X_OK) == 0;
}

// The system's socket is for root and the group. At a place that root chose, the folder decides who comes in.
void choose_place(daemon::DaemonOptions& options) {
  const client::Addresses places = client::places_to_listen();
  client::PeerRule rule = client::PeerRule::kAnyone;
  for (size_t i = 0; options.socket_path.empty() && i < places.count; ++i) {
    const bool last = i + 1 == places.count;
    if (!last && !can_have(places.list[i].path)) continue;
    options.socket_path = places.list[i].path;
    rule = places.list[i].rule;
  }
  options.socket_access.mode = geteuid() == 0 ? 0666 : 0600;
  if (rule != client::PeerRule::kSystem) return;
  unsigned group = 0;
  const bool has_group = client::system_group(group);
  options.socket_access.mode = has_group ? 0660 : 0600;
  if (has_group) options.socket_access.group = group;
}

// Nothing: the failure has been reported.
bool choose_access(const DaemonCommand& command, daemon::SocketAccess& access) {
  if (!command.socket_group.empty()) {
    const group* const named = getgrnam(command.socket_group.c_str());
    if (named == nullptr) {
      fail("daemon: --socket-group: no group called " + printable(command.socket_group));
      return false;
    }
    access.group = named->gr_gid;
    access.mode = 0660;
  }
  if (!command.socket_mode.empty()) access.mode = static_cast<mode_t>(strtoul(command.socket_mode.c_str(), nullptr, 8));
  return true;
}

int run(DaemonCommand command) {
  daemon::DaemonOptions& options = command.options;
  choose_place(options);
  if (!choose_access(command, options.socket_access)) return kFailure;
  if (options.foreground || options.on_demand) return daemon::run_daemon(options);
  return run_in_background(options);
}

}  // namespace

void add_daemon(Program& program) {
  auto whole = std::make_shared<DaemonCommand>();
  daemon::DaemonOptions* const options = &whole->options;
  CLI::App* command = program.app.add_subcommand("daemon", "Serve: other commands do this by themselves if need be");
  command->add_flag("--foreground", options->foreground, "Stay in the foreground and log to standard error");
  command->add_option("--socket", options->socket_path, "Listen there; other commands look at $MQUEUEFS_SOCKET")
      ->option_text("PATH");
  command->add_option("--socket-mode", whole->socket_mode, "Who may connect, as chmod(1) takes it: 0666 is everybody")
      ->option_text("MODE")
      ->check(CLI::Validator([](const std::string& text) {
        const bool octal = !text.empty() && text.size() <= 4 && text.find_first_not_of("01234567") == std::string::npos;
        return octal ? std::string() : "\"" + text + "\" is not a mode in octal digits";
      }, "MODE"));
  command->add_option("--socket-group", whole->socket_group, "Whose members may connect [mqueuefs, at the system's place]")
      ->option_text("GROUP");
  command->add_option("--oci-socket", options->oci_socket_path, "Where OCI runtimes hand over containers' system calls")
      ->option_text("PATH");
  command->add_option("--max-user-memory", options->max_user_memory, "What the messages of one user may take")
      ->option_text("BYTES")
      ->transform(CLI::AsSizeValue(false));
  command->add_option("--max-namespaces", options->max_namespaces_per_user, "Of one user [1024]")
      ->option_text("N")
      ->check(CLI::PositiveNumber);
  command->add_option("--max-connections", options->max_connections_per_user, "Of one user [4096]")
      ->option_text("N")
      ->check(CLI::PositiveNumber);
  command->add_option("--max-limit", options->max_limits, "Ceiling for a limit that others than root set; repeatable")
      ->option_text("KEY=VALUE");
  command->add_option("--log-level", options->log_level, "trace, debug, info (the default), warn, error, off")
      ->option_text("LEVEL")
      ->check(CLI::IsMember({"trace", "debug", "info", "warn", "error", "critical", "off"}));
  command->add_option("--log-format", options->log_format, "text (the default) or json")
      ->option_text("FORMAT")
      ->check(CLI::IsMember({"text", "json"}));
  command->add_option("--metrics", options->metrics, "Tell a monitoring system there: unix:PATH or 127.0.0.1:PORT")
      ->option_text("ADDRESS");
  command->add_option("--metrics-max-queues", options->metrics_max_queues, "Queues that have metrics of their own [200]")
      ->option_text("N");
  // Between this program's own parts, and for tests: an empty group is not shown.
  command->add_flag("--on-demand", options->on_demand, "Leave when nobody is served")->group("");
  command->add_option("--ready-fd", options->ready_fd, "Where to say that it is ready")->group("");
  command->add_option("--without", options->without, "Do as if the system lacked these")->group("");
  command->callback([&program, whole] { program.action = [whole] { return run(*whole); }; });
}

}  // namespace mqueuefs::cli
