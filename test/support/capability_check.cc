#include "support/capability_check.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <string>

#include "base/unique_fd.h"
#include "support/credentials.h"

namespace mqueuefs::test {
namespace {

template <typename Try>
bool works_in_a_child(Try&& try_it) {
  const pid_t child = fork();
  if (child == 0) _exit(try_it() ? 0 : 1);
  int status = 1;
  return child > 0 && waitpid(child, &status, 0) == child && status == 0;
}

}  // namespace

bool CapabilityCheck::has_fuse() {
  return static_cast<bool>(UniqueFd(open("/dev/fuse", O_RDWR | O_CLOEXEC)));
}

bool CapabilityCheck::has_fusermount() {
  const char* path = getenv("PATH");
  std::istringstream directories(path != nullptr ? path : "/usr/bin:/bin");
  for (std::string directory; std::getline(directories, directory, ':');) {
    if (access((directory + "/fusermount3").c_str(), X_OK) == 0) return true;
  }
  return false;
}

bool CapabilityCheck::has_kernel_mqueue() {
  std::ifstream types("/proc/filesystems");
  for (std::string word; types >> word;) {
    if (word == "mqueue") return true;
  }
  return false;
}

bool CapabilityCheck::is_root() {
  return geteuid() == 0;
}

bool CapabilityCheck::can_unshare_user() {
  return works_in_a_child([] { return unshare(CLONE_NEWUSER) == 0; });
}

bool CapabilityCheck::ordinary_user_can_unshare_user() {
  return works_in_a_child([] {
    if (is_root() && !become_user(kNobody, kNobody)) return false;
    return unshare(CLONE_NEWUSER) == 0;
  });
}

bool CapabilityCheck::can_unshare_ipc() {
  return works_in_a_child([] { return unshare(CLONE_NEWIPC | CLONE_NEWNS) == 0; });
}

bool CapabilityCheck::has_capability(int capability) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind("CapEff:", 0) != 0) continue;
    return (std::stoull(line.substr(7), nullptr, 16) >> capability & 1) != 0;
  }
  return false;
}

}  // namespace mqueuefs::test
