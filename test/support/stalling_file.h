// A file whose server never answers one kind of request: a FUSE file system of one file. What ordinary users can make in
// their user namespaces. Unanswered reads hold whatever touches memory that maps the file; an unanswered FLUSH holds a
// process in execve(2), with its exec_update_lock taken, while it closes the file.
#pragma once

#include <sys/types.h>

#include <string>

#include "base/unique_fd.h"

namespace mqueuefs::test {

/// Bytes.
inline constexpr size_t kStallingFileSize = 4096;

enum class Stalls { kRead, kFlush };

class StallingFile {
 public:
  /// Mounted over the file at `path`, which it makes. Fails the test.
  explicit StallingFile(const std::string& path, Stalls stalls = Stalls::kRead);
  StallingFile(const StallingFile&) = delete;
  StallingFile& operator=(const StallingFile&) = delete;
  ~StallingFile();

  /// Waits until a request comes that is not answered. False: none did within some seconds.
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
