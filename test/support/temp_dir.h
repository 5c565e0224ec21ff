// A directory of one's own for the life of an object.
#pragma once

#include <string>

namespace mqueuefs::test {

/// A fresh directory, mode 0755 so that ordinary users of a test can reach what is mounted there. The
/// destructor unmounts what this process sees mounted at it or below (lazily), then removes the tree. The
/// walk stays on one file system: what is mounted there is never emptied. Only the process that made the
/// directory removes it, not a forked child that happens to hold a copy.
class TempDir {
 public:
  TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  ~TempDir();

  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
  int owner_pid_;
};

}  // namespace mqueuefs::test
