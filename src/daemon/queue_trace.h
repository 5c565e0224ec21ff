// A trace of a queue: each message as a packet to the connection that asked for it.
//
// Nobody waits for the reader of a trace: what does not fit into his line is counted, and the next packet says how much
// was lost; so does one of its own when he has read all that waited for him. His line's memory is charged to him.
#pragma once

#include <memory>

#include "base/result.h"
#include "control/connection.h"
#include "daemon/tasks.h"
#include "ipc/memory_budget.h"
#include "ipc/queue_inode.h"

namespace mqueuefs::daemon {

/// Begins one, which the connection owns then. EMFILE: the queue has as many tracers as it may; ENOMEM.
Status start_queue_trace(Tasks& tasks, ipc::MemoryBudget& budget, control::Connection& connection, ipc::TaskId reader,
                         ipc::QueueInode& queue, uint32_t payload_bytes);

}  // namespace mqueuefs::daemon
