// mqueuefs ipc: the System V objects of a namespace, and ids that are to be others. See mqueuefs-ipc(1).
#include <time.h>

#include <cstring>

#include "cli/argument_names.h"
#include "cli/command.h"
#include "cli/connect.h"
#include "cli/explain.h"
#include "cli/output.h"
#include "client/sysv_admin.h"

namespace mqueuefs::cli {
namespace {

using control::SysvEntry;
using control::SysvKind;

constexpr std::string_view kKinds[] = {"msg", "sem", "shm"};
// What SysvStat's numbers are called, by kind.
struct Fields {
  const char* counts[3];
  const char* processes[2];
  const char* times[3];
};
constexpr Fields kFields[] = {
    {{"messages", "bytes", "qbytes"}, {"lspid", "lrpid"}, {"stime", "rtime", "ctime"}},
    {{"nsems"}, {}, {"otime", "ctime"}},
    {{"size", "attached"}, {"cpid", "lpid"}, {"atime", "dtime", "ctime"}},
};
constexpr unsigned kRemovedMode = 01000;  // SHM_DEST
constexpr unsigned kLockedMode = 02000;   // SHM_LOCKED
constexpr int kIndexBits = 15;

struct IpcOptions {
  std::string namespace_name;
  std::string kind;
  std::vector<std::string> ids;
  bool json = false;
};

SysvKind kind_of(const std::string& name) {
  return static_cast<SysvKind>(std::ranges::find(kKinds, name) - std::begin(kKinds));
}

std::string name_of(SysvKind kind) { return std::string(kKinds[static_cast<size_t>(kind)]); }

// 0 to INT_MAX.
std::optional<int32_t> parse_id(const std::string& text) {
  if (text.empty() || text.size() > 10 || text.find_first_not_of("0123456789") != std::string::npos) return std::nullopt;
  const long long value = std::stoll(text);
  if (value > INT32_MAX) return std::nullopt;
  return static_cast<int32_t>(value);
}

std::optional<control::SysvPair> parse_pair(const std::string& text) {
  const size_t equals = text.find('=');
  if (equals == std::string::npos) return std::nullopt;
  const auto id = parse_id(text.substr(0, equals));
  const auto new_id = parse_id(text.substr(equals + 1));
  if (!id || !new_id) return std::nullopt;
  return control::SysvPair{*id, *new_id};
}

std::string key_text(int32_t key) {
  char text[16];
  snprintf(text, sizeof text, "0x%08x", static_cast<unsigned>(key));
  return text;
}

// --- what is there ---

Result<std::vector<SysvEntry>> fetch(client::Connection& connection, const std::string& name, SysvKind kind) {
  auto request = client::admin_request(name.c_str(), control::SysvVerb::kList, kind);
  if (!request) return request.error();
  return fetch_pages<SysvEntry>(connection, control::Type::kSysvAdmin, *request,
                                [](control::SysvAdmin& r, uint64_t cursor) { r.first = static_cast<int64_t>(cursor); });
}

Json json_of(SysvKind kind, const SysvEntry& entry) {
  const control::SysvStat& stat = entry.stat;
  const control::SysvPermissions& who = stat.permissions;
  Json object;
  object["kind"] = name_of(kind);
  object["id"] = entry.id;
  object["index"] = entry.id & ((1 << kIndexBits) - 1);
  object["sequence"] = entry.id >> kIndexBits;
  object["key"] = who.key;
  object["mode"] = mode_text(who.mode & 0777);
  object["uid"] = who.uid;
  object["gid"] = who.gid;
  object["cuid"] = who.creator_uid;
  object["cgid"] = who.creator_gid;
  object["owner"] = user_name(who.uid);
  object["group"] = group_name(who.gid);
  const Fields& fields = kFields[static_cast<size_t>(kind)];
  for (size_t i = 0; i < std::size(fields.counts) && fields.counts[i] != nullptr; ++i)
    object[fields.counts[i]] = stat.counts[i];
  for (size_t i = 0; i < std::size(fields.processes) && fields.processes[i] != nullptr; ++i)
    object[fields.processes[i]] = stat.processes[i];
  for (size_t i = 0; i < std::size(fields.times) && fields.times[i] != nullptr; ++i)
    object[fields.times[i]] = stat.times[i];
  switch (kind) {
    case SysvKind::kMsg:
      object["waiting"] = {{"senders", entry.waiting[0]}, {"receivers", entry.waiting[1]}};
      break;
    case SysvKind::kSem:
      object["waiting"] = entry.waiting[0];
      break;
    case SysvKind::kShm:
      object["removed"] = (who.mode & kRemovedMode) != 0;
      object["locked"] = (who.mode & kLockedMode) != 0;
      break;
  }
  return object;
}

std::string what_of(SysvKind kind, const SysvEntry& entry) {
  const uint64_t* const counts = entry.stat.counts;
  switch (kind) {
    case SysvKind::kMsg:
      return std::to_string(counts[0]) + " messages, " + std::to_string(counts[1]) + " of " + std::to_string(counts[2]) +
             " bytes";
    case SysvKind::kSem:
      return std::to_string(counts[0]) + " semaphores";
    case SysvKind::kShm:
      break;
  }
  std::string text = std::to_string(counts[0]) + " bytes, attached " + std::to_string(counts[1]);
  if ((entry.stat.permissions.mode & kRemovedMode) != 0) text += ", removed";
  if ((entry.stat.permissions.mode & kLockedMode) != 0) text += ", locked";
  return text;
}

std::string waiters_of(SysvKind kind, const SysvEntry& entry) {
  const auto count = [](uint32_t number, const char* what) {
    return std::to_string(number) + " " + what + (number == 1 ? "" : "s");
  };
  if (kind == SysvKind::kSem && entry.waiting[0] > 0) return count(entry.waiting[0], "operation");
  if (entry.waiting[0] > 0 && entry.waiting[1] > 0)
    return count(entry.waiting[0], "sender") + ", " + count(entry.waiting[1], "receiver");
  if (entry.waiting[0] > 0) return count(entry.waiting[0], "sender");
  if (entry.waiting[1] > 0) return count(entry.waiting[1], "receiver");
  return "-";
}

int list(const IpcOptions& options) {
  const Attempt attempt{"ipc list", "", options.namespace_name};
  auto connection = connect_to_daemon(attempt);
  if (!connection) return kFailure;
  using enum Table::Align;
  Table table{{"KIND", kLeft}, {"ID", kRight},  {"KEY", kLeft},     {"OWNER", kLeft},
              {"MODE", kRight}, {"WHAT", kLeft}, {"WAITING", kLeft}};
  Json document = Json::array();
  for (const std::string_view name : kKinds) {
    if (!options.kind.empty() && options.kind != name) continue;
    const SysvKind kind = kind_of(std::string(name));
    const auto entries = fetch(*connection, options.namespace_name, kind);
    if (!entries) return fail(explain(attempt, entries.error()));
    for (const SysvEntry& entry : *entries) {
      if (options.json) {
        document.push_back(json_of(kind, entry));
        continue;
      }
      table.add({std::string(name), std::to_string(entry.id), key_text(entry.stat.permissions.key),
                 user_name(entry.stat.permissions.uid), mode_text(entry.stat.permissions.mode & 0777),
                 what_of(kind, entry), waiters_of(kind, entry)});
    }
  }
  return options.json ? print_json(document) : print(table.text());
}

std::string shown_value(const Json& value) { return value.is_string() ? value.get<std::string>() : value.dump(); }

int show(const IpcOptions& options) {
  const SysvKind kind = kind_of(options.kind);
  const int32_t id = parse_id(options.ids.front()).value();
  const Attempt attempt{"ipc show " + options.kind + " " + std::to_string(id), "", options.namespace_name};
  auto connection = connect_to_daemon(attempt);
  if (!connection) return kFailure;
  const auto entries = fetch(*connection, options.namespace_name, kind);
  if (!entries) return fail(explain(attempt, entries.error()));
  for (const SysvEntry& entry : *entries) {
    if (entry.id != id) continue;
    const Json document = json_of(kind, entry);
    if (options.json) return print_json(document);
    std::string text;
    for (const auto& [name, value] : document.items()) {
      const std::string shown = name == "key" ? key_text(value) : shown_value(value);
      text += name + ":" + std::string(name.size() < 14 ? 15 - name.size() : 1, ' ') + shown + "\n";
    }
    return print(text);
  }
  return fail(attempt.text() + ": no such object (EINVAL)");
}

// --- what is to be otherwise ---

std::string explain_ipc(const Attempt& attempt, Error error) {
  switch (error.code) {
    case EINVAL:
      return attempt.text() + ": no object has that id, or an id is named twice (EINVAL)";
    case EBUSY:
      return attempt.text() + ": the place of a new id (its remainder by 32768) is another object's (EBUSY)";
    case EPERM:
      return attempt.text() +
             ": only the namespace's owner may, and who has CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE over it (EPERM)";
    default:
      return explain(attempt, error);
  }
}

int remove(const IpcOptions& options) {
  const SysvKind kind = kind_of(options.kind);
  auto connection = connect_to_daemon({"ipc remove", "", options.namespace_name});
  if (!connection) return kFailure;
  int outcome = kSuccess;
  for (const std::string& text : options.ids) {
    const Attempt attempt{"ipc remove " + options.kind + " " + text, "", options.namespace_name};
    const Status removed =
        client::remove_object(*connection, options.namespace_name.c_str(), kind, parse_id(text).value());
    if (removed) continue;
    std::string why = explain(attempt, removed.error());
    if (removed.code() == EINVAL) why = attempt.text() + ": no such object (EINVAL)";
    if (removed.code() == EPERM)
      why = attempt.text() + ": only its owner, its creator and the namespace's owner may (EPERM)";
    outcome = fail(why);
  }
  return outcome;
}

int permute(const IpcOptions& options, const std::string& verb, const std::vector<control::SysvPair>& pairs) {
  std::string text = "ipc " + verb + " " + options.kind;
  for (const std::string& id : options.ids) text += " " + id;
  if (options.ids.size() > 8) text = "ipc " + verb + " " + options.kind + " of " + std::to_string(pairs.size()) + " ids";
  const Attempt attempt{text, "", options.namespace_name};
  auto connection = connect_to_daemon(attempt);
  if (!connection) return kFailure;
  const Status done =
      client::permute_ids(*connection, options.namespace_name.c_str(), kind_of(options.kind), pairs);
  return done ? kSuccess : fail(explain_ipc(attempt, done.error()));
}

int change(const IpcOptions& options) {
  return permute(options, "chid", {{parse_id(options.ids[0]).value(), parse_id(options.ids[1]).value()}});
}

int permute_all(const IpcOptions& options) {
  std::vector<control::SysvPair> pairs;
  for (const std::string& text : options.ids) pairs.push_back(parse_pair(text).value());
  return permute(options, "permute", pairs);
}

int next_id(const IpcOptions& options) {
  const Attempt attempt{"ipc next-id " + options.kind, "", options.namespace_name};
  auto connection = connect_to_daemon(attempt);
  if (!connection) return kFailure;
  const char* name = options.namespace_name.c_str();
  const SysvKind kind = kind_of(options.kind);
  if (!options.ids.empty()) {
    const int64_t id = options.ids[0] == "-1" ? -1 : parse_id(options.ids[0]).value();
    const Status set = client::set_next_id(*connection, name, kind, id);
    return set ? kSuccess : fail(explain_ipc(attempt, set.error()));
  }
  const auto next = client::next_id(*connection, name, kind);
  if (!next) return fail(explain(attempt, next.error()));
  if (!options.json) return print(std::to_string(*next) + "\n");
  Json document;
  document["kind"] = options.kind;
  document["next_id"] = *next;
  return print_json(document);
}

std::string check_id(const std::string& text) {
  return parse_id(text) ? std::string() : "\"" + text + "\" is not an id: 0 to 2147483647";
}
std::string check_next_id(const std::string& text) { return text == "-1" ? std::string() : check_id(text); }
std::string check_pair(const std::string& text) {
  return parse_pair(text) ? std::string() : "\"" + text + "\" is not ID=NEWID";
}

}  // namespace

void add_ipc(Program& program) {
  CLI::App* group = program.app.add_subcommand("ipc", "System V IPC: list, show, remove objects, change their ids");
  group->require_subcommand(1);
  auto options = std::make_shared<IpcOptions>();
  add_ns_option(*group, options->namespace_name);
  const auto add = [&](const char* name, const char* what, int (*run)(const IpcOptions&)) {
    CLI::App* command = group->add_subcommand(name, what);
    command->fallthrough();  // --ns may come here, too
    command->callback([&program, options, run] { program.action = [options, run] { return run(*options); }; });
    return command;
  };
  const auto add_kind = [&](CLI::App* command) {
    return command->add_option("KIND", options->kind, "msg, sem or shm")
        ->check(CLI::IsMember(std::vector<std::string>(std::begin(kKinds), std::end(kKinds))))
        ->option_text(" ");
  };
  const auto add_ids = [&](CLI::App* command, const char* name, const char* what, std::string (*check)(const std::string&)) {
    return command->add_option(argument_name(name), options->ids, what)->check(CLI::Validator(check, name))->option_text(" ");
  };

  CLI::App* command = add("list", "List the objects", list);
  add_json_option(*command, options->json);
  add_kind(command);

  command = add("show", "Show all that is known of an object", show);
  add_json_option(*command, options->json);
  add_kind(command)->required();
  add_ids(command, "ID", "Which one", check_id)->required()->expected(1);

  command = add("remove", "Remove objects, as IPC_RMID does", remove);
  add_kind(command)->required();
  add_ids(command, "ID", "Which ones", check_id)->required();

  command = add("chid", "Change an object's id", change);
  add_kind(command)->required();
  for (const auto& [name, what] : {std::pair("ID", "The id that it has"), std::pair("NEWID", "The id that it gets")}) {
    const auto add_id = [options](const std::string& id) { options->ids.push_back(id); };
    command->add_option_function<std::string>(name, add_id, what)->required()->check(CLI::Validator(check_id, name))->option_text(" ");
  }

  command = add("permute", "Change the ids of many objects at once, all or none", permute_all);
  add_kind(command)->required();
  add_ids(command, "ID=NEWID", "What each is to become", check_pair)->required();

  command = add("next-id", "Show or set the id that the next object gets", next_id);
  add_json_option(*command, options->json);
  add_kind(command)->required();
  add_ids(command, "ID", "What to set; -1: as it comes", check_next_id)->expected(1);
}

}  // namespace mqueuefs::cli
