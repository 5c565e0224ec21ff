// mqueuefs enter: a command in a named namespace.
#include "cli/command.h"
#include "cli/new_namespace.h"

namespace mqueuefs::cli {

void add_enter(Program& program) {
  auto what = std::make_shared<NewNamespace>();
  what->verb = "enter";
  what->named = NamedNamespace::kExisting;
  CLI::App* command = program.app.add_subcommand("enter", "Run a command in a named namespace");
  command->footer("Then \"--\" and the command with its arguments; without them, your shell");
  command->add_option("NAME", what->name, "The namespace's name")->required();
  add_mount_option(*command, what->mount_dir);
  command->callback([&program, what] {
    if (program.has_trailing_command && program.trailing_command.empty()) throw CLI::RequiredError("COMMAND");
    what->command = command_or_shell(program);
    program.action = [what] { return run_in_new_namespace(*what); };
  });
}

}  // namespace mqueuefs::cli
