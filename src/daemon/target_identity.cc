#include "daemon/target_identity.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/securebits.h>
#include <sched.h>
#include <stdio.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "base/unique_fd.h"
#include "daemon/privileges.h"
#include "daemon/proc_files.h"
#include "daemon/proc_text.h"

namespace mqueuefs::daemon {
namespace {

std::optional<uint32_t> take_number(std::string_view& text, int base = 10) {
  const size_t start = std::min(text.find_first_not_of(" \t"), text.size());
  text.remove_prefix(start);
  uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc()) return std::nullopt;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return value;
}

bool take_four(std::string_view status, std::string_view key, std::array<uint32_t, 4>& ids) {
  auto field = status_field(status, key);
  for (uint32_t& id : ids) {
    const auto number = field ? take_number(*field) : std::nullopt;
    if (!number) return false;
    id = *number;
  }
  return true;
}

bool has_ids(const TargetIdentity& wanted) {
  uid_t uid[3];
  gid_t gid[3];
  getresuid(&uid[0], &uid[1], &uid[2]);
  getresgid(&gid[0], &gid[1], &gid[2]);
  return std::equal(uid, uid + 3, wanted.uids.begin()) && std::equal(gid, gid + 3, wanted.gids.begin());
}

// Ids without their effect on capabilities.
Status set_ids(const TargetIdentity& wanted) {
  if (prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0) < 0 ||
      setgroups(wanted.groups.size(), wanted.groups.data()) < 0) {
    // Without the right to: then they have to be ours as they are.
    return has_ids(wanted) ? Status() : Status(Error{EPERM, "credentials"});
  }
  const auto& gid = wanted.gids;
  const auto& uid = wanted.uids;
  if (setresgid(gid[0], gid[1], gid[2]) < 0 || setresuid(uid[0], uid[1], uid[2]) < 0) return last_error("setresuid");
  setfsgid(gid[3]);
  setfsuid(uid[3]);
  return {};
}

UniqueFd open_link(ipc::TaskId task, const char* name, int flags) {
  char path[40];
  snprintf(path, sizeof path, "/proc/%d/%s", task, name);
  return UniqueFd(open(path, flags | O_CLOEXEC));
}

}  // namespace

Result<TargetIdentity> parse_identity(std::string_view status) {
  const Error nonsense{EIO, "/proc/PID/status"};
  TargetIdentity identity;
  auto process = status_field(status, "Tgid");
  const auto number = process ? take_number(*process) : std::nullopt;
  if (!number || !take_four(status, "Uid", identity.uids) || !take_four(status, "Gid", identity.gids)) return nonsense;
  identity.process = static_cast<pid_t>(*number);
  identity.capabilities = effective_capabilities(status);
  if (auto groups = status_field(status, "Groups")) {
    *groups = groups->substr(0, groups->find('\n'));
    while (const auto group = take_number(*groups))
      identity.groups.push_back(*group);
  }
  if (auto mask = status_field(status, "Umask")) identity.mask = take_number(*mask, 8).value_or(022);
  return identity;
}

Result<TargetIdentity> read_identity(ipc::TaskId task) {
  const auto status = task > 0 ? read_proc(task, "status") : Result<std::string>(Error{ESRCH, "task"});
  if (!status) return Error{ESRCH, "task"};
  return parse_identity(*status);
}

Status become(ipc::TaskId task, Take what) {
  auto identity = read_identity(task);
  if (!identity) return identity.error();
  const auto own_user = namespace_inode_of(getpid(), "user");
  const auto user = namespace_inode_of(task, "user");
  if (!own_user || !user) return Error{EPERM, "user namespace"};
  const UniqueFd user_namespace =
      *own_user != *user ? open_link(task, "ns/user", O_RDONLY) : UniqueFd();
  const UniqueFd mounts = what == Take::kCredentialsAndPaths ? open_link(task, "ns/mnt", O_RDONLY) : UniqueFd();
  const UniqueFd root = what == Take::kCredentialsAndPaths ? open_link(task, "root", O_PATH) : UniqueFd();
  const UniqueFd directory = what == Take::kCredentialsAndPaths ? open_link(task, "cwd", O_PATH) : UniqueFd();
  if (what == Take::kCredentialsAndPaths && (!mounts || !root || !directory)) return Error{EPERM, "namespaces"};

  // With the right to it, ids and groups as they are numbered here come first: inside there may be no numbers for
  // them, nor leave to set groups. Without it, what the target's user namespace gives is all there is.
  const bool ids_first = geteuid() == 0 || !user_namespace;
  if (ids_first) {
    if (const Status set = set_ids(*identity); !set) return set;
  }
  bool entered = !mounts;
  if (!entered && setns(mounts.get(), CLONE_NEWNS) == 0) entered = true;
  if (user_namespace && setns(user_namespace.get(), CLONE_NEWUSER) < 0) return last_error("setns user namespace");
  if (!entered && setns(mounts.get(), CLONE_NEWNS) < 0) return last_error("setns mount namespace");
  if (!ids_first) {
    identity = read_identity(task);  // as numbered in there
    if (!identity) return identity.error();
    if (const Status set = set_ids(*identity); !set) return set;
  }
  if (root && (fchdir(root.get()) < 0 || chroot(".") < 0 || fchdir(directory.get()) < 0)) return last_error("chroot");
  umask(identity->mask);
  // Last: what came before needed ours. Those that the daemon has given up make no difference to a queue.
  return set_capabilities(identity->capabilities);
}

void close_all_but(std::vector<int> kept) {
  std::sort(kept.begin(), kept.end());
  unsigned from = 0;
  for (const int fd : kept) {
    if (fd < 0) continue;
    if (static_cast<unsigned>(fd) > from) syscall(SYS_close_range, from, static_cast<unsigned>(fd) - 1, 0);
    from = static_cast<unsigned>(fd) + 1;
  }
  syscall(SYS_close_range, from, ~0U, 0);
}

}  // namespace mqueuefs::daemon
