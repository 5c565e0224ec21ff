#include "daemon/sysv_host.h"

#include <linux/capability.h>
#include <sys/resource.h>
#include <unistd.h>

#include <utility>
#include <vector>

#include "daemon/proc_files.h"
#include "daemon/proc_text.h"
#include "daemon/shared_memory_files.h"
#include "ipc/sysv/sysv_ipc.h"

namespace mqueuefs::daemon {
namespace {

// How long it may go unnoticed that a process has executed another program, if nothing else makes us look.
constexpr int64_t kLookMs = 1000;
constexpr uid_t kNoUser = 65534;  // /proc/sys/kernel/overflowuid
constexpr uid_t kNobody = static_cast<uid_t>(-1);

constexpr uint64_t only(int capability) { return uint64_t{1} << capability; }

class SameUsers final : public control::UserView {
 public:
  uid_t user(uid_t uid) const override { return uid; }
  gid_t group(gid_t gid) const override { return gid; }
  uid_t user_meant(uid_t uid) const override { return uid; }
  gid_t group_meant(gid_t gid) const override { return gid; }
};

class OtherUsers final : public control::UserView {
 public:
  OtherUsers(std::string uid_map, std::string gid_map) : uid_map_(std::move(uid_map)), gid_map_(std::move(gid_map)) {}
  uid_t user(uid_t uid) const override { return mapped_id(uid_map_, uid).value_or(kNoUser); }
  gid_t group(gid_t gid) const override { return mapped_id(gid_map_, gid).value_or(kNoUser); }
  uid_t user_meant(uid_t uid) const override { return outside_id(uid_map_, uid).value_or(kNobody); }
  gid_t group_meant(gid_t gid) const override { return outside_id(gid_map_, gid).value_or(kNobody); }

 private:
  const std::string uid_map_, gid_map_;
};

/// Asks /proc, each time. A task that has another effective user by now has executed a set-uid program: its connection
/// may be in hands that its rights are not for.
class Rights final : public ipc::sysv::CallerRights {
 public:
  Rights(const Authority& authority, Tasks& tasks, const control::Caller& caller, bool in_kernel_namespace)
      : authority_(authority), tasks_(tasks), caller_(caller), in_kernel_namespace_(in_kernel_namespace) {}

  bool in_group(gid_t gid) override {
    if (gid == caller_.gid) return true;
    const auto status = read_status();
    if (!status) return false;
    auto groups = status_field(*status, "Groups");
    if (!groups) return false;
    for (std::string_view left = *groups; !left.empty();) {
      const size_t begin = left.find_first_of("0123456789");
      if (begin == std::string_view::npos) break;
      left.remove_prefix(begin);
      gid_t group = 0;
      while (!left.empty() && left[0] >= '0' && left[0] <= '9') {
        group = group * 10 + static_cast<gid_t>(left[0] - '0');
        left.remove_prefix(1);
      }
      if (group == gid) return true;
      if (!left.empty() && left[0] == '\n') break;
    }
    return false;
  }
  bool owns_ipc() override { return capable(only(CAP_IPC_OWNER)); }
  bool administers() override { return capable(only(CAP_SYS_ADMIN)); }
  bool may_lock() override { return capable(only(CAP_IPC_LOCK)); }
  bool may_exceed_limits() override { return read_status() && tasks_.may_exceed_limits(caller_.thread); }
  uint64_t rlimit_memlock() override {
    rlimit limit{};
    if (prlimit(caller_.thread, RLIMIT_MEMLOCK, nullptr, &limit) == 0) return limit.rlim_cur;
    const auto limits = read_proc(caller_.thread, "limits");
    return limits ? memlock_limit(*limits).value_or(0) : 0;
  }

 private:
  std::optional<std::string> read_status() const {
    auto status = read_proc(caller_.thread, "status");
    if (!status || effective_uid(*status) != caller_.uid) return std::nullopt;
    return std::move(*status);
  }
  bool capable(uint64_t capabilities) const {
    if (!read_status()) return false;
    if (!in_kernel_namespace_) return authority_.is_capable(caller_, nullptr, capabilities);
    const auto owner = kernel_owner_of(caller_.thread);
    return owner && authority_.is_capable(caller_, &*owner, capabilities);
  }

