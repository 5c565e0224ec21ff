// A /dev/fuse that is mounted already, with libfuse behind it: what all kinds of sessions have in common.
#pragma once

#include <fuse_lowlevel.h>

#include <cstdint>

#include "base/result.h"
#include "base/unique_fd.h"

namespace mqueuefs::fuse {

/// Thread rule: the loop's.
class Device {
 public:
  Device() = default;
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;
  ~Device();  ///< closes it

  /// `operations` are called with `session` as their userdata. EMFILE, EIO, or of fcntl(2).
  Status connect(UniqueFd fuse_device, const fuse_lowlevel_ops& operations, void* session);

  int fd() const { return fuse_session_fd(session_); }
  fuse_session* session() const { return session_; }

  /// As Session::process().
  bool process();
  uint64_t requests() const { return requests_; }

 private:
  fuse_session* session_ = nullptr;
  uint64_t requests_ = 0;
};

}  // namespace mqueuefs::fuse
