// The daemon's side of System V IPC: whose namespace a thread is in, what it may there, and which processes hold
// something that their end has to be told of.
//
// A process that has undone operations or attached memory is watched (ProcessLife): its end ends its connections first,
// so that nothing is given to who is no more, and then what it held. That it has executed another program is looked for
// when it matters (attachments are about to be counted, or shmat(2) or shmdt(2) to change them), when a connection of its
// ends, and once a second.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string_view>

#include "control/server.h"
#include "control/sysv_host.h"
#include "daemon/authority.h"
#include "daemon/kernel_namespaces.h"
#include "daemon/namespaces.h"
#include "daemon/process_life.h"
#include "daemon/tasks.h"

namespace mqueuefs::daemon {

/// Thread rule: the loop's. Everything passed to it must outlive it.
class SysvHost final : public control::SysvHost {
 public:
  /// Finds a namespace as an administrator's request means it (empty: the caller's own), if he may.
  using FindTarget =
      std::function<Result<Namespace*>(const control::Caller&, std::string_view name, control::SysvAccess)>;

  SysvHost(control::Reactor& reactor, Tasks& tasks, const Authority& authority, KernelNamespaces& kernel_namespaces,
           Namespaces& namespaces, control::Server& server, FindTarget find_target);
  ~SysvHost() override;

  Result<control::SysvPlace> find_sysv_place(const control::Caller& caller, std::string_view name) override;
  ipc::IpcNamespace* namespace_at(const control::SysvPlace& place) override;
  std::unique_ptr<ipc::sysv::CallerRights> sysv_rights(const control::Caller& caller,
                                                       const control::SysvPlace& place) override;
  Status hold(pid_t process, ipc::IpcNamespace& where) override;
  void look_for_executed(ipc::IpcNamespace& where) override;
  bool inherit(pid_t process) override;
  Status detach(pid_t process, uint64_t attachment) override;
  std::unique_ptr<control::Sleeper> sleeper(pid_t process, ipc::TaskId thread) override;
  void undo(pid_t process) override;
  Result<UniqueFd> share_memory(int file, bool read_only) override;
  void connection_ended(pid_t process) override;
  bool is_at(ipc::TaskId thread, const control::SysvPlace& place) override;
  Result<control::SysvPlace> sysv_target(const control::Caller& caller, std::string_view name,
                                         control::SysvAccess access) override;
  std::shared_ptr<const control::UserView> users_seen_by(ipc::TaskId reader) override;

 private:
  struct Holder {
    std::unique_ptr<ProcessLife> life;
    std::set<uint64_t> namespaces;  // ids; some may be gone
  };
  using Holders = std::map<pid_t, Holder>;

  Result<control::SysvPlace> own_place(const control::Caller& caller, control::SysvAccess access);
  template <typename Visit>
  void each_namespace(const Holder& holder, Visit visit);
  Status watch(pid_t process, Holder& holder);
  void ended(pid_t process);
  /// If it has executed another program.
  void look_at(Holders::iterator place);
  void look_at_all();

  Tasks& tasks_;
  const Authority& authority_;
  KernelNamespaces& kernel_namespaces_;
  Namespaces& namespaces_;
  control::Server& server_;
  const FindTarget find_target_;
  const std::shared_ptr<const control::UserView> own_users_;
  const std::unique_ptr<control::Timer> timer_;
  Holders holders_;
};

}  // namespace mqueuefs::daemon
