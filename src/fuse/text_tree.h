// A tree of text files that are made when they are read, as in /proc: what a session of text shows.
#pragma once

#include <sys/types.h>

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "ipc/task_info.h"

namespace mqueuefs::fuse {

/// Who writes, as numbered in the daemon's namespaces.
struct TextWriter {
  ipc::TaskId task = 0;
  uid_t uid = 0;
};

/// Thread rule: the loop's. Which files there are never changes.
class TextTree {
 public:
  struct File {
    std::string path;  ///< without a '/' in front; directories are what is before each one in it
    mode_t mode;       ///< 07777 bits
  };

  virtual ~TextTree() = default;

  virtual std::span<const File> files() const = 0;
  /// Whose all of it is.
  virtual uid_t uid() const = 0;
  virtual gid_t gid() const = 0;

  /// The text of files()[file], at this moment. ESTALE: what it tells of is gone.
  virtual Result<std::string> read(size_t file, ipc::TaskId reader) = 0;
  /// What one write(2) has brought. The kernel has checked the mode. EINVAL: makes no sense; EPERM, ESTALE.
  virtual Status write(size_t file, const TextWriter& writer, std::string_view text) = 0;
};

}  // namespace mqueuefs::fuse
