#include "support/credentials.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <string>

#include "base/unique_fd.h"

namespace mqueuefs::test {
namespace {

bool write_file(const char* path, const std::string& text) {
  UniqueFd fd(open(path, O_WRONLY | O_CLOEXEC));
  return fd && write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

}  // namespace

uid_t fresh_uid() {
  return 200'000 + static_cast<uid_t>(getpid());
}

bool become_user(uid_t uid, gid_t gid) {
  if (geteuid() == 0 && setgroups(0, nullptr) != 0) return false;
  if (setresgid(gid, gid, gid) != 0 || setresuid(uid, uid, uid) != 0) return false;
  return prctl(PR_SET_DUMPABLE, 1) == 0 && prctl(PR_SET_PDEATHSIG, SIGKILL) == 0;
}

bool drop_capability(int capability) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct sets[2]{};
  if (syscall(SYS_capget, &header, sets) != 0) return false;
  const unsigned keep = ~(1u << (capability % 32));
  sets[capability / 32].effective &= keep;
  sets[capability / 32].permitted &= keep;
  sets[capability / 32].inheritable &= keep;
  return syscall(SYS_capset, &header, sets) == 0;
}

bool enter_user_namespace(uid_t inside_uid, gid_t inside_gid) {
  const std::string uid_map = std::to_string(inside_uid) + " " + std::to_string(geteuid()) + " 1\n";
  const std::string gid_map = std::to_string(inside_gid) + " " + std::to_string(getegid()) + " 1\n";
  return unshare(CLONE_NEWUSER) == 0 && write_file("/proc/self/uid_map", uid_map) &&
         write_file("/proc/self/setgroups", "deny") && write_file("/proc/self/gid_map", gid_map);
}

}  // namespace mqueuefs::test
