#include "daemon/daemon_host.h"

#include <fcntl.h>

#include <signal.h>
#include <spdlog/spdlog.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <utility>

#include "base/clock.h"
#include "control/connection.h"
#include "control/wire.h"
#include "daemon/fuse_mount.h"
#include "daemon/notification_delivery.h"
#include "daemon/proc_files.h"
#include "daemon/proc_text.h"
#include "daemon/proc_view.h"
#include "daemon/queue_trace.h"

namespace mqueuefs::daemon {
namespace {

constexpr int64_t kIdleMs = 1000;
constexpr size_t kMostChildren = 64;  // at work for clients

/// What an id is called inside of the task's user namespace, where the superblock will be made.
uid_t inside_id(pid_t task, const char* map, uid_t outside) {
  const auto text = read_proc(task, map);
  return text ? mapped_id(*text, outside).value_or(outside) : outside;
}

/// What the root of the task's user namespace is called here; `none` if it has none.
uid_t root_outside(pid_t task, const char* map, uid_t none) {
  const auto text = read_proc(task, map);
  return text ? outside_id(*text, 0).value_or(none) : none;
}

}  // namespace

DaemonHost::DaemonHost(EventLoop& loop, const Features& features, const HostOptions& options)
    : loop_(loop),
      features_(features),
      tasks_(loop),
      budget_(options.max_user_memory),
      mapping_processes_(loop, tasks_, mapped_queues_),
      server_(loop, *this, budget_,
              {.max_connections_per_user = options.max_connections_per_user,
               .use_peer_pidfd = features.peer_pidfd}),
      children_(loop),
      maker_(children_, features, options.work_dir),
      mounts_(loop, maker_, *this, [this](Namespace& target) { return proc_view_of(target); },
              [this] { look_for_idleness(); }),
      namespaces_({tasks_, budget_, mapped_segments_, mapped_queues_, &shared_memory_}, options.max_namespaces_per_user,
                  [this](Namespace& freed) {
                    spdlog::info("namespace {} freed", freed.id());
                    mounts_.forget(freed.id());
                    for (const uint64_t key : freed.bindings)
                      kernel_namespaces_.forget(key);
                  }),
      limit_ceilings_(options.limit_ceilings),
      kernel_namespaces_(loop, tasks_, children_, features, [this](uint64_t key) {
        namespaces_.unbind(key);
        look_for_idleness();
      }),
      sysv_(loop, tasks_, authority_, kernel_namespaces_, namespaces_, server_,
            [this](const control::Caller& caller, std::string_view name, control::SysvAccess access) {
              switch (access) {
                case control::SysvAccess::kLook:
                  return target(caller, name, Access::kUse);
                case control::SysvAccess::kControl:
                  return target(caller, name, Access::kConfigure);
                case control::SysvAccess::kRestore:
                  break;
              }
              return target(caller, name, Access::kRestore);
            }),
      seccomp_(loop, *this, tasks_, budget_, children_, mounts_, authority_, server_.announcements(),
               [this] { look_for_idleness(); }),
      oci_(loop, [this](const control::Caller& caller, const seccomp::OciState& state, UniqueFd container) {
        serve_container(caller, state, std::move(container));
      }) {
  idle_timer_ = loop_.make_timer([this] { idle_for_a_moment(); });
}

DaemonHost::~DaemonHost() {
  leave_ = nullptr;
  server_.close_all();
  // Connections that were closed just now, and others, are destroyed by work that refers to what goes next.
  loop_.finish_work();
}

// --- whose namespace ---

DaemonHost::RootOwner DaemonHost::root_owner(const control::Caller& caller) const {
  const auto owner = kernel_owner_of(caller.thread);
  if (!features_.mount_privilege) {
    // The superblock's user namespace has to know the ids, or nobody may write: the requester's, or one in
    // which there is nobody but us.
    if (!owner || authority_.is_own(*owner)) return {geteuid(), getegid()};
    return {inside_id(caller.thread, "uid_map", owner->uid), inside_id(caller.thread, "gid_map", caller.gid)};
  }
  // Made by the root of a user namespace: mostly before any process in it had another user.
  if (owner && !authority_.is_own(*owner)) {
    const auto callers = namespace_inode_of(caller.thread, "user");
    if (callers && *callers == owner->inode)
      return {root_outside(caller.thread, "uid_map", caller.uid), root_outside(caller.thread, "gid_map", caller.gid)};
  }
  // Who made the kernel namespace owns the root directory, as with ipc/mqueue.c:mqueue_fill_super.
  if (!owner || owner->uid == caller.uid) return {caller.uid, caller.gid};
  return {owner->uid, 0};
}

Result<Namespace*> DaemonHost::first_use(const control::Caller& caller, KernelNamespace& known) {
  const RootOwner root = root_owner(caller);
  const auto fresh = namespaces_.create_bound(known.key(), caller.uid, root.uid, root.gid);
  if (!fresh) {
    spdlog::warn("user {} has as many namespaces as he may", caller.uid);
    kernel_namespaces_.forget(known.key());
    return fresh.error();
  }
  spdlog::info("namespace {} made for ipc:[{}], user {}", (*fresh)->id(), known.inode(), caller.uid);
  return *fresh;
}

Result<Namespace*> DaemonHost::own_namespace(const control::Caller& caller) {
  const auto known = kernel_namespaces_.of_task(caller.process, caller.thread);
  if (!known) return known.error();
  if (Namespace* const bound = namespaces_.bound_to((*known)->key())) return bound;
  return first_use(caller, **known);
}

bool DaemonHost::owns_name(const control::Caller& caller, const Namespace& named, uint64_t capabilities) const {
  return named.ipc->owner_uid() == caller.uid || authority_.is_administrator(caller, capabilities);
}

bool DaemonHost::is_member(const control::Caller& caller, const Namespace& named) {
  const auto known = kernel_namespaces_.of_task(caller.process, caller.thread);
  if (!known) return false;
  const Namespace* const bound = namespaces_.bound_to((*known)->key());
  if (bound == nullptr) kernel_namespaces_.forget((*known)->key());
  return bound == &named;
}

Result<Namespace*> DaemonHost::target(const control::Caller& caller, std::string_view name, Access access) {
  const Error not_yours{EPERM, "namespace"};
  const uint64_t capabilities = access == Access::kRestore ? kRestorer : kAdministrator;
  if (!name.empty()) {
    const auto named = namespaces_.find(name);
    if (!named) return named.error();
    if (owns_name(caller, **named, capabilities)) return *named;
    if (access == Access::kUse && is_member(caller, **named)) return *named;
    return not_yours;
  }
  const auto own = own_namespace(caller);
  if (!own) return own.error();
  if (access == Access::kUse) return *own;
  const bool is_named = !(*own)->name.empty();
  if (is_named && owns_name(caller, **own, capabilities)) return *own;
  if (is_named && access != Access::kAttach) return not_yours;
  const auto owner = kernel_owner_of(caller.thread);
  if (owner ? authority_.owns_kernel_namespace(caller, *owner, capabilities)
            : authority_.is_administrator(caller, capabilities)) {
    return *own;
  }
  return not_yours;
}

UniqueFd DaemonHost::requester_owner(const control::Caller& caller, const Namespace& target) const {
  if (features_.mount_privilege || !target.name.empty()) return UniqueFd();
  auto owner = kernel_owner_of(caller.thread);
  if (!owner || authority_.is_own(*owner)) return UniqueFd();
  return std::move(owner->user_namespace);
}

// --- control::Host ---

Result<std::unique_ptr<control::ProcessWatch>> DaemonHost::watch_process(pid_t process, UniqueFd pidfd,
                                                                         std::function<void()> exited) {
  return tasks_.watch(process, std::move(pidfd), std::move(exited));
}

Result<ipc::TaskId> DaemonHost::find_thread(pid_t process, uid_t uid, int32_t tid) {
  auto thread = tasks_.find_thread(process, tid);
  // The thread's own, which setresuid(2) without the C library changes alone.
  if (thread && !tasks_.runs_as(*thread, uid)) return Error{EPERM, "another user's by now"};
  return thread;
}

void DaemonHost::open_root(const control::Caller& caller, std::string_view name,
                           control::DescriptorReply reply) {
  const auto found = target(caller, name, Access::kUse);
  if (!found) return reply(found.error());
  mounts_.open_root(**found, requester_owner(caller, **found), std::move(reply));
}

void DaemonHost::mount(const control::Caller& caller, std::string_view name, control::MountRequest request,
                       control::DescriptorReply reply) {
  const auto found = target(caller, name, Access::kAttach);
  if (!found) return reply(found.error());
  spdlog::info("namespace {}: a mount for process {} of user {}", (*found)->id(), caller.process, caller.uid);
  mounts_.mount(**found, requester_owner(caller, **found), std::move(request), std::move(reply));
}

void DaemonHost::adopt_mount(const control::Caller& caller, std::string_view name, uint32_t flags, int socket,
                             control::StatusReply reply) {
  const auto found = target(caller, name, Access::kAttach);
  if (!found) return reply(found.error());
  const auto view = (flags & control::kMountProcView) != 0 ? Mounts::View::kProc : Mounts::View::kQueues;
  if (children_.running() >= kMostChildren) return reply(Error{EBUSY, "helper processes"});
  children_.run(
      [socket](ChildReport& report) {
        std::array<std::byte, sizeof(control::AdoptMount)> body;
        const auto packet = control::receive_packet(socket, body, MSG_DONTWAIT);
        if (!packet) return report.fail(packet.error());
        if (packet->fd_count != 1) return report.fail(Error{EINVAL, "no descriptor"});
        const auto device = own_fuse_device(packet->fds[0].get());
        if (!device) return report.fail(device.error());
        const int fds[] = {device->get()};
        report.succeed(fds);
      },
      [this, id = (*found)->id(), caller, view, reply = std::move(reply)](Result<ChildFds> fds) {
        Namespace* const known = namespaces_.by_id(id);
        if (!fds) return reply(fds.error());
        if (known == nullptr) return reply(Error{ESTALE, "the namespace is gone"});
        const Status adopted = mounts_.adopt(*known, view, std::move((*fds)[0]));
        if (adopted)
          spdlog::info("namespace {}: a mount by process {} of user {}", id, caller.process, caller.uid);
        reply(adopted);
      });
}

std::unique_ptr<fuse::TextTree> DaemonHost::proc_view_of(Namespace& target) {
  const auto& root = target.ipc->superblock()->root();
  ProcViewSource source;
  source.find = [this, id = target.id()]() -> ipc::IpcNamespace* {
    Namespace* const known = namespaces_.by_id(id);
    return known != nullptr ? known->ipc.get() : nullptr;
  };
  source.check_limit = [this](const fuse::TextWriter& writer, std::string_view key, uint64_t value) {
    return check_ceiling({.process = tasks_.process_of(writer.task), .thread = writer.task, .uid = writer.uid}, key, value);
  };
  return make_proc_view(std::move(source), root.uid, root.gid);
}

void DaemonHost::adopt_listener(const control::Caller& caller, int socket, control::StatusReply reply) {
  if (children_.running() >= kMostChildren) return reply(Error{EBUSY, "helper processes"});
  children_.run(
      [socket](ChildReport& report) {
        std::array<std::byte, sizeof(control::AdoptListener)> body;
        const auto packet = control::receive_packet(socket, body, MSG_DONTWAIT);
        if (!packet) return report.fail(packet.error());
        if (packet->fd_count != 1 || !seccomp::is_listener(packet->fds[0].get()))
          return report.fail(Error{EINVAL, "no listener"});
        const int fds[] = {packet->fds[0].get()};
        report.succeed(fds);
      },
      [this, caller, reply = std::move(reply)](Result<ChildFds> fds) {
        if (!fds) return reply(fds.error());
        const Status served = seccomp_.serve(std::move((*fds)[0]), "");
        if (served) spdlog::info("serving system calls for process {} of user {}", caller.process, caller.uid);
        reply(served);
      });
}

void DaemonHost::serve_container(const control::Caller& caller, const seccomp::OciState& state, UniqueFd listener) {
  if (!state.namespace_name.empty()) {
    // The container's kernel namespace acts as the named one from now on, by the runtime's rights.
    Status bound = create_namespace(caller, state.namespace_name);
    if (bound || bound.code() == EEXIST) bound = bind_namespace(caller, state.namespace_name, state.process);
    if (!bound) {
      // Without a listener its mq_* calls fail with ENOSYS: better than another namespace than was asked for.
      spdlog::warn("container {}: namespace {}: {}", state.container, state.namespace_name, strerror(bound.code()));
      return;
    }
  }
  const Status served = seccomp_.serve(std::move(listener), "");
  if (served) {
    spdlog::info("serving the system calls of container {}, process {}", state.container, state.process);
  } else {
    spdlog::warn("container {}: {}", state.container, served.error().step);
  }
}

void DaemonHost::remount(const control::Caller& caller, std::string_view name, bool read_only,
                         control::StatusReply reply) {
  const auto found = target(caller, name, Access::kAttach);
  if (!found) return reply(found.error());
  mounts_.set_read_only(**found, read_only, std::move(reply));
}

Status DaemonHost::create_namespace(const control::Caller& caller, std::string_view name) {
  const auto fresh =
      namespaces_.create_named(name, caller.uid, features_.mount_privilege ? caller.gid : getegid());
  if (!fresh) {
    if (fresh.code() == ENOSPC) spdlog::warn("user {} has as many namespaces as he may", caller.uid);
    return fresh.error();
  }
  spdlog::info("namespace {} made by name, user {}", (*fresh)->id(), caller.uid);
  return {};
}

Status DaemonHost::remove_namespace(const control::Caller& caller, std::string_view name) {
  const auto named = namespaces_.find(name);
  if (!named) return named.error();
  if (!owns_name(caller, **named)) return Error{EPERM, "namespace"};
  namespaces_.remove_name(**named);
  look_for_idleness();
  return {};
}

Status DaemonHost::bind_namespace(const control::Caller& caller, std::string_view name, int32_t pid) {
  const auto named = namespaces_.find(name);
  if (!named) return named.error();
  if (!owns_name(caller, **named)) return Error{EPERM, "namespace"};
  pid_t process = caller.process;
  ipc::TaskId thread = caller.thread;
  if (pid != 0) {
    const auto other = tasks_.find_process_seen_as(pid, caller.thread);
    if (!other) return other.error();
    process = thread = *other;
  }
  const auto owner = kernel_owner_of(thread);
  if (!owner) return owner.error();
  if (!authority_.owns_kernel_namespace(caller, *owner)) return Error{EPERM, "kernel IPC namespace"};
  const auto known = kernel_namespaces_.of_task(process, thread);
  if (!known) return known.error();
  spdlog::info("namespace {}: ipc:[{}] is bound to it", (*named)->id(), (*known)->inode());
  namespaces_.bind((*known)->key(), **named);
  return {};
}

void DaemonHost::note_misbehaviour(pid_t process, uid_t uid, const char* what) {
  // Whoever misbehaves must not fill the log.
  const auto left_out = complaints_.take(uid, monotonic_now_ns());
  if (!left_out) return;
  if (*left_out > 0) spdlog::warn("{} complaints about user {} were left out", *left_out, uid);
  spdlog::warn("process {} of user {}: {}", process, uid, what);
}

void DaemonHost::note_refused_creation(ipc::Superblock& superblock, const ipc::Creator& creator, const Error& error) {
  const char* limit = nullptr;
  if (error.code == ENOSPC) limit = "queues_max";
  if (error.code == EMFILE) limit = "RLIMIT_MSGQUEUE";
  if (error.code == ENOMEM) limit = "--max-user-memory";
  if (limit == nullptr) return;
  const auto left_out = complaints_.take(creator.uid, monotonic_now_ns());
  if (!left_out) return;
  if (*left_out > 0) spdlog::warn("{} complaints about user {} were left out", *left_out, creator.uid);
  const ipc::IpcNamespace* const shown = superblock.namespace_or_null();
  spdlog::warn("namespace {}: user {} is refused a queue: {} is reached", shown != nullptr ? shown->id() : 0, creator.uid,
               limit);
}

// --- fuse::Services ---

ipc::Channel* DaemonHost::find_channel(uint64_t id) {
  return server_.find(id);
}

std::optional<ipc::AnnouncedCreation> DaemonHost::take_announcement(ipc::TaskId task, std::string_view name) {
  return server_.announcements().take(task, name);
}

Status DaemonHost::check_unlink(ipc::TaskId task, ipc::Superblock& superblock, std::string_view name) {
  const auto seen = server_.announcements().take_collection(task, name);
  if (!seen) return {};
  const auto queue = superblock.find(name);
  if (!queue) return queue.error();
  if ((*queue)->inode() != seen->inode) return Error{ENOENT, "another queue by now"};
  if ((*queue)->held_by() != 0) return Error{EBUSY, "held"};
  // Somebody may have come and gone.
  const ipc::QueueActivity activity = (*queue)->activity();
  if (activity.sent != seen->sent || activity.received != seen->received) return Error{EBUSY, "used meanwhile"};
  return {};
}

Status DaemonHost::start_trace(uint64_t channel, ipc::TaskId caller, ipc::QueueInode& queue, uint32_t payload_bytes) {
  control::Connection* const connection = server_.find(channel);
  if (connection == nullptr) return Error{ENOTCONN, "channel"};
  const pid_t process = tasks_.process_of(caller);
  if (process == 0 || connection->process() != process) return Error{EPERM, "another's connection"};
  return start_queue_trace(tasks_, budget_, *connection, caller, queue, payload_bytes);
}

bool DaemonHost::is_undoable(ipc::TaskId task, std::string_view name) {
  return server_.announcements().is_in_place(task, name);
}

void DaemonHost::note_unlinked(ipc::TaskId task, std::shared_ptr<ipc::HeldQueue> queue) {
  server_.announcements().note_unlinked(task, std::move(queue));
}

Status DaemonHost::check_creation(ipc::Superblock& superblock, const ipc::Creator& creator) {
  const ipc::IpcNamespace* const shown = superblock.namespace_or_null();
  if (shown == nullptr) return {};
  const Namespace* const known = namespaces_.by_id(shown->id());
  if (known == nullptr || !known->name.empty()) return {};
  // One that lives is enough; each that does not takes its binding, and the last one the namespace, with it.
  const std::vector<uint64_t> keys(known->bindings.begin(), known->bindings.end());
  for (const uint64_t key : keys) {
    if (!kernel_namespaces_.alive(key)) continue;
    // fs/namei.c:may_create. A superblock that was made in the user namespace itself has the kernel ask this.
    const bool named = !features_.mount_privilege || kernel_namespaces_.owner_can_name(key, creator);
    return named ? Status() : Error{EOVERFLOW, "owner"};
  }
  return {};
}

Status DaemonHost::send_mapping(uint64_t channel, ipc::TaskId caller, ipc::QueueInode& queue) {
  control::Connection* const connection = server_.find(channel);
  if (connection == nullptr) return Error{ENOTCONN, "channel"};
  const pid_t process = tasks_.process_of(caller);
  if (process == 0 || connection->process() != process) return Error{EPERM, "another's connection"};
  auto share = mapping_processes_.share(process);
  if (!share) return share.error();
  const auto mapping = queue.map_for(std::move(*share));
  if (!mapping) return mapping.error();
  UniqueFd copy(fcntl(mapping->memfd, F_DUPFD_CLOEXEC, 0));
  if (!copy) {
    const Error failed = last_error("F_DUPFD_CLOEXEC");
    queue.could_not_map(mapping->incarnation, process);
    return failed;
  }
  connection->send_mapping({.incarnation = mapping->incarnation,
                            .maxmsg = queue.attributes().maxmsg,
                            .msgsize = queue.attributes().msgsize},
                           std::move(copy));
  return {};
}

std::unique_ptr<ipc::NotificationTarget> DaemonHost::make_notification_target(pid_t process, int type,
                                                                              int signo, uint64_t value,
                                                                              uint64_t channel) {
  switch (type) {
    case SIGEV_SIGNAL:
      return make_signal_target(tasks_, children_, process, signo, value);
    case SIGEV_THREAD:
      return make_connection_target(server_, channel, value);
    default:
      return nullptr;
  }
}

// --- leaving ---

void DaemonHost::leave_when_idle(std::function<void()> leave) {
  leave_ = std::move(leave);
  look_for_idleness();
}

bool DaemonHost::serves_somebody() const {
  if (server_.connection_count() > 0 || namespaces_.named_count() > 0 || children_.running() > 0 ||
      seccomp_.session_count() > 0) {
    return true;
  }
  for (const auto& [id, known] : namespaces_.all()) {
    if (known->ipc->queue_count() > 0 || !known->ipc->has_default_limits() || !known->ipc->sysv().is_empty()) return true;
  }
  return false;
}

void DaemonHost::look_for_idleness() {
  if (leave_ == nullptr) return;
  if (server_.connection_count() > 0) {
    let_go_ = false;
    idle_timer_->cancel();
    return;
  }
  idle_timer_->set_delay_ms(kIdleMs);
}

void DaemonHost::idle_for_a_moment() {
  if (leave_ == nullptr) return;
  if (!serves_somebody()) {
    if (mounts_.count() == 0) return leave_();
    // The internal mounts keep the superblocks: without them those end that nobody else holds, and their end
    // brings us here again. Others stay: somebody has them mounted, or open.
    if (!std::exchange(let_go_, true)) {
      for (const auto& [id, known] : namespaces_.all())
        mounts_.let_go(id);
    }
  }
  // Queues can go without anybody telling us.
  idle_timer_->set_delay_ms(kIdleMs);
}

}  // namespace mqueuefs::daemon
