// What the control socket's requests ask of the daemon. The server (server.h) knows packets and connections;
// the host knows namespaces, tasks and mounts, and decides who may.
//
// None of these blocks. Where an answer needs a helper process it comes later, through the reply function,
// which may be called at any time, also when the connection is long gone. Names are as the client sent them,
// up to 255 bytes; a selector's empty name means the calling thread's own namespace.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "control/messages.h"
#include "ipc/task_info.h"

namespace mqueuefs::control {

/// Who asks, proved: as numbered in the daemon's namespaces.
struct Caller {
  pid_t process = 0;
  ipc::TaskId thread = 0;
  uid_t uid = 0;
  gid_t gid = 0;
};

struct MountRequest {
  uint32_t flags = 0;  ///< MountFlags
  std::string source;
};

using DescriptorReply = std::function<void(Result<UniqueFd>)>;
using StatusReply = std::function<void(Status)>;

class SysvHost;

/// Ends with itself what watch_process started.
class ProcessWatch {
 public:
  virtual ~ProcessWatch() = default;
  /// Whether the process has ended, also if nobody was told so far.
  virtual bool has_ended() const { return false; }
};

/// Ends with itself a trace of a queue.
class Trace {
 public:
  virtual ~Trace() = default;
  /// What waited for its reader has gone out: there is room for what did not fit.
  virtual void has_room() = 0;
};

/// Common errors: EINVAL a bad name; ENOENT no namespace of that name; EPERM not yours; ENOSPC, ENOMEM a
/// ceiling of the daemon's options; ESRCH the caller is gone.
class Host {
 public:
  virtual ~Host() = default;

  /// Calls `exited` once when the process behind `pidfd` has ended. ESRCH.
  virtual Result<std::unique_ptr<ProcessWatch>> watch_process(pid_t process, UniqueFd pidfd,
                                                              std::function<void()> exited) = 0;
  /// The thread that calls itself `tid` in the pid namespace of `process`. ESRCH: it has no such thread, or
  /// its effective uid is not `uid` any more (it has executed a set-uid program).
  virtual Result<ipc::TaskId> find_thread(pid_t process, uid_t uid, int32_t tid) = 0;

  /// For members of the namespace, the owner of a named one, root.
  virtual void open_root(const Caller& caller, std::string_view name, DescriptorReply reply) = 0;
  /// For the namespace's owner. The descriptor is a detached mount.
  virtual void mount(const Caller& caller, std::string_view name, MountRequest request,
                     DescriptorReply reply) = 0;
  /// For the namespace's owner. The packet that waits in `socket` brings the /dev/fuse; it is taken from
  /// there in any case unless the reply comes at once. EOPNOTSUPP: this namespace is mounted otherwise;
  /// EINVAL: that is no /dev/fuse; EBUSY: too much of this at once.
  virtual void adopt_mount(const Caller& caller, std::string_view name, uint32_t flags, int socket,
                           StatusReply reply) = 0;
  /// The same with a seccomp listener, from whoever has one: its targets' calls are answered with the targets' own
  /// rights. EINVAL: it is none; ENOSPC: the user has as many as he may.
  virtual void adopt_listener(const Caller& caller, int socket, StatusReply reply) = 0;
  virtual void remount(const Caller& caller, std::string_view name, bool read_only, StatusReply reply) = 0;

  /// Those that the caller may see with an id above `after`, by id, at most `most`.
  virtual std::vector<NamespaceEntry> list_namespaces(const Caller& caller, uint64_t after, size_t most) = 0;
  virtual Status create_namespace(const Caller& caller, std::string_view name) = 0;
  virtual Status remove_namespace(const Caller& caller, std::string_view name) = 0;
  virtual Status bind_namespace(const Caller& caller, std::string_view name, int32_t pid) = 0;

  virtual Result<LimitsReply> limits(const Caller& caller, std::string_view name) = 0;
  virtual Result<LimitsReply> set_limit(const Caller& caller, std::string_view name, std::string_view key,
                                        uint64_t value) = 0;
  /// Newest first, below the inode `below` (0: from the newest), at most `most`; only the queue `only` if
  /// that is not empty (ENOENT). `parts`: QueueParts.
  virtual Result<std::vector<QueueEntry>> list_queues(const Caller& caller, std::string_view name,
                                                      uint64_t below, std::string_view only, uint32_t parts,
                                                      size_t most) = 0;

  /// For System V IPC: sysv_host.h.
  virtual SysvHost& sysv() = 0;

  /// A client broke the protocol, or ran into a bound: for the log.
  virtual void note_misbehaviour(pid_t process, uid_t uid, const char* what) = 0;
  /// The number of connections has changed.
  virtual void connections_changed() = 0;
};

}  // namespace mqueuefs::control
