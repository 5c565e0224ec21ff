// mqueuefs gc: queues that nobody has to do with any more: shows them, and removes them if told to.
//
// The daemon decides, at the moment of the removal: the list may be old by then. See Collect in control/messages.h.
#include <algorithm>
#include <cstring>

#include "base/clock.h"
#include "cli/command.h"
#include "cli/connect.h"
#include "cli/explain.h"
#include "cli/output.h"
#include "cli/queue_entry.h"
#include "cli/queue_session.h"
#include "cli/queue_view.h"
#include "client/queue.h"

namespace mqueuefs::cli {
namespace {

struct GcOptions {
  std::string namespace_name;
  std::string min_age = "0";
  bool empty = false;
  bool yes = false;
  bool json = false;
};

struct Candidate {
  control::QueueEntry entry;
  bool removed = false;
  int error = 0;
};

std::string why(const control::QueueEntry& entry) {
  return (entry.creator_pid > 0 ? "process " + std::to_string(entry.creator_pid) : std::string("the process")) +
         " that made it is gone, nobody has it open";
}

bool is_candidate(const control::QueueEntry& entry, const GcOptions& options, int64_t now_s) {
  if (entry.held_by != 0) return false;
  if (options.empty && entry.messages > 0) return false;
  return now_s - entry.created_s >= parse_seconds(options.min_age).value() / 1'000'000'000;
}

Status remove(client::Connection& connection, const GcOptions& options, const control::QueueEntry& entry) {
  control::Collect request{};
  request.inode = entry.inode;
  request.sent = entry.sent;
  request.received = entry.received;
  memcpy(request.name, entry.name, sizeof request.name);
  const auto prepared = connection.request(control::Type::kCollect, control::bytes_of(request));
  if (!prepared) return prepared.error();
  return client::unlink_queue(connection, options.namespace_name.c_str(), (std::string("/") + entry.name).c_str());
}

int show(const std::vector<Candidate>& candidates, const GcOptions& options, int64_t now_s) {
  if (options.json) {
    Json document = Json::array();
    for (const Candidate& candidate : candidates) {
      Json object = queue_json(candidate.entry);
      object["age"] = std::max<int64_t>(now_s - candidate.entry.created_s, 0);
      object["why"] = why(candidate.entry);
      object["removed"] = candidate.removed;
      document.push_back(object);
    }
    return print_json(document);
  }
  using enum Table::Align;
  Table table{{"NAME", kLeft}, {"AGE", kRight}, {"MESSAGES", kRight}, {"BYTES", kRight}, {"REMOVED", kLeft}, {"WHY", kLeft}};
  for (const Candidate& candidate : candidates) {
    const control::QueueEntry& entry = candidate.entry;
    table.add({shown_name(entry), duration_text(std::max<int64_t>(now_s - entry.created_s, 0)),
               std::to_string(entry.messages), std::to_string(entry.bytes), candidate.removed ? "yes" : "no", why(entry)});
  }
  return print(table.text());
}

int run(const GcOptions& options) {
  const Attempt attempt{"gc", "", options.namespace_name};
  auto connection = connect_to_daemon(attempt);
  if (!connection) return kFailure;
  const auto queues = fetch_queues(*connection, options.namespace_name, "", control::kQueueHolders | control::kQueueActivity);
  if (!queues) return fail(explain(attempt, queues.error()));
  const int64_t now_s = realtime_now_ns() / 1'000'000'000;
  std::vector<Candidate> candidates;
  for (const control::QueueEntry& entry : *queues) {
    if (is_candidate(entry, options, now_s)) candidates.push_back({entry});
  }
  std::sort(candidates.begin(), candidates.end(), [](const Candidate& a, const Candidate& b) {
    return std::string_view(a.entry.name) < std::string_view(b.entry.name);
  });
  int outcome = kSuccess;
  for (Candidate& candidate : candidates) {
    if (!options.yes) break;
    const Status removed = remove(*connection, options, candidate.entry);
    candidate.removed = removed.ok();
    // Somebody took it up, or removed it, meanwhile: that is as it should be.
    if (removed || removed.code() == EBUSY || removed.code() == ENOENT) continue;
    outcome = fail(explain({"gc", shown_name(candidate.entry), options.namespace_name}, removed.error()));
  }
  const int shown = show(candidates, options, now_s);
  return outcome == kSuccess ? shown : outcome;
}

}  // namespace

void add_gc(Program& program) {
  auto options = std::make_shared<GcOptions>();
  CLI::App* command = program.app.add_subcommand("gc", "Find queues that nobody uses any more");
  add_ns_option(*command, options->namespace_name);
  add_json_option(*command, options->json);
  const auto check = [](const std::string& text) {
    return parse_seconds(text) ? std::string() : "\"" + text + "\" is not a number of seconds";
  };
  command->add_option("--min-age", options->min_age, "Only queues that were made so long ago")
      ->option_text("SECONDS")
      ->check(CLI::Validator(check, "SECONDS"));
  command->add_flag("--empty", options->empty, "Only queues without messages");
  command->add_flag("--yes", options->yes, "Remove them");
  command->callback([&program, options] { program.action = [options] { return run(*options); }; });
}

}  // namespace mqueuefs::cli
