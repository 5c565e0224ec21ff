// The commands, each in a file of its own: it adds itself to the parser and, when it was chosen, is what runs.
#pragma once

#include <CLI/CLI.hpp>

#include <functional>
#include <string>
#include <vector>

namespace mqueuefs::cli {

/// What the command line asks for; returns the exit code.
using Action = std::function<int()>;

/// What the parser works on.
struct Program {
  CLI::App app;
  Action action;
  /// What followed the first "--": a command to run. Kept from the parser, which would look into it.
  std::vector<std::string> trailing_command;
  bool has_trailing_command = false;
};

void add_completion(Program& program);
void add_create(Program& program);
void add_daemon(Program& program);
void add_doctor(Program& program);
void add_enter(Program& program);
void add_ipc(Program& program);
void add_gc(Program& program);
void add_limits(Program& program);
void add_list(Program& program);
void add_mount(Program& program);
void add_ns(Program& program);
void add_oci_config(Program& program);
void add_oci_hook(Program& program);
void add_peek(Program& program);
void add_receive(Program& program);
void add_remove(Program& program);
void add_run(Program& program);
void add_send(Program& program);
void add_stat(Program& program);
void add_trace(Program& program);
void add_unshare(Program& program);
void add_watch(Program& program);

/// The --ns option that commands on queues share; $MQUEUEFS_NS is its default.
void add_ns_option(CLI::App& command, std::string& namespace_name);
void add_json_option(CLI::App& command, bool& json);

/// All of them, --help's and hidden ones, in its order.
void add_commands(Program& program);
/// Whether what follows "--" is a command line.
bool runs_command(const std::string& command);

/// The keys of `mqueuefs limits`.
std::vector<std::string> limit_names();

/// What --version prints; tries what `doctor` does.
std::string version_lines();

}  // namespace mqueuefs::cli
