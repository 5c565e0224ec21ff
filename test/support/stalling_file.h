// A file whose pages never come: a FUSE file system of one file, whose server answers everything but a read. What ordinary
// users can make in their user namespaces, to keep those waiting who touch their memory.
#pragma once

#include <sys/types.h>

#include <string>

#include "base/unique_fd.h"

namespace mqueuefs::test {

/// Bytes.
inline constexpr size_t kStallingFileSize = 4096;

class StallingFile {
 public:
  /// Mounted over the file at `path`, which it makes. Fails the test.
  explicit StallingFile(const std::string& path);
  StallingFile(const StallingFile&) = delete;
  StallingFile& operator=(const StallingFile&) = delete;
  ~StallingFile();

  /// Waits until somebody waits for a page. False: nobody did within some seconds.
  bool wait_for_a_reader() const;
  /// From now on everything fails; who waits goes on with an error.
  void fail();

 private:
  const std::string path_;
  UniqueFd device_;
  UniqueFd readers_;  // what the server writes to
  pid_t server_ = -1;
};

}  // namespace mqueuefs::test
