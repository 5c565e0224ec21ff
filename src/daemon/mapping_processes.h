// The processes that map queues, and whether they still do.
//
// A mapping goes with the address space: when the process ends, which its pidfd tells, or executes another program,
// which nothing tells, and which is asked about when one of its descriptors is closed and once a second.
#pragma once

#include <functional>
#include <memory>
#include <unordered_map>

#include "base/result.h"
#include "control/reactor.h"
#include "daemon/process_life.h"
#include "daemon/tasks.h"
#include "ipc/queue_inode.h"
#include "ipc/superblock.h"

namespace mqueuefs::daemon {

/// Thread rule: the loop's. Outlives the queues.
class MappingProcesses {
 public:
  MappingProcesses(control::Reactor& reactor, Tasks& tasks, ipc::MappedQueues& queues);
  ~MappingProcesses();

  /// For a queue that `process` is about to map. ESRCH: it is gone.
  Result<std::unique_ptr<ipc::MappingProcess>> share(pid_t process);

  size_t count() const { return lives_.size(); }

 private:
  class Share;

  void catch_up();

  Tasks& tasks_;
  ipc::MappedQueues& queues_;
  std::unique_ptr<control::Timer> timer_;
  std::unordered_map<pid_t, std::weak_ptr<ProcessLife>> lives_;
};

}  // namespace mqueuefs::daemon
