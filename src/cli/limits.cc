// mqueuefs limits: what /proc/sys/fs/mqueue and /proc/sys/kernel/{msg,sem,shm}* are to the kernel's.
#include <algorithm>

#include "cli/argument_names.h"
#include "cli/command.h"
#include "cli/connect.h"
#include "cli/explain.h"
#include "cli/output.h"
#include "client/limits.h"
#include "ipc/limits.h"

namespace mqueuefs::cli {
namespace {

struct Setting {
  std::string key;
  uint64_t value;
};

constexpr std::string_view kNextIds[] = {"msg_next_id", "sem_next_id", "shm_next_id"};
constexpr uint64_t kMostId = 2147483647;

bool is_next_id(std::string_view key) { return std::ranges::find(kNextIds, key) != std::end(kNextIds); }

struct LimitsOptions {
  std::string namespace_name;
  std::vector<std::string> settings;
  bool json = false;
};

std::optional<Setting> parse_setting(const std::string& text) {
  const size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0) return std::nullopt;
  const std::string digits = text.substr(equals + 1);
  if (digits.empty() || digits.size() > 20 || (digits.size() == 20 && digits > "18446744073709551615") || digits.find_first_not_of("0123456789") != std::string::npos) {
    return std::nullopt;
  }
  return Setting{text.substr(0, equals), std::stoull(digits)};
}

const ipc::LimitRule* find_rule(const std::string& key) {
  for (const ipc::LimitRule& rule : ipc::limit_rules()) {
    if (key == rule.name) return &rule;
  }
  return nullptr;
}

std::string explain_setting(const Attempt& attempt, const Setting& setting, Error error) {
  const std::string what = attempt.text() + ": " + setting.key;
  const ipc::LimitRule* rule = find_rule(setting.key);
  if (rule == nullptr && is_next_id(setting.key)) {
    if (error.code != EINVAL) return explain(attempt, error);
    return what + " " + std::to_string(setting.value) + " is not in 0 to " + std::to_string(kMostId) + " (EINVAL)";
  }
  if (rule == nullptr) {
    std::string names;
    for (const ipc::LimitRule& known : ipc::limit_rules()) names += std::string(names.empty() ? "" : ", ") + known.name;
    for (const std::string_view next_id : kNextIds) names += ", " + std::string(next_id);
    return what + " is not a limit; there are " + names + " (ENOENT)";
  }
  if (error.code == EINVAL) {
    return what + " " + std::to_string(setting.value) + " is not in " + std::to_string(rule->least) + " to " +
           std::to_string(rule->most) + " (EINVAL)";
  }
  if (error.code == ERANGE) {
    return what + " " + std::to_string(setting.value) + " is over the daemon's ceiling, its --max-limit (ERANGE)";
  }
  return explain(attempt, error);
}

struct Value {
  const char* name;
  uint64_t value;
};
std::vector<Value> values_of(const control::LimitsReply& limits) {
  return {{"queues_max", limits.queues_max},       {"msg_max", limits.msg_max},
          {"msg_default", limits.msg_default},     {"msgsize_max", limits.msgsize_max},
          {"msgsize_default", limits.msgsize_default}, {"queues", limits.queues},
          {"charged_bytes", limits.charged_bytes}, {"msgmni", limits.msgmni}, {"msgmax", limits.msgmax},
          {"msgmnb", limits.msgmnb}, {"semmsl", limits.semmsl}, {"semmns", limits.semmns}, {"semopm", limits.semopm},
          {"semmni", limits.semmni}, {"shmmni", limits.shmmni}, {"shmmax", limits.shmmax}, {"shmall", limits.shmall}};
}

// What there is of what a limit counts.
std::string in_use(const control::LimitsReply& limits, std::string_view name) {
  if (name == "queues_max") return std::to_string(limits.queues);
  if (name == "msgmni") return std::to_string(limits.objects[0]);
  if (name == "semmni") return std::to_string(limits.objects[1]);
  if (name == "shmmni") return std::to_string(limits.objects[2]);
  return "";
}

int show(const control::LimitsReply& limits, bool json) {
  if (json) {
    Json document;
    for (const Value& value : values_of(limits)) document[value.name] = value.value;
    document["msg_next_id"] = limits.msg_next_id;
    document["sem_next_id"] = limits.sem_next_id;
    document["shm_next_id"] = limits.shm_next_id;
    return print_json(document);
  }
  using enum Table::Align;
  Table table{{"LIMIT", kLeft}, {"VALUE", kRight}, {"IN USE", kRight}};
  for (const Value& value : values_of(limits)) {
    if (find_rule(value.name) == nullptr) continue;
    table.add({value.name, std::to_string(value.value), in_use(limits, value.name)});
  }
  table.add({"msg_next_id", std::to_string(limits.msg_next_id), ""});
  table.add({"sem_next_id", std::to_string(limits.sem_next_id), ""});
  table.add({"shm_next_id", std::to_string(limits.shm_next_id), ""});
  return print(table.text() + "charged to you (RLIMIT_MSGQUEUE): " + std::to_string(limits.charged_bytes) +
               " bytes\n");
}

int run(const LimitsOptions& options) {
  Attempt attempt{"limits", "", options.namespace_name};
  auto connection = connect_to_daemon(attempt);
  if (!connection) return kFailure;
  const char* name = options.namespace_name.c_str();
  for (const std::string& text : options.settings) {
    const Setting setting = parse_setting(text).value();
    const auto set = client::set_limit(*connection, name, setting.key.c_str(), setting.value);
    if (!set) return fail(explain_setting(attempt, setting, set.error()));
  }
  const auto limits = client::get_limits(*connection, name);
  if (!limits) return fail(explain(attempt, limits.error()));
  return show(*limits, options.json);
}

}  // namespace

std::vector<std::string> limit_names() {
  std::vector<std::string> names;
  for (const ipc::LimitRule& rule : ipc::limit_rules()) names.emplace_back(rule.name);
  return names;
}

void add_limits(Program& program) {
  auto options = std::make_shared<LimitsOptions>();
  CLI::App* command = program.app.add_subcommand("limits", "Show and set the limits of a namespace");
  add_ns_option(*command, options->namespace_name);
  add_json_option(*command, options->json);
  const auto check = [](const std::string& text) {
    return parse_setting(text) ? std::string() : "\"" + text + "\" is not KEY=VALUE with a number";
  };
  command->add_option(argument_name("KEY=VALUE"), options->settings, "What to set first")
      ->check(CLI::Validator(check, "KEY=VALUE"));
  command->callback([&program, options] { program.action = [options] { return run(*options); }; });
}

}  // namespace mqueuefs::cli
