#include "daemon/shared_memory_files.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U  // linux/memfd.h since 6.3
#endif

namespace mqueuefs::daemon {
namespace {

// Its owner, the daemon, opens it anew to read.
constexpr mode_t kMode = 0400;
constexpr uint64_t kBlockBytes = 512;

UniqueFd new_memfd() {
  // Programs may ask for memory to execute (SHM_EXEC); MFD_EXEC says so since Linux 6.3.
  UniqueFd file(memfd_create("sysv", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC));
  if (!file && (errno == EINVAL || errno == EACCES)) file = UniqueFd(memfd_create("sysv", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  return file;
}

}  // namespace

Result<UniqueFd> SharedMemoryFiles::make(uint64_t size_bytes) {
  if (size_bytes > INT64_MAX) return Error{ENOMEM, "shared memory"};
  UniqueFd file = new_memfd();
  if (!file) return last_error("memfd_create");
  if (fchmod(file.get(), kMode) != 0) return last_error("fchmod");
  if (ftruncate(file.get(), static_cast<off_t>(size_bytes)) != 0) return Error{ENOMEM, "ftruncate"};
  if (fcntl(file.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) return last_error("F_ADD_SEALS");
  return file;
}

SharedMemoryFiles::Use SharedMemoryFiles::use(int file) {
  // Pages in swap are among them: which they are a file does not tell.
  struct stat status {};
  if (fstat(file, &status) != 0) return {};
  return {.rss_bytes = static_cast<uint64_t>(status.st_blocks) * kBlockBytes};
}

Result<UniqueFd> SharedMemoryFiles::share(int file, bool read_only) {
  UniqueFd copy;
  if (read_only) {
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    copy = UniqueFd(open(path, O_RDONLY | O_CLOEXEC));
  } else {
    copy = UniqueFd(fcntl(file, F_DUPFD_CLOEXEC, 0));
  }
  if (!copy) return last_error("shared memory");
  return copy;
}

}  // namespace mqueuefs::daemon
