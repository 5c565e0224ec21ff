#include "cli/preload_library.h"

#include <unistd.h>

#include <filesystem>

#ifndef MQUEUEFS_LIBDIR
#define MQUEUEFS_LIBDIR "/usr/lib"
#endif

namespace mqueuefs::cli {
namespace {

constexpr const char* kLibrary = "libmqueuefs-preload.so";

}  // namespace

std::optional<std::string> find_preload_library() {
  std::error_code ignored;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", ignored).parent_path();
  for (const auto& place : {program.parent_path() / "preload" / kLibrary, std::filesystem::path(MQUEUEFS_LIBDIR) / kLibrary,
                            program.parent_path() / "lib" / kLibrary}) {
    if (access(place.c_str(), R_OK) == 0) return place.string();
  }
  return std::nullopt;
}

}  // namespace mqueuefs::cli