  const Authority& authority_;
  Tasks& tasks_;
  const control::Caller caller_;
  const bool in_kernel_namespace_;
};

}  // namespace

SysvHost::SysvHost(control::Reactor& reactor, Tasks& tasks, const Authority& authority,
                   KernelNamespaces& kernel_namespaces, Namespaces& namespaces, control::Server& server,
                   FindTarget find_target)
    : tasks_(tasks),
      authority_(authority),
      kernel_namespaces_(kernel_namespaces),
      namespaces_(namespaces),
      server_(server),
      find_target_(std::move(find_target)),
      own_users_(std::make_shared<SameUsers>()),
      timer_(reactor.make_timer([this] { look_at_all(); })) {}

SysvHost::~SysvHost() = default;

// --- where, and with what rights ---

Result<control::SysvPlace> SysvHost::find_sysv_place(const control::Caller& caller, std::string_view name) {
  return sysv_target(caller, name, control::SysvAccess::kLook);
}

Result<control::SysvPlace> SysvHost::own_place(const control::Caller& caller, control::SysvAccess access) {
  const auto own = find_target_(caller, {}, access);
  if (!own) return own.error();
  const auto known = kernel_namespaces_.of_task(caller.process, caller.thread);
  if (!known) return known.error();
  if (namespaces_.bound_to((*known)->key()) != *own) return Error{EAGAIN, "the thread changes its namespace"};
  return control::SysvPlace{.kernel_key = (*known)->key()};
}

ipc::IpcNamespace* SysvHost::namespace_at(const control::SysvPlace& place) {
  const Namespace* const known =
      place.kernel_key != 0 ? namespaces_.bound_to(place.kernel_key) : namespaces_.by_id(place.namespace_id);
  return known == nullptr ? nullptr : known->ipc.get();
}

std::unique_ptr<ipc::sysv::CallerRights> SysvHost::sysv_rights(const control::Caller& caller,
                                                               const control::SysvPlace& place) {
  return std::make_unique<Rights>(authority_, tasks_, caller, place.kernel_key != 0);
}

Result<control::SysvPlace> SysvHost::sysv_target(const control::Caller& caller, std::string_view name,
                                                 control::SysvAccess access) {
  if (name.empty()) return own_place(caller, access);
  const auto found = find_target_(caller, name, access);
  if (!found) return found.error();
  return control::SysvPlace{.namespace_id = (*found)->id()};
}

bool SysvHost::is_at(ipc::TaskId thread, const control::SysvPlace& place) {
  if (place.kernel_key == 0) return true;
  const KernelNamespace* const known = kernel_namespaces_.find(place.kernel_key);
  const auto inode = namespace_inode_of(thread, "ipc");
  return known != nullptr && inode && *inode == known->inode();
}

std::shared_ptr<const control::UserView> SysvHost::users_seen_by(ipc::TaskId reader) {
  const auto its = namespace_inode_of(reader, "user");
  const auto own = namespace_inode_of(getpid(), "user");
  if (!its || (own && *own == *its)) return own_users_;
  auto uids = read_proc(reader, "uid_map");
  auto gids = read_proc(reader, "gid_map");
  if (!uids || !gids) return own_users_;
  return std::make_shared<OtherUsers>(std::move(*uids), std::move(*gids));
}

namespace {

class SleeperInProc final : public control::Sleeper {
 public:
  explicit SleeperInProc(UniqueFd status) : status_(std::move(status)) {}
  bool is_stopped() const override {
    char text[256];  // the state is on the third line
    const ssize_t size = status_ ? pread(status_.get(), text, sizeof text, 0) : -1;
    return size > 0 && is_stopped_state({text, static_cast<size_t>(size)});
  }

