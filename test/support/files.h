// The few file operations that nearly every test begins with; a failure is one of the running test.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>

#include <string>

#include "base/unique_fd.h"
#include "support/expect.h"

namespace mqueuefs::test {

/// Creates the queue `path` as a file, which must not exist.
inline void create(const std::string& path, mode_t mode = 0600) {
  const UniqueFd fd(open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode));
  EXPECT_OK(fd.get()) << path;
}

inline struct stat status_of(const std::string& path) {
  struct stat status {};
  EXPECT_OK(stat(path.c_str(), &status)) << path;
  return status;
}

}  // namespace mqueuefs::test
