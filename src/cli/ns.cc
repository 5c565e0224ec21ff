// mqueuefs ns: namespaces by name, and which kernel IPC namespaces act as them.
#include <signal.h>

#include <cstring>

#include "cli/command.h"
#include "cli/connect.h"
#include "cli/explain.h"
#include "cli/output.h"

namespace mqueuefs::cli {
namespace {

using control::Type;

struct NsOptions {
  std::string name;
  int32_t pid = 0;
  bool json = false;
};

std::string name_of(const control::NamespaceEntry& entry) {
  return std::string(entry.name, strnlen(entry.name, sizeof entry.name));
}

// "ipc:[4026531839]", as readlink(1) shows /proc/PID/ns/ipc.
std::string shown_bindings(const control::NamespaceEntry& entry) {
  std::string text;
  uint32_t shown = 0;
  for (const uint64_t inode : entry.kernel_inodes) {
    if (inode == 0) continue;
    text += (shown++ == 0 ? "ipc:[" : " ipc:[") + std::to_string(inode) + "]";
  }
  if (entry.bindings > shown) text += (shown == 0 ? "" : " ") + ("and " + std::to_string(entry.bindings - shown) + " more");
  return text.empty() ? "-" : text;
}

Json json_of(const control::NamespaceEntry& entry) {
  Json object;
  object["id"] = entry.id;
  object["name"] = nullptr;
  if (const std::string name = name_of(entry); !name.empty()) {
    if (!is_utf8(name)) object.erase("name");
    add_text(object, "name", "name_data", name);
  }
  object["uid"] = entry.owner_uid;
  object["owner"] = user_name(entry.owner_uid);
  object["queues"] = entry.queues;
  object["messages"] = entry.messages;
  object["charged_bytes"] = entry.charged_bytes;
  object["requests"] = entry.requests;
  object["superblocks"] = entry.superblocks;
  object["bindings"] = entry.bindings;
  object["kernel_inodes"] = Json::array();
  for (const uint64_t inode : entry.kernel_inodes) {
    if (inode != 0) object["kernel_inodes"].push_back(inode);
  }
  return object;
}

int list(const NsOptions& options) {
  const Attempt attempt{"ns list", "", ""};
  auto connection = connect_to_daemon(attempt);
  if (!connection) return kFailure;
  const auto namespaces = fetch_namespaces(*connection);
  if (!namespaces) return fail(explain(attempt, namespaces.error()));
  if (options.json) {
    Json document = Json::array();
    for (const auto& entry : *namespaces) document.push_back(json_of(entry));
    return print_json(document);
  }
  using enum Table::Align;
  Table table{{"ID", kRight},     {"NAME", kLeft},     {"OWNER", kLeft},     {"QUEUES", kRight},
              {"MESSAGES", kRight}, {"CHARGED", kRight}, {"MOUNTED", kRight}, {"BOUND TO", kLeft}};
  for (const auto& entry : *namespaces) {
    const std::string name = name_of(entry);
    table.add({std::to_string(entry.id), name.empty() ? "-" : printable(name), user_name(entry.owner_uid),
               std::to_string(entry.queues), std::to_string(entry.messages), std::to_string(entry.charged_bytes),
               std::to_string(entry.superblocks), shown_bindings(entry)});
  }
  return print(table.text());
}

// EEXIST, EBUSY and ESRCH mean something here that they don't elsewhere.
std::string explain_ns(const Attempt& attempt, Error error, const NsOptions& options) {
  const std::string prefix = attempt.text() + ": ";
  switch (error.code) {
    case EEXIST:
      return prefix + "a namespace of that name exists (EEXIST)";
    case EBUSY:
      return prefix + "it is bound to kernel IPC namespaces that are alive (EBUSY)";
    case ESRCH:
      return prefix + "no process " + std::to_string(options.pid) + " (ESRCH)";
    case EINVAL:
      return prefix + "a namespace's name has 1 to 255 bytes and no '/' or control characters (EINVAL)";
    case ENOENT:
      return prefix + "no namespace called " + printable(options.name) + " (ENOENT)";
    case ENAMETOOLONG:
      return prefix + "a namespace's name has at most 255 bytes (ENAMETOOLONG)";
    default:
      return explain(attempt, error);
  }
}

template <typename Body>
int change(const char* verb, Type type, const NsOptions& options, Body body) {
  const Attempt attempt{verb + std::string(" ") + printable(options.name), "", ""};
  if (const Status set = client::set_name(body.name, options.name.c_str()); !set) {
    return fail(explain_ns(attempt, set.error(), options));
  }
  auto connection = connect_to_daemon(attempt);
  if (!connection) return kFailure;
  const auto reply = connection->request(type, control::bytes_of(body));
  if (reply) return kSuccess;
  // Without the process there is no namespace of it either.
  const bool no_process = options.pid != 0 && kill(options.pid, 0) != 0 && errno == ESRCH;
  return fail(explain_ns(attempt, no_process ? Error{ESRCH, nullptr} : reply.error(), options));
}

}  // namespace

void add_ns(Program& program) {
  CLI::App* group = program.app.add_subcommand("ns", "Namespaces: list, create, remove, bind");
  group->require_subcommand(1);
  auto options = std::make_shared<NsOptions>();

  CLI::App* list_command = group->add_subcommand("list", "List the namespaces that you may see");
  add_json_option(*list_command, options->json);
  list_command->callback([&program, options] { program.action = [options] { return list(*options); }; });

  CLI::App* create = group->add_subcommand("create", "Make a named namespace; it stays until it is removed");
  create->add_option("NAME", options->name, "Its name")->required();
  create->callback([&program, options] {
    program.action = [options] {
      return change("ns create", Type::kNamespaceCreate, *options, control::NamespaceName{});
    };
  });

  CLI::App* remove = group->add_subcommand("remove", "Take a namespace's name away; it ends with its last user");
  remove->add_option("NAME", options->name, "Its name")->required();
  remove->callback([&program, options] {
    program.action = [options] {
      return change("ns remove", Type::kNamespaceRemove, *options, control::NamespaceName{});
    };
  });

  CLI::App* bind = group->add_subcommand("bind", "Let a process's kernel IPC namespace act as a named one");
  bind->add_option("NAME", options->name, "The namespace's name")->required();
  bind->add_option("--pid", options->pid, "The process [the caller]")->option_text("PID")->check(CLI::PositiveNumber);
  bind->callback([&program, options] {
    program.action = [options] {
      control::NamespaceBind body{};
      body.pid = options->pid;
      return change("ns bind", Type::kNamespaceBind, *options, body);
    };
  });
}

}  // namespace mqueuefs::cli
