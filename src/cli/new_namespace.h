// A kernel IPC namespace of one's own, bound to a named one, and a command in it: unshare and enter.
#pragma once

#include <string>
#include <vector>

#include "cli/command.h"

namespace mqueuefs::cli {

enum class NamedNamespace {
  kNone,      ///< the new kernel namespace has an emulated one of its own
  kCreate,    ///< `name` is made, EEXIST if it is there
  kExisting,  ///< `name` must be there
};

struct NewNamespace {
  std::string verb;  ///< for messages
  std::string name;
  NamedNamespace named = NamedNamespace::kNone;
  std::string mount_dir;  ///< empty: no mount
  bool catch_system_calls = false;  ///< the command's own, by a seccomp filter whose listener the daemon gets
  std::vector<std::string> command;
};

/// Replaces this program by the command. Returns the exit code if that fails: kFailure, or 127 and 126 if the
/// command can't be found or executed, as shells have it.
///
/// For an ordinary user the kernel namespaces are made in a new user namespace that maps his own uid and gid. On
/// kernels without IPC namespaces the command gets $MQUEUEFS_NS instead.
int run_in_new_namespace(const NewNamespace& what);

/// Replaces this program by the command as it is, without new namespaces. Returns as run_in_new_namespace.
int run_command_here(const NewNamespace& what);

/// --mount[=DIR].
void add_mount_option(CLI::App& command, std::string& mount_dir);

/// The command after "--", or the user's shell if there is no "--".
std::vector<std::string> command_or_shell(const Program& program);

}  // namespace mqueuefs::cli
