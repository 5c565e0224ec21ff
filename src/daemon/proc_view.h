// What /proc shows of an IPC namespace, for an emulated one: sysvipc/{msg,sem,shm}, sys/fs/mqueue/*, and what
// sys/kernel/ has of System V. See proc(5), sysvipc(7), mq_overview(7).
#pragma once

#include <functional>
#include <memory>
#include <string_view>

#include "fuse/text_tree.h"
#include "ipc/ipc_namespace.h"

namespace mqueuefs::daemon {

/// How the view reaches what it shows. Both are asked anew each time: the namespace may be freed before its view ends.
struct ProcViewSource {
  /// Null: it is freed.
  std::function<ipc::IpcNamespace*()> find;
  /// Whether this task may set a limit so high. ERANGE: the daemon's ceiling.
  std::function<Status(const fuse::TextWriter&, std::string_view key, uint64_t value)> check_limit;
};

std::unique_ptr<fuse::TextTree> make_proc_view(ProcViewSource source, uid_t uid, gid_t gid);

}  // namespace mqueuefs::daemon
