// mqueuefs list: the queues of a namespace, who waits on them and who is to be notified.
#include <algorithm>

#include "base/clock.h"
#include "cli/answering.h"
#include "cli/command.h"
#include "cli/connect.h"
#include "cli/explain.h"
#include "cli/output.h"
#include "cli/queue_entry.h"
#include "cli/queue_view.h"

namespace mqueuefs::cli {
namespace {

struct ListOptions {
  std::string namespace_name;
  bool activity = false;
  bool json = false;
};

std::string activity_table_of(const std::vector<control::QueueEntry>& queues) {
  using enum Table::Align;
  const int64_t now_ns = realtime_now_ns();
  Table table{{"NAME", kLeft}, {"MESSAGES", kRight}, {"MAXMSG", kRight}, {"SENT", kRight}, {"RECEIVED", kRight},
              {"OLDEST", kRight}, {"BLOCKED", kLeft}};
  for (const auto& queue : queues) {
    table.add({shown_name(queue), std::to_string(queue.messages), std::to_string(queue.maxmsg),
               std::to_string(queue.sent), std::to_string(queue.received), oldest_text(queue, now_ns / 1'000'000'000),
               queue.dead != 0 ? "damaged" : blocked_text(queue, now_ns)});
  }
  return table.text();
}

std::string table_of(const std::vector<control::QueueEntry>& queues) {
  using enum Table::Align;
  Table table{{"NAME", kLeft},  {"MESSAGES", kRight}, {"BYTES", kRight},  {"MAXMSG", kRight}, {"MSGSIZE", kRight},
              {"MODE", kRight}, {"OWNER", kLeft},     {"WAITING", kLeft}, {"NOTIFY", kLeft}};
  for (const auto& queue : queues) {
    table.add({shown_name(queue), std::to_string(queue.messages), std::to_string(queue.bytes),
               std::to_string(queue.maxmsg), std::to_string(queue.msgsize), mode_text(queue.mode),
               user_name(queue.uid), queue.dead != 0 ? "damaged" : shown_waiters(queue), shown_notification(queue)});
  }
  return table.text();
}

int run(const ListOptions& options) {
  const Attempt attempt{"list", "", options.namespace_name};
  auto connection = connect_to_daemon(attempt);
  if (!connection) return kFailure;
  auto queues = fetch_queues(*connection, options.namespace_name, "", control::kQueueActivity);
  if (!queues) return fail(explain(attempt, queues.error()));
  std::sort(queues->begin(), queues->end(),
            [](const auto& a, const auto& b) { return std::string_view(a.name) < std::string_view(b.name); });
  // The queues that are missed may be there.
  if (!answering().others.empty()) {
    fail("list: these are in " + (answering().which.empty() ? "the daemon that answers" : answering().which) +
         "; there is also " + answering().others);
  }
  if (!options.json) return print(options.activity ? activity_table_of(*queues) : table_of(*queues));
  Json document = Json::array();
  for (const auto& queue : *queues) document.push_back(queue_json(queue));
  return print_json(document);
}

}  // namespace

void add_list(Program& program) {
  auto options = std::make_shared<ListOptions>();
  CLI::App* command = program.app.add_subcommand("list", "List the queues of a namespace");
  add_ns_option(*command, options->namespace_name);
  add_json_option(*command, options->json);
  command->add_flag("--activity", options->activity, "What went through them, the oldest message, who waits how long");
  command->callback([&program, options] { program.action = [options] { return run(*options); }; });
}

}  // namespace mqueuefs::cli
