// The words after -o of a mount helper: those of mount(8), and ours.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace mqueuefs::cli {

/// What the options come to.
struct MountOptions {
  std::string namespace_name;  ///< ns=NAME; empty: the mounter's own
  uint32_t flags = 0;          ///< control::MountFlags; view=proc is one of them
  bool remount = false;
};

/// Adds what `text` ("ro,ns=web,nofail") says to `options`; of contradictions the last counts, as with mount(8).
/// Words that mount(8) uses itself, or that change nothing for a file system of queues, are accepted.
/// Returns the first word that nobody knows; empty: all are known. `sloppy` (-s) accepts any.
std::string parse_mount_options(std::string_view text, bool sloppy, MountOptions& options);

}  // namespace mqueuefs::cli
