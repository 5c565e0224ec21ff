// The floor: a FUSE file system that answers the requests that mqueuefs answers, with constants.
//
// What it costs is what FUSE itself costs; no file system served from user space can be faster. It caches and
// replies the way mqueuefs does (same timeouts, direct_io, one thread) and looks only at a name's first letter:
// "k..." is a file that exists, everything else does not until it is created. Its root lists `entries` files.
#pragma once

#include <string>

namespace mqueuefs::bench {

/// Mounts at `dir` and serves until unmounted or killed. Returns an exit code; meant for a process of its own.
/// When mounted, closes descriptor `ready_fd`.
int serve_floor(const std::string& dir, int entries, int ready_fd);

}  // namespace mqueuefs::bench
