#include "cli/new_namespace.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cstring>

#include "cli/connect.h"
#include "cli/explain.h"
#include "cli/output.h"
#include "client/mount.h"
#include "seccomp/filter.h"

namespace mqueuefs::cli {
namespace {

using control::Type;

Status write_file(const char* path, const std::string& text) {
  const UniqueFd file(open(path, O_WRONLY | O_CLOEXEC));
  if (!file) return last_error(path);
  if (write(file.get(), text.data(), text.size()) < 0) return last_error(path);
  return {};
}

// One's own ids, and nothing else: all that an ordinary user may map (user_namespaces(7)).
Status map_own_ids(uid_t uid, gid_t gid) {
  // Absent before 3.19, where nothing demands it.
  if (const Status denied = write_file("/proc/self/setgroups", "deny"); !denied && denied.code() != ENOENT) {
    return denied;
  }
  const auto map_of = [](unsigned id) { return std::to_string(id) + " " + std::to_string(id) + " 1\n"; };
  if (const Status mapped = write_file("/proc/self/uid_map", map_of(uid)); !mapped) return mapped;
  return write_file("/proc/self/gid_map", map_of(gid));
}

Status unshare_with_user_namespace(int flags) {
  const uid_t uid = geteuid();
  const gid_t gid = getegid();
  if (unshare(flags | CLONE_NEWUSER) != 0) return last_error("unshare");
  return map_own_ids(uid, gid);
}

Status unshare_namespaces(int flags) {
  if (flags == 0) return {};
  if (unshare(flags) == 0) return {};
  if (errno != EPERM) return last_error("unshare");
  return unshare_with_user_namespace(flags);
}

bool kernel_has_ipc_namespaces() { return access("/proc/self/ns/ipc", F_OK) == 0; }

Status name_it(client::Connection& connection, const NewNamespace& what, bool bind) {
  if (what.named == NamedNamespace::kCreate) {
    control::NamespaceName name{};
    if (const Status set = client::set_name(name.name, what.name.c_str()); !set) return set;
    const auto created = connection.request(Type::kNamespaceCreate, control::bytes_of(name));
    if (!created) return created.error();
  }
  if (!bind) return {};
  control::NamespaceBind request{};
  if (const Status set = client::set_name(request.name, what.name.c_str()); !set) return set;
  const auto bound = connection.request(Type::kNamespaceBind, control::bytes_of(request));
  return bound ? Status{} : bound.error();
}

// What is mounted from here on is seen by this process and its children alone.
Status make_mounts_private() {
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return last_error("mount");
  return {};
}

std::string explain_new(const Attempt& attempt, Error error, const NewNamespace& what) {
  const std::string_view step = error.step != nullptr ? error.step : "";
  if (error.code == EEXIST) return attempt.text() + ": a namespace of that name exists (EEXIST)";
  if (step == "seccomp" && error.code == EBUSY) {
    return attempt.text() + ": system calls are caught here already, and only one can (EBUSY)";
  }
  if (step == "unshare") {
    return attempt.text() + ": a new namespace needs privilege, or user namespaces that this system does not permit: " +
           describe_errno(error.code);
  }
  if (step == "move_mount" && error.code == ENOENT) {
    return attempt.text() + ": no directory " + printable(what.mount_dir) + " to mount at (ENOENT)";
  }
  return explain(attempt, error);
}

constexpr int kMostAttempts = 500;
constexpr useconds_t kPause_us = 20'000;

// The filter goes on last of all: what it catches is the command's.
Status hand_over_system_calls(client::Connection& connection) {
  auto listener = seccomp::install_filter();
  if (!listener) return listener.error();
  const control::AdoptListener request{};
  for (int attempt = 0;; ++attempt) {
    const auto adopted = connection.request(Type::kAdoptListener, control::bytes_of(request), {}, listener->get());
    if (adopted) return {};
    // So many at once that they have to wait for each other.
    if (adopted.code() != EBUSY || attempt == kMostAttempts) return adopted.error();
    usleep(kPause_us);
  }
}

int execute(const Attempt& attempt, const std::vector<std::string>& command) {
  std::vector<char*> argv;
  for (const std::string& word : command) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  signal(SIGPIPE, SIG_DFL);
  execvp(argv[0], argv.data());
  const int code = errno;
  fail(attempt.text() + ": " + printable(command.front()) + ": " + describe_errno(code));
  return code == ENOENT ? 127 : 126;
}

}  // namespace

int run_in_new_namespace(const NewNamespace& what) {
  const Attempt attempt{what.verb, "", what.name};
  const bool has_kernel_namespaces = kernel_has_ipc_namespaces();
  const bool is_named = what.named != NamedNamespace::kNone;
  if (!has_kernel_namespaces && !is_named) {
    return fail(attempt.text() + ": this kernel has no IPC namespaces: give it a --name (EINVAL)");
  }
  // Connected before anything is unshared: the daemon of where we come from is to serve it.
  std::optional<client::Connection> connection;
  if (is_named || !what.mount_dir.empty() || what.catch_system_calls) {
    connection = connect_to_daemon(attempt);
    if (!connection) return kFailure;
  }
  const int flags = (has_kernel_namespaces ? CLONE_NEWIPC : 0) | (what.mount_dir.empty() ? 0 : CLONE_NEWNS);
  if (const Status done = unshare_namespaces(flags); !done) return fail(explain_new(attempt, done.error(), what));
  if (is_named) {
    const Status done = name_it(*connection, what, has_kernel_namespaces);
    if (!done) return fail(explain_new(attempt, done.error(), what));
  }
  if (!what.mount_dir.empty()) {
    if (const Status done = make_mounts_private(); !done) return fail(explain_new(attempt, done.error(), what));
    const Status done = client::mount_namespace(*connection, has_kernel_namespaces ? "" : what.name.c_str(), "mqueuefs",
                                                what.mount_dir.c_str(), control::kMountNoSuid);
    if (!done) return fail(explain_new(attempt, done.error(), what));
  }
  // In a kernel namespace of its own, the command's default is that one.
  if (has_kernel_namespaces) {
    unsetenv("MQUEUEFS_NS");
  } else {
    setenv("MQUEUEFS_NS", what.name.c_str(), 1);
  }
  if (what.catch_system_calls) {
    const Status done = hand_over_system_calls(*connection);
    if (!done) return fail(explain_new(attempt, done.error(), what));
  }
  connection.reset();
  return execute(attempt, what.command);
}

int run_command_here(const NewNamespace& what) {
  const Attempt attempt{what.verb, "", what.name};
  if (what.catch_system_calls) {
    auto connection = connect_to_daemon(attempt);
    if (!connection) return kFailure;
    const Status done = hand_over_system_calls(*connection);
    if (!done) return fail(explain_new(attempt, done.error(), what));
  }
  return execute(attempt, what.command);
}

void add_mount_option(CLI::App& command, std::string& mount_dir) {
  command.add_option("--mount", mount_dir, "Mount it in a mount namespace of its own [at /dev/mqueue]")
      ->option_text("[=DIR]");
}

std::vector<std::string> command_or_shell(const Program& program) {
  if (program.has_trailing_command) return program.trailing_command;
  const char* shell = getenv("SHELL");
  return {shell != nullptr && *shell != '\0' ? shell : "/bin/sh"};
}

}  // namespace mqueuefs::cli
