// Where libmqueuefs-preload.so is.
#pragma once

#include <optional>
#include <string>

namespace mqueuefs::cli {

/// The one that belongs to this very program: in its build directory, or beside bin/ in lib/, or where it was to be
/// installed. Nothing: it is not there.
std::optional<std::string> find_preload_library();

}  // namespace mqueuefs::cli
