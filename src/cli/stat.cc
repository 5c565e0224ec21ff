// mqueuefs stat: all that is known of one queue.
#include <time.h>

#include "base/clock.h"
#include "cli/command.h"
#include "cli/connect.h"
#include "cli/explain.h"
#include "cli/output.h"
#include "cli/queue_entry.h"
#include "cli/queue_view.h"
#include "client/queue.h"

namespace mqueuefs::cli {
namespace {

struct StatOptions {
  std::string namespace_name;
  std::string queue;
  bool json = false;
};

std::string time_text(int64_t seconds) {
  const time_t time = seconds;
  tm local{};
  char text[64];
  localtime_r(&time, &local);
  strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S %z", &local);
  return text;
}

std::string text_of(const control::QueueEntry& queue) {
  std::string text;
  const auto add = [&](std::string_view what, const std::string& value) {
    text += std::string(what) + ":" + std::string(15 - what.size(), ' ') + value + "\n";
  };
  const auto who = [](const std::string& name, unsigned id) {
    return name == std::to_string(id) ? name : name + " (" + std::to_string(id) + ")";
  };
  add("name", shown_name(queue));
  add("messages", std::to_string(queue.messages) + " of " + std::to_string(queue.maxmsg));
  add("bytes", std::to_string(queue.bytes));
  add("maxmsg", std::to_string(queue.maxmsg));
  add("msgsize", std::to_string(queue.msgsize));
  add("mode", mode_text(queue.mode));
  add("owner", who(user_name(queue.uid), queue.uid));
  add("group", who(group_name(queue.gid), queue.gid));
  add("inode", std::to_string(queue.inode));
  add("open", std::to_string(queue.open_handles));
  add("waiting", shown_waiters(queue));
  add("notify", shown_notification(queue));
  add("sent", std::to_string(queue.sent));
  add("received", std::to_string(queue.received));
  add("oldest", oldest_text(queue, realtime_now_ns() / 1'000'000'000));
  add("blocked", blocked_text(queue, realtime_now_ns()));
  add("created", time_text(queue.created_s) + (queue.creator_pid > 0 ? " by pid " + std::to_string(queue.creator_pid) : ""));
  add("access", time_text(queue.atime_s));
  add("modify", time_text(queue.mtime_s));
  add("change", time_text(queue.ctime_s));
  if (queue.dead != 0) add("damaged", "yes: its memory contradicts itself");
  return text;
}

int run(const StatOptions& options) {
  const Attempt attempt{"stat", options.queue, options.namespace_name};
  const auto name = client::file_name_of(options.queue.c_str());
  if (!name) return fail(explain(attempt, name.error()));
  auto connection = connect_to_daemon(attempt);
  if (!connection) return kFailure;
  const auto queues = fetch_queues(*connection, options.namespace_name, *name, control::kQueueActivity);
  if (!queues) {
    // ENOENT may be the namespace's or the queue's: only the first also fails without a queue.
    const bool no_queue = queues.code() == ENOENT && fetch_queues(*connection, options.namespace_name).ok();
    return fail(explain(attempt, no_queue ? Error{ENOENT, nullptr} : queues.error()));
  }
  if (queues->empty()) return fail(explain(attempt, Error{ENOENT, nullptr}));
  return options.json ? print_json(queue_json(queues->front())) : print(text_of(queues->front()));
}

}  // namespace

void add_stat(Program& program) {
  auto options = std::make_shared<StatOptions>();
  CLI::App* command = program.app.add_subcommand("stat", "Show all that is known of a queue");
  add_ns_option(*command, options->namespace_name);
  add_json_option(*command, options->json);
  command->add_option("QUEUE", options->queue, "Its name, with or without a leading slash")->required();
  command->callback([&program, options] { program.action = [options] { return run(*options); }; });
}

}  // namespace mqueuefs::cli
