// What `mqueuefs oci-config` does to a configuration of the OCI runtime specification.
#pragma once

#include <string>

#include "cli/encoding.h"

namespace mqueuefs::cli {

struct OciChange {
  std::string namespace_name;  ///< empty: the container's own
  std::string listener;        ///< the daemon's socket for listeners
  std::string socket;          ///< its control socket
  std::string program;         ///< the hook's: this one
};

/// Pure. Replaces the mount of /dev/mqueue by a hook, notifies the mq_* and the System V calls, turns fs.mqueue.* of the sysctls into
/// limits of the namespace; doing it twice is doing it once. What is wrong, or "" if it is done.
std::string patch_oci_config(Json& config, const OciChange& change);

}  // namespace mqueuefs::cli