 private:
  const UniqueFd status_;
};

}  // namespace

std::unique_ptr<control::Sleeper> SysvHost::sleeper(pid_t process, ipc::TaskId thread) {
  char path[48];
  snprintf(path, sizeof path, "task/%d/status", thread);
  auto status = open_proc(process, path);
  return std::make_unique<SleeperInProc>(status ? std::move(*status) : UniqueFd());
}

void SysvHost::undo(pid_t process) {
  const auto place = holders_.find(process);
  if (place == holders_.end()) return;
  // Threads share their undo values until the last of them has left.
  const auto status = read_proc(process, "status");
  auto threads = status ? status_field(*status, "Threads") : std::nullopt;
  if (!threads || threads->find_first_not_of(" \t") == std::string_view::npos) return;
  threads->remove_prefix(threads->find_first_not_of(" \t"));
  if (threads->substr(0, threads->find('\n')) != "1") return;
  each_namespace(place->second, [process](ipc::sysv::SysvIpc& ipc) { ipc.semaphores().process_ended(process); });
}

Result<UniqueFd> SysvHost::share_memory(int file, bool read_only) { return SharedMemoryFiles::share(file, read_only); }

// --- who holds something ---

template <typename Visit>
void SysvHost::each_namespace(const Holder& holder, Visit visit) {
  for (const uint64_t id : holder.namespaces) {
    if (const Namespace* const known = namespaces_.by_id(id)) visit(known->ipc->sysv());
  }
}

Status SysvHost::watch(pid_t process, Holder& holder) {
  auto life = std::make_unique<ProcessLife>(process);
  if (const Status watched = life->watch(tasks_, [this, process] { ended(process); }); !watched) return watched;
  holder.life = std::move(life);
  return {};
}

Status SysvHost::hold(pid_t process, ipc::IpcNamespace& where) {
  auto place = holders_.find(process);
  if (place != holders_.end()) {
    // What it held elsewhere before it executed another program is no sign of what it holds here.
    if (!place->second.namespaces.contains(where.id())) look_at(place);
    place->second.life->look_again();
    place->second.namespaces.insert(where.id());
    return {};
  }
  Holder fresh;
  if (const Status watched = watch(process, fresh); !watched) return watched;
  fresh.namespaces.insert(where.id());
  holders_.emplace(process, std::move(fresh));
  if (holders_.size() == 1) timer_->set_delay_ms(kLookMs);
  return {};
}

void SysvHost::ended(pid_t process) {
  const auto place = holders_.find(process);
  if (place == holders_.end()) return;
  const Holder holder = std::move(place->second);
  holders_.erase(place);
  server_.close_all_of(process);
  each_namespace(holder, [process](ipc::sysv::SysvIpc& ipc) { ipc.process_ended(process); });
}

void SysvHost::look_at(Holders::iterator place) {
  if (!place->second.life->has_executed()) return;
  const pid_t process = place->first;
  each_namespace(place->second, [process](ipc::sysv::SysvIpc& ipc) { ipc.process_executed(process); });
  place->second.life->stop_looking();
}

void SysvHost::look_for_executed(ipc::IpcNamespace& where) {
  for (auto place = holders_.begin(); place != holders_.end(); ++place) {
    if (place->second.namespaces.contains(where.id())) look_at(place);
  }
}

void SysvHost::look_at_all() {
  // Who is connected may be about to hold something: a semop that waits, one attachment after the other.
  const auto connected = server_.processes();
  for (auto place = holders_.begin(); place != holders_.end();) {
    look_at(place);
    bool holds = connected.contains(place->first);
    each_namespace(place->second,
                   [&, process = place->first](ipc::sysv::SysvIpc& ipc) { holds = holds || ipc.holds_for(process); });
    place = holds ? std::next(place) : holders_.erase(place);
  }
  if (!holders_.empty()) timer_->set_delay_ms(kLookMs);
}

void SysvHost::connection_ended(pid_t process) {
  if (const auto place = holders_.find(process); place != holders_.end()) look_at(place);
}

bool SysvHost::inherit(pid_t process) {
  const auto status = read_proc(process, "status");
  const auto parent = status ? parent_process(*status) : std::nullopt;
  const auto place = parent ? holders_.find(*parent) : holders_.end();
  if (place == holders_.end()) return false;
  const std::set<uint64_t> namespaces = place->second.namespaces;
  for (const uint64_t id : namespaces) {
    const Namespace* const known = namespaces_.by_id(id);
    if (known == nullptr || !hold(process, *known->ipc)) continue;
    known->ipc->sysv().process_forked(*parent, process);
  }
  return true;
}

Status SysvHost::detach(pid_t process, uint64_t attachment) {
  Status done = Error{EINVAL, "not attached"};
  if (const auto place = holders_.find(process); place != holders_.end()) {
    each_namespace(place->second, [&](ipc::sysv::SysvIpc& ipc) {
      if (!done) done = ipc.memory().detach(process, attachment);
    });
  }
  return done;
}

}  // namespace mqueuefs::daemon
