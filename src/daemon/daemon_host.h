// Everything the daemon has, put together: it answers what the front doors ask (control::Host,
// fuse::Services).
//
//   control::Server --Host-->  DaemonHost  --> Namespaces, KernelNamespaces, Mounts, Authority, Tasks
//   fuse::Session --Services-->    "
//
// A request finds its namespace in target(): by name, or by the kernel IPC namespace of the calling thread,
// which gets an emulated one of its own at first use. When a kernel namespace ends its bindings go, and a
// namespace that nothing keeps is freed at once; its superblock stays as long as the kernel's users hold it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "control/host.h"
#include "control/server.h"
#include "daemon/authority.h"
#include "daemon/child_task.h"
#include "daemon/event_loop.h"
#include "daemon/features.h"
#include "daemon/kernel_namespaces.h"
#include "daemon/log.h"
#include "daemon/mapping_processes.h"
#include "daemon/metrics.h"
#include "daemon/mounts.h"
#include "daemon/namespaces.h"
#include "daemon/oci_listener.h"
#include "daemon/seccomp_front.h"
#include "daemon/shared_memory_files.h"
#include "daemon/superblock_maker.h"
#include "daemon/sysv_host.h"
#include "daemon/tasks.h"
#include "fuse/session.h"
#include "ipc/mapped_segments.h"
#include "ipc/memory_budget.h"

namespace mqueuefs::daemon {

struct HostOptions {
  uint64_t max_user_memory = UINT64_MAX;    ///< bytes, queues and messages on their way, each user
  uint32_t max_namespaces_per_user = 1024;  ///< root has no bound
  uint32_t max_connections_per_user = 4096;
  ipc::Limits limit_ceilings = ipc::Limits::greatest();  ///< for what others than root may set
  std::string work_dir = "/tmp";  ///< for temporary mount points, see SuperblockMaker
};

/// Thread rule: the loop's.
class DaemonHost final : public control::Host, public fuse::Services {
 public:
  DaemonHost(EventLoop& loop, const Features& features, const HostOptions& options);
  DaemonHost(const DaemonHost&) = delete;
  DaemonHost& operator=(const DaemonHost&) = delete;
  ~DaemonHost() override;

  /// See control::Server::listen.
  Status listen(UniqueFd socket) { return server_.listen(std::move(socket)); }

  /// See OciListener::listen.
  Status listen_for_containers(const std::string& path) { return oci_.listen(path); }
  Status listen_for_containers(UniqueFd socket) { return oci_.listen(std::move(socket)); }
  /// Takes the name of that socket away.
  void leave_containers() { oci_.leave(); }

  /// What the metrics tell; `most_queues` bounds their number. Takes some microseconds for each queue there is.
  DaemonMetrics metrics(size_t most_queues);

  /// Calls `leave` once nobody has been served for a moment: no connection, no named namespace, no queue, no
  /// limit that was changed, nothing mounted or open.
  void leave_when_idle(std::function<void()> leave);

  // control::Host
  Result<std::unique_ptr<control::ProcessWatch>> watch_process(pid_t process, UniqueFd pidfd,
                                                               std::function<void()> exited) override;
  Result<ipc::TaskId> find_thread(pid_t process, uid_t uid, int32_t tid) override;
  void open_root(const control::Caller& caller, std::string_view name,
                 control::DescriptorReply reply) override;
  void mount(const control::Caller& caller, std::string_view name, control::MountRequest request,
             control::DescriptorReply reply) override;
  void adopt_mount(const control::Caller& caller, std::string_view name, uint32_t flags, int socket,
                   control::StatusReply reply) override;
  void adopt_listener(const control::Caller& caller, int socket, control::StatusReply reply) override;
  void remount(const control::Caller& caller, std::string_view name, bool read_only,
               control::StatusReply reply) override;
  std::vector<control::NamespaceEntry> list_namespaces(const control::Caller& caller, uint64_t after,
                                                       size_t most) override;
  Status create_namespace(const control::Caller& caller, std::string_view name) override;
  Status remove_namespace(const control::Caller& caller, std::string_view name) override;
  Status bind_namespace(const control::Caller& caller, std::string_view name, int32_t pid) override;
  Result<control::LimitsReply> limits(const control::Caller& caller, std::string_view name) override;
  Result<control::LimitsReply> set_limit(const control::Caller& caller, std::string_view name,
                                         std::string_view key, uint64_t value) override;
  Result<std::vector<control::QueueEntry>> list_queues(const control::Caller& caller, std::string_view name,
                                                       uint64_t below, std::string_view only,
                                                       uint32_t parts, size_t most) override;
  control::SysvHost& sysv() override { return sysv_; }
  void note_misbehaviour(pid_t process, uid_t uid, const char* what) override;
  void connections_changed() override { look_for_idleness(); }

