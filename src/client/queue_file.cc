// statfs(2) tells a FUSE file from others but asks the file system for its numbers. So it is asked once a mount,
// and the answer kept under the mount's number, which on kernels since 6.8 is never another's.
#include "client/queue_file.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <atomic>
#include <cerrno>
#include <cstdint>

#ifndef FUSE_SUPER_MAGIC
#define FUSE_SUPER_MAGIC 0x65735546
#endif

namespace mqueuefs::client {
namespace {

constexpr unsigned kMountIdUnique = 0x4000;  // STATX_MNT_ID_UNIQUE of linux/stat.h
constexpr unsigned kMountId = 0x1000;        // STATX_MNT_ID

// A mount's number, shifted by one, and the answer in the lowest bit; 0: none yet.
constinit std::atomic<uint64_t> known[8];

// The part of struct statx that is younger than the C library may be.
uint64_t mount_id_of(const struct statx& status) {
  uint64_t id;
  static_assert(sizeof status == 256);
  __builtin_memcpy(&id, reinterpret_cast<const char*>(&status) + 0x90, sizeof id);
  if ((status.stx_mask & kMountIdUnique) != 0) return id;
  // Small numbers that are used again: with the device they are as good as one can have.
  const uint64_t device = uint64_t{status.stx_dev_major} << 20 | status.stx_dev_minor;
  return (status.stx_mask & kMountId) != 0 ? device << 31 ^ id : 0;
}

bool ask_statfs(int fd) {
  struct statfs status {};
  for (;;) {
    if (fstatfs(fd, &status) == 0) return status.f_type == FUSE_SUPER_MAGIC;
    // A FUSE mount whose server is gone: it is not the kernel's to answer.
    if (errno != EINTR) return errno == ENOTCONN || errno == ECONNABORTED;
  }
}

bool look(int fd) {
  struct statx status {};
  if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE | kMountIdUnique, &status) != 0) {
    // EACCES: a FUSE mount that does not let this user look.
    return errno == EACCES && ask_statfs(fd);
  }
  if (!S_ISREG(status.stx_mode)) return false;
  const uint64_t id = mount_id_of(status);
  std::atomic<uint64_t>& entry = known[id % 8];
  const uint64_t last = entry.load(std::memory_order_relaxed);
  if (id != 0 && last >> 1 == (id & ~uint64_t{0} >> 1)) return (last & 1) != 0;
  const bool is_fuse = ask_statfs(fd);
  if (id != 0) entry.store(id << 1 | (is_fuse ? 1 : 0), std::memory_order_relaxed);
  return is_fuse;
}

}  // namespace

bool may_be_queue(int fd) {
  const int saved = errno;
  const bool answer = look(fd);
  errno = saved;
  return answer;
}

std::optional<FileIdentity> identify(int fd) {
  struct statx status {};
  if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_INO, &status) != 0) return std::nullopt;
  return FileIdentity{uint64_t{status.stx_dev_major} << 32 | status.stx_dev_minor, status.stx_ino};
}

}  // namespace mqueuefs::client
