// mqueuefs unshare: a command in a new namespace.
#include "cli/command.h"
#include "cli/new_namespace.h"

namespace mqueuefs::cli {

void add_unshare(Program& program) {
  auto what = std::make_shared<NewNamespace>();
  what->verb = "unshare";
  CLI::App* command = program.app.add_subcommand("unshare", "Run a command in a new namespace");
  command->footer("Then \"--\" and the command with its arguments; without them, your shell");
  command->add_option("--name", what->name, "Make a namespace of that name, which stays")->option_text("NAME");
  add_mount_option(*command, what->mount_dir);
  command->callback([&program, what] {
    if (program.has_trailing_command && program.trailing_command.empty()) throw CLI::RequiredError("COMMAND");
    what->named = what->name.empty() ? NamedNamespace::kNone : NamedNamespace::kCreate;
    what->command = command_or_shell(program);
    program.action = [what] { return run_in_new_namespace(*what); };
  });
}

}  // namespace mqueuefs::cli