  // fuse::Services
  ipc::Channel* find_channel(uint64_t id) override;
  std::optional<ipc::AnnouncedCreation> take_announcement(ipc::TaskId task, std::string_view name) override;
  Status check_creation(ipc::Superblock& superblock, const ipc::Creator& creator) override;
  Status send_mapping(uint64_t channel, ipc::TaskId caller, ipc::QueueInode& queue) override;
  void note_refused_creation(ipc::Superblock& superblock, const ipc::Creator& creator, const Error& error) override;
  Status check_unlink(ipc::TaskId task, ipc::Superblock& superblock, std::string_view name) override;
  Status start_trace(uint64_t channel, ipc::TaskId caller, ipc::QueueInode& queue, uint32_t payload_bytes) override;
  bool is_undoable(ipc::TaskId task, std::string_view name) override;
  void note_unlinked(ipc::TaskId task, std::shared_ptr<ipc::HeldQueue> queue) override;
  std::unique_ptr<ipc::NotificationTarget> make_notification_target(pid_t process, int type, int signo,
                                                                    uint64_t value,
                                                                    uint64_t channel) override;

 private:
  /// What the caller wants to do, and so what gives him the right.
  enum class Access {
    kUse,        // members; owner of the name; administrator
    kAttach,     // mounting: owner of the caller's kernel namespace, or of the name; administrator
    kConfigure,  // limits: owner of the name, if there is one, else of the kernel namespace; administrator
    kRestore,    // ids: the same, and who has CAP_CHECKPOINT_RESTORE instead of CAP_SYS_ADMIN
  };

  Result<Namespace*> target(const control::Caller& caller, std::string_view name, Access access);
  Result<Namespace*> own_namespace(const control::Caller& caller);
  struct RootOwner {
    uid_t uid;
    gid_t gid;
  };
  /// Who owns the root directory of the caller's kernel namespace, as the superblock's user namespace
  /// numbers.
  RootOwner root_owner(const control::Caller& caller) const;
  Result<Namespace*> first_use(const control::Caller& caller, KernelNamespace& known);
  bool owns_name(const control::Caller& caller, const Namespace& named, uint64_t capabilities = kAdministrator) const;
  bool is_member(const control::Caller& caller, const Namespace& named);
  UniqueFd requester_owner(const control::Caller& caller, const Namespace& target) const;
  control::LimitsReply limits_of(const control::Caller& caller, const Namespace& target) const;
  /// ERANGE: only an administrator may set a limit so high.
  Status check_ceiling(const control::Caller& caller, std::string_view key, uint64_t value) const;
  std::unique_ptr<fuse::TextTree> proc_view_of(Namespace& target);
  NamespaceMetrics metrics_of_namespace(const Namespace& known, size_t& queues_left);
  void describe_activity(ipc::QueueInode& queue, const control::Caller& caller, control::QueueEntry& entry);
  control::QueueEntry describe(ipc::QueueInode& queue, const control::Caller& caller, uint32_t parts);
  void serve_container(const control::Caller& caller, const seccomp::OciState& state, UniqueFd listener);
  bool serves_somebody() const;
  void look_for_idleness();
  void idle_for_a_moment();

  EventLoop& loop_;
  const Features features_;
  // In this order: what is below uses what is above.
  Tasks tasks_;
  ipc::MemoryBudget budget_;
  ipc::MappedSegments mapped_segments_;
  ipc::MappedQueues mapped_queues_;
  SharedMemoryFiles shared_memory_;
  MappingProcesses mapping_processes_;
  control::Server server_;  // queues may tell connections something to the last
  Authority authority_;
  ChildTasks children_;
  SuperblockMaker maker_;
  Mounts mounts_;
  Namespaces namespaces_;
  const ipc::Limits limit_ceilings_;
  KernelNamespaces kernel_namespaces_;
  SysvHost sysv_;
  SeccompFront seccomp_;
  OciListener oci_;

  std::function<void()> leave_;
  std::unique_ptr<control::Timer> idle_timer_;
  bool let_go_ = false;  // the internal mounts of empty namespaces have been let go since somebody was served
  UserBudgets complaints_;
};

}  // namespace mqueuefs::daemon
