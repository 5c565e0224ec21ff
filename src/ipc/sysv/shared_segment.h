// One segment of shared memory: its file, and how many have attached it.
#pragma once

#include <sys/shm.h>

#include <cstdint>
#include <optional>
#include <utility>

#include "base/clock.h"
#include "base/unique_fd.h"
#include "ipc/sysv/id_table.h"
#include "ipc/sysv/status.h"
#include "ipc/sysv/waiter.h"

namespace mqueuefs::ipc::sysv {

/// Thread rule: the loop's.
class SharedSegment : public Object {
 public:
  SharedSegment(const Permissions& permissions, uint64_t size_bytes, uint64_t pages, UniqueFd file, pid_t creator,
                Charge charge)
      : Object(permissions),
        size_bytes_(size_bytes),
        pages_(pages),
        file_(std::move(file)),
        cpid_(creator),
        ctime_s_(file_time_now_s()),
        charge_(std::move(charge)) {}

  uint64_t size_bytes() const { return size_bytes_; }
  uint64_t pages() const { return pages_; }
  int file() const { return file_.get(); }

  uint64_t attachments() const { return attachments_; }
  bool is_removed() const { return (permissions_.mode & SHM_DEST) != 0; }
  void set_removed() { permissions_.mode |= SHM_DEST; }

  /// shm_open() and shm_close() of ipc/shm.c.
  void attached_by(pid_t process) {
    attachments_++;
    lpid_ = process;
    atime_s_ = file_time_now_s();
  }
  void detached_by(pid_t process) {
    attachments_--;
    lpid_ = process;
    dtime_s_ = file_time_now_s();
  }

  /// Who locked it, if it is locked.
  std::optional<uid_t> locked_by() const { return locked_by_; }
  void set_locked_by(std::optional<uid_t> uid) {
    locked_by_ = uid;
    permissions_.mode = uid ? permissions_.mode | SHM_LOCKED : permissions_.mode & ~mode_t{SHM_LOCKED};
  }

  void set(const PermissionChange& change) {
    apply_change(permissions_, change);
    ctime_s_ = file_time_now_s();
  }

  /// But for the pids, which are the daemon's, and what the source of the memory knows.
  SharedMemoryStatus status() const {
    return {.permissions = permissions_,
            .segsz = size_bytes_,
            .cpid = cpid_,
            .lpid = lpid_,
            .nattch = attachments_,
            .atime_s = atime_s_,
            .dtime_s = dtime_s_,
            .ctime_s = ctime_s_};
  }

 private:
  const uint64_t size_bytes_;
  const uint64_t pages_;
  const UniqueFd file_;
  const pid_t cpid_;
  pid_t lpid_ = 0;
  uint64_t attachments_ = 0;
  int64_t atime_s_ = 0;
  int64_t dtime_s_ = 0;
  int64_t ctime_s_;
  std::optional<uid_t> locked_by_;
  Charge charge_;
};

}  // namespace mqueuefs::ipc::sysv
