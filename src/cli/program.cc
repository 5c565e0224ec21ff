#include "cli/program.h"

#include <signal.h>

#include <algorithm>
#include <iostream>

#include "cli/argument_names.h"
#include "cli/command.h"
#include "cli/mount_form.h"
#include "cli/output.h"

namespace mqueuefs::cli {
void add_commands(Program& program) {
  CLI::App& app = program.app;
  app.description("POSIX message queues in user space");
  app.set_version_flag("--version", version_lines, "Print versions and what this machine has, and exit");
  app.require_subcommand(1);
  app.formatter(std::make_shared<ArgumentFormatter>());
  app.get_formatter()->column_width(34);
  for (auto* add : {add_list, add_stat, add_create, add_remove, add_send, add_receive, add_peek, add_watch,
                    add_trace, add_gc, add_limits, add_ipc, add_ns,
                    add_unshare, add_enter, add_run, add_mount, add_oci_config, add_oci_hook, add_daemon, add_doctor, add_completion}) {
    add(program);
  }
}

bool runs_command(const std::string& command) { return command == "unshare" || command == "enter" || command == "run"; }

namespace {

std::string usage_error(const CLI::App* app, const CLI::Error& error) {
  std::string what = with_shown_names(error.what());
  std::replace(what.begin(), what.end(), '\n', ' ');
  // The command that the words belong to, for a help that helps.
  std::string name;
  for (const CLI::App* chosen = app; chosen != nullptr;) {
    const auto subcommands = chosen->get_subcommands();
    chosen = subcommands.empty() ? nullptr : subcommands.front();
    if (chosen != nullptr) name += chosen->get_name() + " ";
  }
  return "mqueuefs: " + what + "; see mqueuefs " + name + "--help\n";
}

// "--" ends the words that are ours; "--mount" alone takes its default, never the word after it.
std::vector<std::string> prepare(Program& program, std::vector<std::string> arguments) {
  if (arguments.empty() || !runs_command(arguments[0])) return arguments;
  if (const auto end = std::find(arguments.begin(), arguments.end(), "--"); end != arguments.end()) {
    program.has_trailing_command = true;
    program.trailing_command.assign(end + 1, arguments.end());
    arguments.erase(end, arguments.end());
  }
  for (std::string& argument : arguments) {
    if (argument == "--mount") argument = "--mount=/dev/mqueue";
  }
  return arguments;
}

// -1: go on with the action.
int parse(Program& program, std::vector<std::string> arguments) {
  arguments = prepare(program, std::move(arguments));
  std::reverse(arguments.begin(), arguments.end());  // as the parser wants them
  try {
    program.app.parse(arguments);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) {
      program.app.exit(error);  // help or version
      return kSuccess;
    }
    std::cerr << usage_error(&program.app, error);
    return kUsage;
  }
  return -1;
}

}  // namespace

int check_usage(std::vector<std::string> arguments) {
  Program program;
  add_commands(program);
  const int outcome = parse(program, std::move(arguments));
  return outcome < 0 ? kSuccess : outcome;
}

int run_program(int argc, char** argv) {
  // A reader that has gone is an error of write(2), to be reported like others.
  signal(SIGPIPE, SIG_IGN);
  std::vector<std::string> arguments(argv + 1, argv + argc);
  Program program;
  add_commands(program);
  const auto is_command = [&](const std::string& word) {
    const auto named = [&](const CLI::App* command) { return command->get_name() == word; };
    return !program.app.get_subcommands(named).empty();
  };
  if (is_mount_form(argc > 0 ? argv[0] : "", arguments, is_command)) return run_mount_form(arguments);
  const int outcome = parse(program, std::move(arguments));
  return outcome >= 0 ? outcome : program.action();
}

void add_ns_option(CLI::App& command, std::string& namespace_name) {
  command.add_option("--ns", namespace_name, "The namespace called NS instead of one's own")
      ->option_text("NS")
      ->envname("MQUEUEFS_NS");
}

void add_json_option(CLI::App& command, bool& json) { command.add_flag("--json", json, "Output for programs"); }

}  // namespace mqueuefs::cli
