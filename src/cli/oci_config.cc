// mqueuefs oci-config: what a bundle's config.json needs, put into it. The rest stays as it is.
#include "cli/oci_config.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>

#include "cli/command.h"
#include "cli/encoding.h"
#include "cli/explain.h"
#include "cli/output.h"
#include "client/address.h"

namespace mqueuefs::cli {
namespace {

constexpr const char* kQueueDirectory = "/dev/mqueue";
constexpr std::string_view kSysctl = "fs.mqueue.";
const std::vector<std::string> kCalls = {
    "mq_open", "mq_unlink", "mq_timedsend", "mq_timedreceive", "mq_notify", "mq_getsetattr",
    "msgget",  "msgsnd",    "msgrcv",       "msgctl",          "semget",    "semop",
    "semctl",  "shmget",    "shmat",        "shmdt",           "shmctl",    "semtimedop"};

/// object[name], made if it is not there. False: something else is.
bool enter(Json& object, const char* name, Json::value_t type, Json*& inside) {
  inside = &object[name];
  if (inside->is_null()) *inside = Json(type);
  return inside->type() == type;
}

bool is_ours(const Json& hook) {
  const auto arguments = hook.is_object() ? hook.find("args") : hook.end();
  return hook.is_object() && arguments != hook.end() && arguments->is_array() && arguments->size() > 1 &&
         (*arguments)[1] == "oci-hook";
}

/// Takes the names out of the rules that are there.
void remove_rules(Json& rules, const std::vector<std::string>& names) {
  for (Json& rule : rules) {
    if (!rule.is_object() || !rule.contains("names") || !rule["names"].is_array()) continue;
    Json kept = Json::array();
    for (const Json& name : rule["names"]) {
      if (!name.is_string() || std::find(names.begin(), names.end(), name.get<std::string>()) == names.end())
        kept.push_back(name);
    }
    rule["names"] = kept;
  }
  for (size_t i = rules.size(); i-- > 0;) {
    if (rules[i].is_object() && rules[i].contains("names") && rules[i]["names"].empty()) rules.erase(i);
  }
}

bool has_rule_for(const Json& rules, const char* call) {
  for (const Json& rule : rules) {
    if (!rule.is_object() || !rule.contains("names")) continue;
    for (const Json& name : rule["names"]) {
      if (name == call) return true;
    }
  }
  return false;
}

std::string patch_seccomp(Json& linux_part, const OciChange& change) {
  Json* seccomp = nullptr;
  const bool is_new = !linux_part.contains("seccomp");
  if (!enter(linux_part, "seccomp", Json::value_t::object, seccomp)) return "linux.seccomp is no object";
  if (seccomp->contains("listenerPath") && (*seccomp)["listenerPath"] != change.listener)
    return "linux.seccomp.listenerPath is another's, and there can be one only";
  if (is_new) {
    (*seccomp)["defaultAction"] = "SCMP_ACT_ALLOW";
    // Without them the 32-bit calls would be fatal.
#if defined(__x86_64__)
    (*seccomp)["architectures"] = {"SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"};
#elif defined(__aarch64__)
    (*seccomp)["architectures"] = {"SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"};
#endif
  }
  (*seccomp)["listenerPath"] = change.listener;
  if (change.namespace_name.empty()) {
    seccomp->erase("listenerMetadata");
  } else {
    (*seccomp)["listenerMetadata"] = "ns=" + change.namespace_name;
  }
  Json* rules = nullptr;
  if (!enter(*seccomp, "syscalls", Json::value_t::array, rules)) return "linux.seccomp.syscalls is no array";
  std::vector<std::string> names = kCalls;
  for (size_t i = rules->size(); i-- > 0;) {
    // Ours, of an earlier time.
    if ((*rules)[i].is_object() && (*rules)[i].value("action", "") == "SCMP_ACT_NOTIFY") rules->erase(i);
  }
  remove_rules(*rules, names);
  const bool allows_mount = (*seccomp).value("defaultAction", "") == "SCMP_ACT_ALLOW" && !has_rule_for(*rules, "mount");
  if (allows_mount) names.push_back("mount");
  rules->push_back(Json{{"names", names}, {"action", "SCMP_ACT_NOTIFY"}});
  return "";
}

}  // namespace

std::string patch_oci_config(Json& config, const OciChange& change) {
  if (!config.is_object() || !config.contains("root")) return "that is no OCI configuration";
  // All members that there will be come first: adding one moves the others.
  for (const char* name : {"linux", "hooks", "mounts"}) config[name];
  Json* linux_part = nullptr;
  if (!enter(config, "linux", Json::value_t::object, linux_part)) return "linux is no object";

  bool has_own_ipc = false;
  for (const Json& known : linux_part->value("namespaces", Json::array())) {
    if (known.is_object() && known.value("type", "") == "ipc") has_own_ipc = true;
  }
  if (!has_own_ipc && !change.namespace_name.empty())
    return "the container has no IPC namespace of its own, which --ns could be given to";

  std::vector<std::string> arguments = {"mqueuefs", "oci-hook"};
  if (!change.namespace_name.empty()) arguments.insert(arguments.end(), {"--ns", change.namespace_name});
  const auto add_once = [&](const std::string& argument) {
    if (std::find(arguments.begin(), arguments.end(), argument) == arguments.end()) arguments.push_back(argument);
  };

  Json* hooks = nullptr;
  Json* create = nullptr;
  if (!enter(config, "hooks", Json::value_t::object, hooks)) return "hooks is no object";
  if (!enter(*hooks, "createContainer", Json::value_t::array, create)) return "hooks.createContainer is no array";
  for (size_t i = create->size(); i-- > 0;) {
    if (!is_ours((*create)[i])) continue;
    // What was in the mounts and the sysctls the last time.
    for (const Json& argument : (*create)[i]["args"]) {
      const std::string word = argument.is_string() ? argument.get<std::string>() : "";
      if (word == "--read-only" || word.starts_with("--limit=")) add_once(word);
    }
    create->erase(i);
  }

  Json* mounts = nullptr;
  if (!enter(config, "mounts", Json::value_t::array, mounts)) return "mounts is no array";
  for (size_t i = mounts->size(); i-- > 0;) {
    const Json& mount = (*mounts)[i];
    if (!mount.is_object() || mount.value("destination", "") != kQueueDirectory) continue;
    for (const Json& option : mount.value("options", Json::array())) {
      if (option == "ro") add_once("--read-only");
    }
    mounts->erase(i);
  }

  if (linux_part->contains("sysctl") && (*linux_part)["sysctl"].is_object()) {
    Json kept = Json::object();
    for (const auto& [key, value] : (*linux_part)["sysctl"].items()) {
      if (!key.starts_with(kSysctl)) {
        kept[key] = value;
      } else if (value.is_string()) {
        add_once("--limit=" + key.substr(kSysctl.size()) + "=" + value.get<std::string>());
      }
    }
    if (kept.empty()) {
      linux_part->erase("sysctl");
    } else {
      (*linux_part)["sysctl"] = kept;
    }
  }

  create->push_back(Json{{"path", change.program}, {"args", arguments}, {"env", {"MQUEUEFS_SOCKET=" + change.socket}}});
  return patch_seccomp(*linux_part, change);
}

namespace {

struct OciConfigOptions {
  OciChange change;
  std::string bundle = ".";
  bool in_place = false;
};

std::string control_socket() {
  const client::Addresses addresses = client::socket_addresses();
  return addresses.count > 0 ? addresses.list[0].path : "";
}

int replace(const std::filesystem::path& file, const std::string& text) {
  const std::string fresh = file.string() + ".mqueuefs-new";
  {
    std::ofstream out(fresh, std::ios::trunc);
    out << text;
    out.flush();
    if (!out) return fail("oci-config: " + printable(fresh) + ": can't be written");
  }
  std::error_code error;
  std::filesystem::permissions(fresh, std::filesystem::status(file, error).permissions(), error);
  std::filesystem::rename(fresh, file, error);
  return error ? fail("oci-config: " + printable(file.string()) + ": " + error.message()) : kSuccess;
}

int run(OciConfigOptions options) {
  OciChange& change = options.change;
  std::error_code ignored;
  change.program = std::filesystem::read_symlink("/proc/self/exe", ignored).string();
  change.socket = std::filesystem::absolute(control_socket()).string();
  if (change.listener.empty()) {
    change.listener = change.socket;
    if (change.listener.ends_with(".sock")) change.listener.resize(change.listener.size() - 5);
    change.listener += "-oci.sock";
  }
  std::filesystem::path file = options.bundle;
  if (std::filesystem::is_directory(file, ignored)) file /= "config.json";
  std::ifstream in(file);
  if (!in) return fail("oci-config: " + printable(file.string()) + ": can't be read (" + describe_errno(errno) + ")");
  const std::string text((std::istreambuf_iterator<char>(in)), {});
  Json config = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (config.is_discarded()) return fail("oci-config: " + printable(file.string()) + ": is not JSON");
  const std::string wrong = patch_oci_config(config, change);
  if (!wrong.empty()) return fail("oci-config: " + printable(file.string()) + ": " + wrong);
  const std::string patched = config.dump(2) + "\n";
  return options.in_place ? replace(file, patched) : print(patched);
}

}  // namespace

void add_oci_config(Program& program) {
  auto options = std::make_shared<OciConfigOptions>();
  CLI::App* command =
      program.app.add_subcommand("oci-config", "Make a container's config.json use mqueuefs: see mqueuefs-oci(7)");
  add_ns_option(*command, options->change.namespace_name);
  command->add_option("--listener", options->change.listener, "The daemon's socket for listeners [mqueuefs-oci.sock]")
      ->option_text("PATH");
  command->add_flag("--in-place", options->in_place, "Change the file instead of printing it");
  command->add_option("BUNDLE", options->bundle, "The bundle's directory, or the file [.]");
  command->callback([&program, options] { program.action = [options] { return run(*options); }; });
}

}  // namespace mqueuefs::cli
