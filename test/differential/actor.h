// Who carries the steps out: processes and threads that wait for one in shared memory, do it, and leave its
// outcome there as text.
//
// The memory is a memfd at kSharedFd of every process, so it survives fork and exec. `posted` and `done` of
// an actor count its steps: they differ while it works, or is blocked. `bell` is rung with each outcome.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "differential/operation.h"

namespace mqueuefs::differential {

inline constexpr int kSharedFd = 900;
inline constexpr int kOutcomeBytes = 2048;
/// The leader: it has made the sandbox, and starts processes.
inline constexpr int kLeader = kActors;

struct Slot {
  std::atomic<uint32_t> posted{0};
  std::atomic<uint32_t> done{0};
  std::atomic<int> tid{0};
  std::atomic<uint32_t> signals_handled{0};
  uint32_t step = 0;  ///< makes messages differ
  Operation operation;
  char outcome[kOutcomeBytes];
};

struct ProcessSlot {
  std::atomic<int> pid{0};
  int descriptors[kSlots];
  char* attachments[kAttachments];  ///< of its address space; null: none
};

struct Shared {
  std::atomic<uint32_t> bell{0};
  std::atomic<int> leader_state{0};  ///< 1: ready; 2: failed, see `failure`
  uid_t account = 0;  ///< the kernel only: whose RLIMIT_MSGQUEUE this sandbox uses, a real uid of its own
  unsigned fuse_connection = 0;      ///< what to abort if the file system hangs; 0: none
  char failure[512] = "";
  char mount_dir[256] = "";
  int target = 0;  ///< a TargetKind
  int objects[3][kObjects] = {};  ///< ids of message queues, semaphores, memory
  Slot slots[kActors + 1];
  ProcessSlot processes[kMaxProcesses];
};

enum class TargetKind : int {
  kKernel,
  kPreload,  ///< libc's calls, under libmqueuefs-preload.so
  kLibrary,  ///< libmqueuefs's calls
  kBroken,   ///< the kernel's with a mistake, to see that it is found
};

Shared* map_shared();

/// By the numbers of the sandbox, so that both sandboxes say the same.
std::string name_of_process(const Shared& shared, int pid);

/// Waits for the word to change from `seen`, at most `limit_us`.
void wait_on(std::atomic<uint32_t>& word, uint32_t seen, int limit_us);
void wake(std::atomic<uint32_t>& word);

/// The loop of an actor. Does not return.
[[noreturn]] void run_actor(Shared* shared, int actor);
/// The program's second life: the process that was executed for the kExec step of `actor`.
[[noreturn]] void run_after_exec(int actor);
/// Starts process `process` with no descriptors of queues; for the leader.
int spawn(Shared* shared, int process);

}  // namespace mqueuefs::differential
