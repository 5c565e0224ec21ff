#include "daemon/kernel_namespaces.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>

#include "base/check.h"
#include "daemon/proc_files.h"
#include "daemon/proc_text.h"

namespace mqueuefs::daemon {
namespace {

constexpr int64_t kSlowLookMs = 5'000;

Result<NamespaceHandle> handle_of(int fd) {
  NamespaceHandle handle(sizeof(file_handle) + MAX_HANDLE_SZ);
  auto* raw = reinterpret_cast<file_handle*>(handle.data());
  raw->handle_bytes = MAX_HANDLE_SZ;
  int mount_id;
  if (name_to_handle_at(fd, "", raw, &mount_id, AT_EMPTY_PATH) < 0) return last_error("name_to_handle_at");
  handle.resize(sizeof(file_handle) + raw->handle_bytes);
  return handle;
}

bool handle_opens(int nsfs, NamespaceHandle& handle) {
  const UniqueFd fd(
      open_by_handle_at(nsfs, reinterpret_cast<file_handle*>(handle.data()), O_RDONLY | O_CLOEXEC));
  // Only ESTALE says that it has ended; EMFILE, for one, does not.
  return fd || errno != ESTALE;
}

/// Calls `visit` for the numbers in a directory of /proc, in ascending order, until it returns true.
template <typename Visit>
bool any_number_in(const char* path, const Visit& visit) {
  DIR* directory = opendir(path);
  if (directory == nullptr) return false;
  bool found = false;
  while (const dirent* entry = readdir(directory)) {
    const pid_t number = atoi(entry->d_name);
    if (number > 0 && visit(number)) {
      found = true;
      break;
    }
  }
  closedir(directory);
  return found;
}

bool is_member(pid_t task, uint64_t inode) {
  const auto its = namespace_inode_of(task, "ipc");
  return its && *its == inode;
}

}  // namespace

bool nsfs_handles_work() {
  const UniqueFd nsfs(open("/proc/self/ns/user", O_RDONLY | O_CLOEXEC));
  const UniqueFd own(open("/proc/self/ns/ipc", O_RDONLY | O_CLOEXEC));
  if (!nsfs || !own) return false;
  auto handle = handle_of(own.get());
  if (!handle) return false;
  const UniqueFd again(
      open_by_handle_at(nsfs.get(), reinterpret_cast<file_handle*>(handle->data()), O_RDONLY | O_CLOEXEC));
  return static_cast<bool>(again);
}

KernelNamespaces::KernelNamespaces(control::Reactor& reactor, Tasks& tasks, bool use_handles,
                                   std::function<void(uint64_t)> ended)
    : tasks_(tasks), use_handles_(use_handles), ended_(std::move(ended)) {
  nsfs_ = UniqueFd(open("/proc/self/ns/user", O_RDONLY | O_CLOEXEC));
  if (const auto own = namespace_inode_of(getpid(), "ipc")) own_inode_ = *own;
  if (const auto own = namespace_inode_of(getpid(), "user")) own_user_namespace_ = *own;
  slow_timer_ = reactor.make_timer([this] { look_at_all(); });
}

Result<KernelNamespace*> KernelNamespaces::of_task(pid_t process, ipc::TaskId thread) {
  const auto inode = namespace_inode_of(thread, "ipc");
  if (!inode)
    return inode.code() == ENOENT && access("/proc/self/ns/ipc", F_OK) != 0 ? Error{EOPNOTSUPP}
                                                                            : inode.error();
  if (const auto known = key_of_inode_.find(*inode); known != key_of_inode_.end()) {
    // An inode comes back: if the old namespace has ended this is another one.
    const uint64_t key = known->second;
    if (alive(key)) return by_key_.at(key).get();
  }
  const auto fd = open_proc(thread, "ns/ipc");  // for a moment only
  if (!fd) return fd.error();
  auto fresh = std::make_unique<KernelNamespace>();
  const auto opened_inode = inode_of(fd->get());
  if (!opened_inode) return opened_inode.error();
  if (*opened_inode != *inode) return Error{EAGAIN, "the thread changes its namespace"};
  fresh->inode_ = *inode;
  if (use_handles_) {
    auto handle = handle_of(fd->get());
    if (!handle) return handle.error();
    fresh->handle_ = std::move(*handle);
  }
  if (const UniqueFd owner(ioctl(fd->get(), NS_GET_USERNS)); owner) {
    if (const auto owner_inode = inode_of(owner.get())) fresh->owner_inode_ = *owner_inode;
  }
  fresh->key_ = next_key_++;
  KernelNamespace* const result = fresh.get();
  key_of_inode_.insert_or_assign(fresh->inode_, fresh->key_);
  by_key_.emplace(fresh->key_, std::move(fresh));
  // A thread may be in another namespace than its process; then another member, if any, is the sentinel.
  if (!is_member(process, *inode) || !watch_sentinel(*result, process)) {
    // With handles the end of the thread's own process is as good a moment to ask again as any.
    if (!find_sentinel(*result) && use_handles_) watch_sentinel(*result, process);
  }
  if (by_key_.size() == 1) slow_timer_->set_delay_ms(kSlowLookMs);
  return result;
}

KernelNamespace* KernelNamespaces::find(uint64_t key) {
  const auto found = by_key_.find(key);
  return found == by_key_.end() ? nullptr : found->second.get();
}

bool KernelNamespaces::alive(uint64_t key) {
  KernelNamespace* const known = find(key);
  if (known == nullptr) return false;
  if (is_alive(*known)) return true;
  end(key);
  return false;
}

bool KernelNamespaces::is_alive(KernelNamespace& known) {
  if (use_handles_ && known.inode_ != own_inode_) return handle_opens(nsfs_.get(), known.handle_);
  if (known.sentinel_watch_ != nullptr && is_member(known.sentinel_, known.inode_)) return true;
  return find_sentinel(known);
}

bool KernelNamespaces::watch_sentinel(KernelNamespace& known, pid_t process) {
  auto watch = tasks_.watch(process, [this, key = known.key_] { sentinel_gone(key); });
  if (!watch) return false;
  known.sentinel_ = process;
  known.sentinel_watch_ = std::move(*watch);
  return true;
}

bool KernelNamespaces::find_sentinel(KernelNamespace& known) {
  known.sentinel_watch_.reset();
  const pid_t self = getpid();
  const auto try_member = [&](pid_t process) {
    return process != self && is_member(process, known.inode_) && watch_sentinel(known, process);
  };
  if (any_number_in("/proc", try_member)) return true;
  if (use_handles_ && known.inode_ != own_inode_)
    return false;  // the handle will tell; threads are not worth it
  return any_number_in("/proc", [&](pid_t process) {
    if (process == self) return false;
    const std::string threads = "/proc/" + std::to_string(process) + "/task";
    return any_number_in(threads.c_str(), [&](pid_t thread) {
      return is_member(thread, known.inode_) && watch_sentinel(known, process);
    });
  });
}

void KernelNamespaces::sentinel_gone(uint64_t key) {
  KernelNamespace* const known = find(key);
  MQUEUEFS_CHECK(known != nullptr);
  known->sentinel_watch_.reset();
  if (alive(key)) {
    if (known->sentinel_watch_ == nullptr) find_sentinel(*known);
  }
}

bool KernelNamespaces::learn_maps(KernelNamespace& known, pid_t process) {
  const auto its = namespace_inode_of(process, "user");
  if (!its || *its != known.owner_inode_) return false;
  auto uids = read_proc(process, "uid_map");
  auto gids = read_proc(process, "gid_map");
  // Empty ones have not been written yet.
  if (!uids || !gids || uids->empty() || gids->empty()) return false;
  known.uid_map_ = std::move(*uids);
  known.gid_map_ = std::move(*gids);
  return true;
}

bool KernelNamespaces::owner_can_name(uint64_t key, const ipc::Creator& creator) {
  KernelNamespace* const known = find(key);
  if (known == nullptr || known->owner_inode_ == 0 || known->owner_inode_ == own_user_namespace_) return true;
  if (known->uid_map_.empty()) {
    const auto learn = [&](pid_t process) { return learn_maps(*known, process); };
    if (!learn(creator.task) && !learn(known->sentinel_) && !any_number_in("/proc", learn)) return true;
  }
  return mapped_id(known->uid_map_, creator.uid) && mapped_id(known->gid_map_, creator.gid);
}

void KernelNamespaces::end(uint64_t key) {
  forget(key);
  ended_(key);
}

void KernelNamespaces::forget(uint64_t key) {
  const auto found = by_key_.find(key);
  if (found == by_key_.end()) return;
  const auto inode = key_of_inode_.find(found->second->inode_);
  if (inode != key_of_inode_.end() && inode->second == key) key_of_inode_.erase(inode);
  by_key_.erase(found);
  if (by_key_.empty()) slow_timer_->cancel();
}

void KernelNamespaces::look_at_all() {
  std::vector<uint64_t> keys;
  keys.reserve(by_key_.size());
  for (const auto& [key, known] : by_key_)
    keys.push_back(key);
  for (const uint64_t key : keys) {
    if (!alive(key)) continue;
    if (KernelNamespace* const known = find(key); known->sentinel_watch_ == nullptr) find_sentinel(*known);
  }
  if (!by_key_.empty()) slow_timer_->set_delay_ms(kSlowLookMs);
}

}  // namespace mqueuefs::daemon
