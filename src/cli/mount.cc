// mqueuefs mount: the mount form by its own name.
#include "cli/command.h"
#include "cli/mount_form.h"
#include "cli/output.h"

namespace mqueuefs::cli {
namespace {

struct MountCommandOptions {
  std::string options;
  std::string source;
  std::string directory;
};

int run(const MountCommandOptions& options) {
  MountCommand command;
  command.source = options.source;
  command.directory = options.directory;
  const std::string unknown = parse_mount_options(options.options, false, command.options);
  if (!unknown.empty()) {
    fail("mount: unknown option " + printable(unknown));
    return kUsage;
  }
  return run_mount(command) == kSuccess ? kSuccess : kFailure;
}

}  // namespace

void add_mount(Program& program) {
  auto options = std::make_shared<MountCommandOptions>();
  CLI::App* command = program.app.add_subcommand("mount", "Mount a namespace, as mount -t fuse.mqueuefs does");
  command->add_option("-o,--options", options->options, "ns=NAME, ro, remount and others of mount(8)")
      ->option_text("OPTIONS");
  command->add_option("SOURCE", options->source, "Any word: it is shown and means nothing")->required();
  command->add_option("DIR", options->directory, "Where")->required();
  command->callback([&program, options] { program.action = [options] { return run(*options); }; });
}

}  // namespace mqueuefs::cli
