#include "daemon/namespace_probe.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <functional>
#include <set>
#include <string>

#include "daemon/proc_files.h"
#include "daemon/superblock_maker.h"

namespace mqueuefs::daemon {
namespace {

/// A detached mount of the message queues of the calling process's IPC namespace.
Result<UniqueFd> mount_own_queues() {
  const UniqueFd context(fsopen("mqueue", FSOPEN_CLOEXEC));
  if (!context) return last_error("fsopen");
  if (fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) < 0) return last_error("fsconfig");
  UniqueFd mount(fsmount(context.get(), FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC));
  if (!mount) return last_error("fsmount");
  return mount;
}

// The first id that the user namespace of this process has a name for, as it is called there.
Result<uint32_t> first_id(const char* map) {
  const auto text = read_proc(getpid(), map);
  if (!text) return text.error();
  if (text->empty()) return Error{EOVERFLOW, map};
  return static_cast<uint32_t>(strtoul(text->c_str(), nullptr, 10));
}

// fs/namei.c:may_create answers EOVERFLOW to ids that the superblock's user namespace has no names for.
Status take_named_ids() {
  const auto uid = first_id("uid_map");
  const auto gid = first_id("gid_map");
  if (!uid) return uid.error();
  if (!gid) return gid.error();
  if (setresgid(*gid, *gid, *gid) < 0 || setresuid(*uid, *uid, *uid) < 0) return last_error("setresuid");
  return {};
}

int try_to_create(int mount) {
  uint64_t number = 0;
  if (getrandom(&number, sizeof number, GRND_NONBLOCK) != sizeof number) number = static_cast<uint64_t>(getpid());
  char name[40];
  snprintf(name, sizeof name, "mqueuefs-probe-%016llx", static_cast<unsigned long long>(number));
  const UniqueFd queue(openat(mount, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!queue) return errno;
  unlinkat(mount, name, 0);
  return 0;
}

NamespaceLife ask_here(int mount) {
  rlimit limit{};
  if (getrlimit(RLIMIT_MSGQUEUE, &limit) < 0) return NamespaceLife::kUnknown;
  limit.rlim_cur = 0;
  if (setrlimit(RLIMIT_MSGQUEUE, &limit) < 0) return NamespaceLife::kUnknown;
  int outcome = try_to_create(mount);
  if (outcome == EOVERFLOW && take_named_ids()) outcome = try_to_create(mount);
  if (outcome == 0 || outcome == EMFILE || outcome == ENOSPC) return NamespaceLife::kLives;
  // A member may have taken the permission to write away, which is EACCES, too.
  const bool may_write = faccessat(mount, "", W_OK | X_OK, AT_EMPTY_PATH | AT_EACCESS) == 0;
  return outcome == EACCES && may_write ? NamespaceLife::kEnded : NamespaceLife::kUnknown;
}

// Where our own user namespace does not give the rights, the owner of the IPC namespace may.
Result<NamespaceProbe> make_here(int ipc_namespace, UniqueFd entered) {
  if (setns(ipc_namespace, CLONE_NEWIPC) < 0) return last_error("setns IPC namespace");
  auto mount = mount_own_queues();
  if (!mount) return mount.error();
  return NamespaceProbe{std::move(*mount), std::move(entered)};
}

/// Calls `visit` for each number in a directory of /proc, until it returns true.
bool any_number_in(const std::string& path, const std::function<bool(const std::string&)>& visit) {
  DIR* const directory = opendir(path.c_str());
  if (directory == nullptr) return false;
  bool found = false;
  while (const dirent* entry = found ? nullptr : readdir(directory))
    found = entry->d_name[0] >= '0' && entry->d_name[0] <= '9' && visit(path + "/" + entry->d_name);
  closedir(directory);
  return found;
}

std::string link_text(const std::string& path) {
  char text[64];
  const ssize_t length = readlink(path.c_str(), text, sizeof text);
  return length > 0 ? std::string(text, static_cast<size_t>(length)) : std::string();
}

}  // namespace

NamespaceLife ask_namespace_probe(int mount, int user_namespace) {
  if (user_namespace >= 0 && setns(user_namespace, CLONE_NEWUSER) < 0) return NamespaceLife::kUnknown;
  return ask_here(mount);
}

Result<NamespaceProbe> make_namespace_probe(int ipc_namespace) {
  UniqueFd owner(ioctl(ipc_namespace, NS_GET_USERNS));
  auto probe = make_here(ipc_namespace, UniqueFd());
  if (probe && ask_here(probe->mount.get()) == NamespaceLife::kLives) return probe;
  if (!owner) return Error{EOPNOTSUPP, "owner of the IPC namespace"};
  if (const Status entered = enter_user_namespace(owner.get()); !entered) return entered.error();
  if (!probe) probe = make_here(ipc_namespace, UniqueFd());
  if (!probe) return probe.error();
  if (ask_here(probe->mount.get()) != NamespaceLife::kLives) return Error{EOPNOTSUPP, "namespace probe"};
  probe->user_namespace = std::move(owner);
  return probe;
}

bool holder_is_seen(uint64_t ipc_inode) {
  const std::string wanted = "ipc:[" + std::to_string(ipc_inode) + "]";
  std::set<std::string> mount_namespaces;
  return any_number_in("/proc", [&](const std::string& process) {
    const auto thread_is_member = [&](const std::string& thread) { return link_text(thread + "/ns/ipc") == wanted; };
    const auto descriptor_holds = [&](const std::string& descriptor) { return link_text(descriptor) == wanted; };
    if (any_number_in(process + "/task", thread_is_member) || any_number_in(process + "/fd", descriptor_holds)) return true;
    if (!mount_namespaces.insert(link_text(process + "/ns/mnt")).second) return false;
    // The root of a bind mount of nsfs is the namespace's name.
    std::ifstream mounts(process + "/mountinfo");
    for (std::string line; std::getline(mounts, line);) {
      if (line.find(" " + wanted + " ") != std::string::npos) return true;
    }
    return false;
  });
}

bool namespace_probes_work() {
  if (unshare(CLONE_NEWIPC) < 0 && (!enter_fresh_user_namespace() || unshare(CLONE_NEWIPC) < 0)) return false;
  const UniqueFd own(open("/proc/self/ns/ipc", O_RDONLY | O_CLOEXEC));
  return own && make_namespace_probe(own.get()).ok();
}

}  // namespace mqueuefs::daemon
