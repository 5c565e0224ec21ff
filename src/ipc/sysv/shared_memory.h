// The shared memory of a namespace: shmget, shmat, shmdt, shmctl. See shmop(2), shmctl(2), and ipc/shm.c.
//
// A segment is a memory file, which callers map themselves. The model counts who has attached it: each attachment is a
// number ("place": an address, or what the front door likes) that the process of the caller has once. A segment that was
// removed lives, without a key, until the last of them is gone.
#pragma once

#include <sys/shm.h>

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <unordered_map>

#include "ipc/sysv/id_table.h"
#include "ipc/sysv/status.h"
#include "ipc/sysv/surroundings.h"
#include "ipc/sysv/waiter.h"

namespace mqueuefs::ipc::sysv {

class SharedSegment;

/// What shmat(2) has to map. `file` is the segment's own, valid while it is taken.
struct Attachment {
  int file = -1;
  uint64_t size_bytes = 0;  ///< as asked for; the mapping is of whole pages
  bool read_only = false;   ///< SHM_RDONLY
  bool executable = false;  ///< SHM_EXEC
};

/// Thread rule: the loop's. Every id, size and place may be any number.
class SharedMemory {
 public:
  explicit SharedMemory(const Surroundings& surroundings);
  ~SharedMemory();

  /// shmget(2). The id. Errors, in this order: get_existing()'s (EINVAL: it is smaller); EINVAL size 0 or over shmmax;
  /// ENOSPC shmall; with SHM_HUGETLB as where no huge page is: EINVAL no such page size, EPERM neither CAP_IPC_LOCK nor
  /// group 0, ENOMEM; EINVAL over 2^63 - 1; ENOSPC shmmni; ENOSYS; ENOMEM the user's ceiling, or no memory; ESRCH.
  Result<int> get(const Caller& caller, key_t key, uint64_t size_bytes, int flags, const Confirm& confirm);

  /// The caller gets what he has to map: true if he was still there and has it. Must not call the model.
  using TakeAttachment = std::function<bool(const Attachment& attachment)>;
  /// shmat(2) but for the mapping: from now on the caller's process has it attached at `place`, until detach(). `take` is
  /// its Confirm. Of `flags` SHM_RDONLY and SHM_EXEC count. Errors, in this order: EINVAL no such segment; EACCES;
  /// EEXIST the process has something at that place; ENOMEM too many (65,530), or the user's ceiling; ESRCH.
  Status attach(const Caller& caller, int id, int flags, uint64_t place, const TakeAttachment& take);
  /// The attachment is at `to` instead (where the mapping went). EINVAL: there is none at `from`. EEXIST.
  Status move(pid_t process, uint64_t from, uint64_t to);
  /// shmdt(2), or the mapping could not be made. EINVAL: there is none.
  Status detach(pid_t process, uint64_t place);
  /// Which segment is attached there. EINVAL: none.
  Result<int> attached_at(pid_t process, uint64_t place) const;

  /// IPC_STAT, SHM_STAT, SHM_STAT_ANY. Errors: EINVAL, EACCES. Without rss and swap.
  Result<SharedMemoryStatus> status(const Caller& caller, int id, Lookup lookup) const;
  /// IPC_SET; confirmed with 0. Errors, in this order: EINVAL; EPERM; EINVAL check_change(); ESRCH.
  Status set(const Caller& caller, int id, const PermissionChange& change, const Confirm& confirm);
  /// IPC_RMID; confirmed with 0. Attached: it becomes private and SHM_DEST, and goes with the last of them.
  /// Errors: EINVAL, EPERM, ESRCH.
  Status remove(const Caller& caller, int id, const Confirm& confirm);
  /// SHM_LOCK, SHM_UNLOCK; confirmed with 0. The answer and the mark only: nothing is locked. Errors, in this order:
  /// EINVAL; EPERM neither owner, creator nor CAP_IPC_LOCK, or RLIMIT_MEMLOCK is 0; ENOMEM over RLIMIT_MEMLOCK; ESRCH.
  Status lock(const Caller& caller, int id, const Confirm& confirm);
  Status unlock(const Caller& caller, int id, const Confirm& confirm);

  /// Whether this process has something attached: its end, and that it executes another program, have to be told.
  bool holds_for(pid_t process) const;
  /// fork(2): the child has attached what its parent has.
  void process_forked(pid_t parent, pid_t child);
  /// It has ended, or executed another program: what it had attached is detached.
  void process_left(pid_t process);

  /// Of all segments, each in whole pages.
  uint64_t size_bytes() const;
  /// SHM_INFO; asks the source about each segment.
  Usage usage() const;
  std::optional<SharedMemoryStatus> next_from(int index, TaskId reader) const;
  IdTable<SharedSegment>& table() { return table_; }
  const IdTable<SharedSegment>& table() const { return table_; }

 private:
  /// What one attachment costs, and whose it is.
  struct Attached {
    SharedSegment* segment = nullptr;
    Charge charge;
  };
  using Places = std::map<uint64_t, Attached>;

  void close(std::unordered_map<pid_t, Places>::iterator process, Places::iterator place);
  void destroy(SharedSegment& segment);
  Result<uint64_t> check_new(const Caller& caller, uint64_t size_bytes, int flags) const;
  void unlock(SharedSegment& segment);
  SharedMemoryStatus status_of(const SharedSegment& segment, TaskId reader) const;

  const Surroundings surroundings_;
  IdTable<SharedSegment> table_;
  uint64_t pages_ = 0;
  std::unordered_map<pid_t, Places> attached_;
  std::unordered_map<uid_t, uint64_t> locked_bytes_;  // by who locked
};

}  // namespace mqueuefs::ipc::sysv
