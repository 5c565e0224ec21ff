// mqueuefs oci-hook: run by an OCI runtime in the container's namespaces, before it changes its root
// (hooks.createContainer): mounts the container's /dev/mqueue. `mqueuefs oci-config` puts it into config.json.
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>

#include "cli/command.h"
#include "cli/connect.h"
#include "cli/encoding.h"
#include "cli/output.h"
#include "client/mount.h"

namespace mqueuefs::cli {
namespace {

using control::Type;

struct OciHookOptions {
  std::string namespace_name;
  std::vector<std::string> limits;
  bool read_only = false;
};

// The image made what is below the root: nothing in it leads out of it.
UniqueFd open_in_root(int root, const char* path, uint64_t flags) {
  open_how how{};
  how.flags = flags | O_CLOEXEC;
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  return UniqueFd(static_cast<int>(syscall(SYS_openat2, root, path, &how, sizeof how)));
}

Result<UniqueFd> queue_directory(const std::string& root_path) {
  const UniqueFd root(open(root_path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!root) return last_error("the container's root");
  UniqueFd dev = open_in_root(root.get(), "dev", O_PATH | O_DIRECTORY);
  if (!dev && errno == ENOENT && mkdirat(root.get(), "dev", 0755) == 0)
    dev = open_in_root(root.get(), "dev", O_PATH | O_DIRECTORY);
  if (!dev) return last_error("the container's /dev");
  if (mkdirat(dev.get(), "mqueue", 0755) < 0 && errno != EEXIST) return last_error("the container's /dev/mqueue");
  UniqueFd directory = open_in_root(root.get(), "dev/mqueue", O_PATH | O_DIRECTORY);
  if (!directory) return last_error("the container's /dev/mqueue");
  return directory;
}

Status set_limit(client::Connection& connection, const std::string& text) {
  const size_t equals = text.find('=');
  if (equals == std::string::npos) return Error{EINVAL, "--limit"};
  control::LimitsSet request{};
  request.value = strtoull(text.c_str() + equals + 1, nullptr, 10);
  const std::string key = text.substr(0, equals);
  if (key.size() >= sizeof request.key) return Error{ENOENT, "--limit"};
  memcpy(request.key, key.c_str(), key.size());
  const auto done = connection.call<control::LimitsReply>(Type::kLimitsSet, request);
  return done ? Status() : Status(done.error());
}

Status bind_to(client::Connection& connection, const std::string& name) {
  control::NamespaceName created{};
  if (const Status set = client::set_name(created.name, name.c_str()); !set) return set;
  const auto made = connection.request(Type::kNamespaceCreate, control::bytes_of(created));
  if (!made && made.code() != EEXIST) return made.error();
  control::NamespaceBind request{};
  if (const Status set = client::set_name(request.name, name.c_str()); !set) return set;
  const auto bound = connection.request(Type::kNamespaceBind, control::bytes_of(request));
  return bound ? Status() : Status(bound.error());
}

// Where the bundle's configuration says that the root is.
std::string root_of_bundle(const Json& state) {
  const std::filesystem::path bundle = state.is_object() ? state.value("bundle", "") : "";
  std::ifstream file(bundle / "config.json");
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  const Json config = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (bundle.empty() || !config.is_object() || !config.contains("root") || !config["root"].is_object()) return "";
  return (bundle / config["root"].value("path", "rootfs")).string();
}

int run(const OciHookOptions& options) {
  const std::string text((std::istreambuf_iterator<char>(std::cin)), {});
  const Json state = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  const std::string root = root_of_bundle(state);
  if (root.empty()) return fail("oci-hook: standard input is no state of a container whose bundle can be read");
  // A daemon that were started here would live in the container.
  auto connection = client::Connection::connect(client::StartDaemon::kNever, "");
  const Attempt attempt{"oci-hook", "", options.namespace_name};
  if (!connection) return fail(explain(attempt, connection.error()));
  if (!options.namespace_name.empty()) {
    if (const Status bound = bind_to(*connection, options.namespace_name); !bound)
      return fail(explain(attempt, bound.error()));
  }
  for (const std::string& limit : options.limits) {
    if (const Status set = set_limit(*connection, limit); !set)
      return fail("oci-hook: limit " + printable(limit) + ": " + describe_errno(set.code()));
  }
  const auto directory = queue_directory(root);
  if (!directory) return fail(explain(attempt, directory.error()));
  if (fchdir(directory->get()) < 0) return fail(explain(attempt, last_error("the container's /dev/mqueue")));
  const uint32_t flags = control::kMountNoSuid | (options.read_only ? control::kMountReadOnly : 0U);
  const Status mounted = client::mount_namespace(*connection, "", "mqueue", ".", flags);
  return mounted ? kSuccess : fail(explain(attempt, mounted.error()));
}

}  // namespace

void add_oci_hook(Program& program) {
  auto options = std::make_shared<OciHookOptions>();
  CLI::App* command = program.app.add_subcommand("oci-hook", "What oci-config puts into a container's hooks");
  add_ns_option(*command, options->namespace_name);
  command->add_option("--limit", options->limits, "Sets a limit of the namespace; repeatable")->option_text("KEY=VALUE");
  command->add_flag("--read-only", options->read_only, "Mounts it so");
  command->callback([&program, options] { program.action = [options] { return run(*options); }; });
}

}  // namespace mqueuefs::cli
