#include "support/temp_dir.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <vector>

#include "base/check.h"

namespace mqueuefs::test {
namespace {

int remove_entry(const char* path, const struct stat*, int, struct FTW*) {
  remove(path);
  return 0;
}

}  // namespace

TempDir::TempDir() : owner_pid_(getpid()) {
  const char* base = getenv("TMPDIR");
  path_ = std::string(base != nullptr && *base != '\0' ? base : "/tmp") + "/mqueuefs-test-XXXXXX";
  MQUEUEFS_CHECK(mkdtemp(path_.data()) != nullptr);
  MQUEUEFS_CHECK(chmod(path_.c_str(), 0755) == 0);
}

TempDir::~TempDir() {
  if (getpid() != owner_pid_) return;
  std::vector<std::string> mounted;
  std::ifstream mountinfo("/proc/self/mountinfo");
  for (std::string line; std::getline(mountinfo, line);) {
    std::istringstream fields(line);
    std::string id, parent, device, root, mount_point;
    fields >> id >> parent >> device >> root >> mount_point;
    if (mount_point == path_ || mount_point.rfind(path_ + "/", 0) == 0) mounted.push_back(mount_point);
  }
  for (auto it = mounted.rbegin(); it != mounted.rend(); ++it)
    umount2(it->c_str(), MNT_DETACH);
  nftw(path_.c_str(), remove_entry, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

}  // namespace mqueuefs::test
