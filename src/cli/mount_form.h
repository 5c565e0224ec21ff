// mqueuefs as a mount helper: what mount(8) runs for `mount -t fuse.mqueuefs SOURCE DIR`.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "cli/mount_options.h"

namespace mqueuefs::cli {

/// Exit codes of mount(8).
inline constexpr int kMountUsage = 1;
inline constexpr int kMountFailure = 32;

struct MountCommand {
  std::string source;
  std::string directory;
  MountOptions options;
  bool fake = false;     ///< -f: everything but the mount
  bool verbose = false;  ///< -v
};

/// Whether the program was called as mount(8) calls helpers: its name begins with "mount.", or, from
/// mount.fuse3(8), which runs `mqueuefs SOURCE DIR -o ...`, the first word is no command and the second a path.
bool is_mount_form(const std::string& program, const std::vector<std::string>& arguments,
                   const std::function<bool(const std::string&)>& is_command);

/// SOURCE DIR [-sfnv] [-N NAMESPACE] [-o OPTIONS] [-t TYPE]. Returns what is wrong; empty: nothing.
std::string parse_mount_command(const std::vector<std::string>& arguments, MountCommand& command);

/// Exit codes of mount(8).
int run_mount_form(const std::vector<std::string>& arguments);
int run_mount(const MountCommand& command);

}  // namespace mqueuefs::cli
