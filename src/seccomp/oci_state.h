// What an OCI runtime says of a container whose seccomp listener it hands over: the "container process state" of
// the runtime specification (config-linux.md), one on each connection, its descriptors beside it.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace mqueuefs::seccomp {

struct OciState {
  std::string container;           ///< its id, for the log
  pid_t process = 0;               ///< as the runtime numbers it
  size_t listener = 0;             ///< which of the descriptors
  std::string namespace_name;      ///< from "ns=NAME" of the metadata; empty: the container's own
};

/// Pure. EINVAL: not such a state, or none with a seccompFd, or its metadata is not ours.
Result<OciState> parse_oci_state(std::string_view text);

}  // namespace mqueuefs::seccomp
