// The memory of another task.
//
// process_vm_readv(2) and process_vm_writev(2) fault pages in as the task itself would. Behind a page may be a file system
// whose server never answers (FUSE, mounted by an ordinary user in his user namespace), and then the call does not return,
// whatever signal comes. So nobody's memory but that of who could harm us anyway is touched on the loop: a thread does it,
// for which the loop waits a moment. One that is not back by then is left to itself, and tells when it is.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "control/reactor.h"

namespace mqueuefs::seccomp {

/// One piece of memory to be written.
struct MemoryPiece {
  uint64_t address;
  std::span<const std::byte> bytes;
};

/// Reads all of `bytes`. May block for as long as the task likes. EFAULT. See process_vm_readv(2).
Status read_memory(pid_t task, uint64_t address, std::span<std::byte> bytes);
/// Writes all of at most two pieces, as read_memory() reads.
Status write_memory(pid_t task, std::span<const MemoryPiece> pieces);

/// The same through threads, which are made when they are needed.
///
/// Thread rule: the loop's. Never blocks for longer than some milliseconds.
class ForeignMemory {
 public:
  /// `back` is called from the loop when something that was EBUSY may be no more.
  ForeignMemory(control::Reactor& reactor, std::function<void()> back);
  ForeignMemory(const ForeignMemory&) = delete;
  ForeignMemory& operator=(const ForeignMemory&) = delete;
  ~ForeignMemory();

  /// EFAULT; EBUSY: it takes longer, or an earlier one of this task still does. Nothing was read.
  Status read(pid_t task, uint64_t address, std::span<std::byte> bytes);
  /// As read(), but after EBUSY it may be written at any later time. ENOENT: `is_there`, which a thread calls right before,
  /// says no: the number may have become another task's.
  Status write(pid_t task, std::span<const MemoryPiece> pieces, std::function<bool()> is_there);

 private:
  struct Bell;
  struct Worker;
  Status run(pid_t task, std::function<Status()> job);
  std::shared_ptr<Worker> idle_worker();
  void collect();

  control::Reactor& reactor_;
  const std::function<void()> back_;
  std::shared_ptr<Bell> bell_;
  std::unique_ptr<control::Watch> watch_;
  std::vector<std::shared_ptr<Worker>> workers_;
};

}  // namespace mqueuefs::seccomp
