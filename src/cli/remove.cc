// mqueuefs remove: takes queues' names away, as rm and mq_unlink do.
#include "cli/command.h"
#include "cli/connect.h"
#include "cli/explain.h"
#include "cli/output.h"
#include "client/queue.h"

namespace mqueuefs::cli {
namespace {

struct RemoveOptions {
  std::string namespace_name;
  std::vector<std::string> queues;
};

int run(const RemoveOptions& options) {
  auto connection = connect_to_daemon({"remove", options.queues.front(), options.namespace_name});
  if (!connection) return kFailure;
  int outcome = kSuccess;
  for (const std::string& queue : options.queues) {
    const Attempt attempt{"remove", queue, options.namespace_name};
    const Status removed = client::unlink_queue(*connection, options.namespace_name.c_str(), queue.c_str());
    if (!removed) outcome = fail(explain(attempt, removed.error()));
  }
  return outcome;
}

}  // namespace

void add_remove(Program& program) {
  auto options = std::make_shared<RemoveOptions>();
  CLI::App* command = program.app.add_subcommand("remove", "Remove queues");
  add_ns_option(*command, options->namespace_name);
  command->add_option("QUEUE", options->queues, "Their names, with or without a leading slash")->required();
  command->callback([&program, options] { program.action = [options] { return run(*options); }; });
}

}  // namespace mqueuefs::cli
