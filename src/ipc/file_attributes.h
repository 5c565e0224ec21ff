// What stat(2) shows of a queue or of the root and chmod, chown, utimens change.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <utility>

namespace mqueuefs::ipc {

/// Which of the three times an event moves.
enum TimeMask : unsigned { kAtime = 1, kMtime = 2, kCtime = 4, kAllTimes = 7 };

/// Times are whole seconds (doc/behaviour.md B10).
struct FileAttributes {
  mode_t mode = 0;  ///< the 07777 bits
  uid_t uid = 0;
  gid_t gid = 0;
  int64_t atime_s = 0;
  int64_t mtime_s = 0;
  int64_t ctime_s = 0;

  /// Sets the named times to `now_s`. True if one of them is another second than before.
  bool stamp(unsigned times, int64_t now_s) {
    bool changed = false;
    for (const auto& [bit, time] : {std::pair{kAtime, &atime_s}, {kMtime, &mtime_s}, {kCtime, &ctime_s}}) {
      if ((times & bit) == 0 || *time == now_s) continue;
      *time = now_s;
      changed = true;
    }
    return changed;
  }
};

/// What a setattr asks for; rights were checked by the kernel (default_permissions).
struct AttributeChange {
  std::optional<mode_t> mode;
  std::optional<uid_t> uid;
  std::optional<gid_t> gid;
  std::optional<int64_t> size;  ///< truncate: st_size only, the messages stay (doc/behaviour.md B6)
  std::optional<int64_t> atime_s;
  std::optional<int64_t> mtime_s;
};

}  // namespace mqueuefs::ipc
