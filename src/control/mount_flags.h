// The flags of mount(2) as the requests carry them.
#pragma once

#include <sys/mount.h>

#include <cstdint>

#include "control/messages.h"

namespace mqueuefs::control {

/// MountFlags of MS_*; what means nothing to a file system of queues is left out.
constexpr uint32_t mount_flags(unsigned long flags) {
  uint32_t result = 0;
  if ((flags & MS_RDONLY) != 0) result |= kMountReadOnly;
  if ((flags & MS_NOSUID) != 0) result |= kMountNoSuid;
  if ((flags & MS_NOEXEC) != 0) result |= kMountNoExec;
  if ((flags & MS_NODEV) != 0) result |= kMountNoDev;
  if ((flags & MS_NOATIME) != 0) result |= kMountNoAtime;
  if ((flags & MS_STRICTATIME) != 0) result |= kMountStrictAtime;
  return result;
}

}  // namespace mqueuefs::control
