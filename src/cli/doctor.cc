// mqueuefs doctor: what this machine can and can't do, and what follows. Starts no daemon, changes nothing.
#include <fcntl.h>
#include <mntent.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/statfs.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <memory>

#include "base/unique_fd.h"
#include "cli/answering.h"
#include "cli/command.h"
#include "cli/diagnosis.h"
#include "cli/output.h"
#include "cli/preload_library.h"
#include "client/address.h"
#include "client/connection.h"
#include "fuse/session.h"

namespace mqueuefs::cli {
namespace {

constexpr int kPatienceMs = 500;

// The decision of client/address.h in words.
std::string domain_text() {
  const client::Addresses addresses = client::socket_addresses();
  switch (addresses.domain) {
    case client::Domain::kChosen:
      return "your commands use the daemon that MQUEUEFS_SOCKET names, and no other";
    case client::Domain::kSystem:
      if (geteuid() == 0) return "root's commands use the system's daemon; the first one that needs it starts it";
      return "your commands use the system's daemon, since you are in the group mqueuefs or its socket is open to "
             "everybody; root starts it";
    case client::Domain::kOwn:
      break;
  }
  return "your commands use a daemon of your own, which the first one starts, whatever root runs; members of the group "
         "mqueuefs use the system's";
}

void find_daemons(Surroundings& around) {
  around.domain = domain_text();
  around.other_daemon = find_answering().others;
  auto connection = client::Connection::connect(client::StartDaemon::kNever, "");
  if (!connection) return;
  const UniqueFd socket(connection->release());
  sockaddr_un address{};
  socklen_t size = sizeof address;
  if (getpeername(socket.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0) return;
  around.daemon_socket = std::string(address.sun_path, strnlen(address.sun_path, sizeof address.sun_path));
}

// A file system that hangs must not take us along: a child asks, and is left behind if it gets no answer.
bool is_dead(const char* place) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return false;
  const UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  const pid_t child = fork();
  if (child < 0) return false;
  if (child == 0) {
    struct statfs status {};
    const char dead = statfs(place, &status) != 0 && errno == ENOTCONN ? 1 : 0;
    _exit(write(writer.get(), &dead, 1) == 1 ? 0 : 1);
  }
  writer.reset();
  pollfd readable{reader.get(), POLLIN, 0};
  char dead = 0;
  const bool answered = poll(&readable, 1, kPatienceMs) == 1 && read(reader.get(), &dead, 1) == 1;
  if (!answered) kill(child, SIGKILL);
  waitpid(child, nullptr, answered ? 0 : WNOHANG);
  return dead == 1;
}

std::vector<std::string> dead_mounts() {
  std::vector<std::string> dead;
  const std::unique_ptr<FILE, int (*)(FILE*)> table(setmntent("/proc/self/mounts", "re"), endmntent);
  if (!table) return dead;
  while (const mntent* entry = getmntent(table.get())) {
    if (std::string_view(entry->mnt_type) == "fuse.mqueuefs" && is_dead(entry->mnt_dir)) dead.push_back(entry->mnt_dir);
  }
  return dead;
}

// What most often keeps ordinary users from user namespaces.
std::string userns_sysctl() {
  struct Rule {
    const char* file;
    const char* name;
    const char* forbids;
  };
  for (const Rule& rule : {Rule{"/proc/sys/kernel/unprivileged_userns_clone", "kernel.unprivileged_userns_clone", "0"},
                           Rule{"/proc/sys/user/max_user_namespaces", "user.max_user_namespaces", "0"},
                           Rule{"/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
                                "kernel.apparmor_restrict_unprivileged_userns", "1"}}) {
    std::string value;
    if (std::ifstream(rule.file) >> value && value == rule.forbids) return std::string(rule.name) + " is " + value;
  }
  return {};
}

Surroundings look_around() {
  Surroundings around;
  around.is_root = geteuid() == 0;
  utsname system{};
  uname(&system);
  around.kernel = std::string(system.sysname) + " " + system.release;
  around.libfuse = fuse::library_version();
  around.preload = find_preload_library().value_or("");
  around.userns_sysctl = userns_sysctl();
  return around;
}

std::string text_of(const std::vector<Finding>& findings) {
  std::string text;
  for (const Finding& one : findings) {
    text += one.answer == Answer::kYes ? "yes  " : "no   ";
    text += one.title + ": " + one.found + "\n       " + one.follows + "\n";
  }
  return text;
}

int run(bool json) {
  const auto report = daemon::examine_system();
  Surroundings around = look_around();
  find_daemons(around);
  around.dead_mounts = dead_mounts();
  const auto findings = diagnose(report, around);
  const std::string way = way_to_mount(report);
  int printed;
  if (json) {
    Json document;
    document["version"] = MQUEUEFS_VERSION;
    document["kernel"] = around.kernel;
    document["libfuse"] = around.libfuse;
    document["can_mount"] = !way.empty();
    document["findings"] = Json::array();
    for (const Finding& one : findings) {
      document["findings"].push_back({{"name", one.name},
                                      {"ok", one.answer == Answer::kYes},
                                      {"found", printable(one.found)},
                                      {"follows", printable(one.follows)}});
    }
    printed = print_json(document);
  } else {
    printed = print(text_of(findings) + (way.empty() ? "" : "You can mount queues here, " + way + ".\n"));
  }
  if (printed != kSuccess || !way.empty()) return printed;
  return fail("doctor: no queues can be mounted here; the lines that begin with \"no\" say why");
}

}  // namespace

std::string version_lines() { return version_text(daemon::examine_system(), look_around()); }

void add_doctor(Program& program) {
  auto json = std::make_shared<bool>(false);
  CLI::App* command = program.app.add_subcommand("doctor", "Say what this machine can and can't do");
  add_json_option(*command, *json);
  command->callback([&program, json] { program.action = [json] { return run(*json); }; });
}

}  // namespace mqueuefs::cli
