// mqueuefs create: a queue with chosen attributes.
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>

#include "cli/command.h"
#include "cli/connect.h"
#include "cli/explain.h"
#include "cli/output.h"
#include "client/limits.h"
#include "client/queue.h"

namespace mqueuefs::cli {
namespace {

struct CreateOptions {
  std::string namespace_name;
  std::string queue;
  std::optional<int64_t> maxmsg;
  std::optional<int64_t> msgsize;
  std::string mode;
};

uint64_t own_rlimit() {
  rlimit limit{};
  getrlimit(RLIMIT_MSGQUEUE, &limit);
  return limit.rlim_cur;
}

int run(const CreateOptions& options) {
  const Attempt attempt{"create", options.queue, options.namespace_name};
  auto connection = connect_to_daemon(attempt);
  if (!connection) return kFailure;

  // An attribute that was not given is what a queue without attributes has (doc/behaviour.md C7).
  CreateFacts facts;
  if (const auto limits = client::get_limits(*connection, options.namespace_name.c_str())) {
    facts.limits = *limits;
    facts.maxmsg = static_cast<int64_t>(std::min(limits->msg_max, limits->msg_default));
    facts.msgsize = static_cast<int64_t>(std::min(limits->msgsize_max, limits->msgsize_default));
  } else if (limits.code() != EPERM && limits.code() != EACCES) {
    return fail(explain(attempt, limits.error()));
  }
  facts.maxmsg = options.maxmsg.value_or(facts.maxmsg);
  facts.msgsize = options.msgsize.value_or(facts.msgsize);
  facts.rlimit_msgqueue = own_rlimit();

  mode_t mode = 0666;
  if (!options.mode.empty()) {
    // As mkfifo -m: exactly that mode.
    mode = static_cast<mode_t>(std::stoul(options.mode, nullptr, 8));
    umask(0);
  }
  const bool has_attributes = options.maxmsg || options.msgsize;
  const client::Attributes attributes{facts.maxmsg, facts.msgsize};
  const auto queue = client::open_queue(*connection, options.namespace_name.c_str(), options.queue.c_str(),
                                        O_RDWR | O_CREAT | O_EXCL, mode, has_attributes ? &attributes : nullptr);
  return queue ? kSuccess : fail(explain_create(attempt, queue.error(), facts));
}

std::string check_mode(const std::string& text) {
  const bool octal = text.find_first_not_of("01234567") == std::string::npos;
  return octal && !text.empty() && text.size() <= 5 && std::stoul(text, nullptr, 8) <= 07777 ? "" : "not an octal mode";
}

}  // namespace

void add_create(Program& program) {
  auto options = std::make_shared<CreateOptions>();
  CLI::App* command = program.app.add_subcommand("create", "Create a queue");
  add_ns_option(*command, options->namespace_name);
  command->add_option("--maxmsg", options->maxmsg, "How many messages it holds")->option_text("N");
  command->add_option("--msgsize", options->msgsize, "How many bytes a message may have")->option_text("N");
  command->add_option("--mode", options->mode, "Its permissions [0666 without the umask's bits]")
      ->option_text("OCTAL")
      ->check(CLI::Validator(check_mode, "OCTAL"));
  command->add_option("QUEUE", options->queue, "Its name, with or without a leading slash")->required();
  command->callback([&program, options] { program.action = [options] { return run(*options); }; });
}

}  // namespace mqueuefs::cli
