// What the System V objects of a namespace need of the rest.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "base/unique_fd.h"
#include "ipc/limits.h"
#include "ipc/memory_budget.h"
#include "ipc/task_info.h"

namespace mqueuefs::ipc::sysv {

/// Makes the files of shared memory. The daemon implements it; ipc/ does no I/O.
class SharedMemorySource {
 public:
  struct Use {
    uint64_t rss_bytes = 0;
    uint64_t swap_bytes = 0;
  };
  virtual ~SharedMemorySource() = default;
  /// A memory file of `size_bytes`, full of zeros, which nobody can make shorter or longer. ENOMEM, ENFILE, EMFILE.
  virtual Result<UniqueFd> make(uint64_t size_bytes) = 0;
  /// What of it exists now.
  virtual Use use(int file) = 0;
};

/// Must outlive the objects.
struct Surroundings {
  TaskInfo& tasks;
  MemoryBudget& budget;
  const Limits& limits;                  ///< of the namespace
  SharedMemorySource* memory = nullptr;  ///< null: there is no shared memory (ENOSYS)
};

}  // namespace mqueuefs::ipc::sysv
