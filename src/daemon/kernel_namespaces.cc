#include "daemon/kernel_namespaces.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "base/check.h"
#include "base/clock.h"
#include "daemon/proc_files.h"
#include "daemon/proc_text.h"
#include "daemon/target_identity.h"

namespace mqueuefs::daemon {
namespace {

constexpr int64_t kSlowLookMs = 5'000;
constexpr int64_t kSearchAgain_ns = 9'000'000'000;
// What a member can make the loop wait, once for each namespace.
constexpr int kAnswerWithinMs = 20;
// A helper process that a member holds up stays. When there are so many, nothing more is known to end by probe or
// search until one has got through.
constexpr int kMostQuestions = 16;
constexpr int kMostProbeTries = 3;

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

// When the kernel made the inode, which lives while somebody has it open or mounted. 0: no such task.
int64_t namespace_inode_made_ns(pid_t task) {
  const auto fd = open_namespace_of(task, "ipc");
  struct stat status {};
  if (!fd || fstat(fd->get(), &status) < 0) return 0;
  return static_cast<int64_t>(status.st_ctim.tv_sec) * 1'000'000'000 + status.st_ctim.tv_nsec;
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

KernelNamespaces::KernelNamespaces(control::Reactor& reactor, Tasks& tasks, ChildTasks& children, const Features& features,
                                   std::function<void(uint64_t)> ended)
    : tasks_(tasks),
      children_(children),
      use_handles_(features.nsfs_handles),
      use_probes_(!features.nsfs_handles && features.namespace_probe),
      ended_(std::move(ended)) {
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
    if (alive(key)) {
      KernelNamespace* const same = by_key_.at(key).get();
      if (same->left_ns_ == 0 || is_member(thread, *same)) {
        retry_probe(*same, thread);
        return same;
      }
      end(key);
    }
  }
  const auto fd = open_namespace_of(thread, "ipc");  // for a moment only
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
  if (!is_member(process, *result) || !watch_sentinel(*result, process)) {
    // With handles the end of the thread's own process is as good a moment to ask again as any.
    if (!find_sentinel(*result) && use_handles_) watch_sentinel(*result, process);
  }
  if (use_probes_ && result->inode_ != own_inode_) make_probe(*result, fd->get());
  if (by_key_.size() == 1) slow_timer_->set_delay_ms(kSlowLookMs);
  return result;
}

KernelNamespace* KernelNamespaces::find(uint64_t key) {
  const auto found = by_key_.find(key);
  return found == by_key_.end() ? nullptr : found->second.get();
}

bool KernelNamespaces::alive(uint64_t key) {
  return look_at(key, Wait::kBriefly);
}

bool KernelNamespaces::look_at(uint64_t key, Wait wait) {
  KernelNamespace* const known = find(key);
  if (known == nullptr) return false;
  if (is_alive(*known, wait)) return true;
  end(key);
  return false;
}

bool KernelNamespaces::is_alive(KernelNamespace& known, Wait wait) {
  const bool is_own = known.inode_ == own_inode_;
  if (use_handles_ && !is_own) return handle_opens(nsfs_.get(), known.handle_);
  if (known.sentinel_watch_ != nullptr && is_member(known.sentinel_, known)) return true;
  if (is_own) return find_sentinel(known);
  if (known.probe_in_the_making_) return true;
  if (known.probe_.mount) {
    // Before a member is looked for: a new namespace may have the inode of one that has ended.
    const NamespaceLife life = ask(known, wait);
    if (life == NamespaceLife::kLives) find_sentinel(known);
    return life != NamespaceLife::kEnded;
  }
  if (find_sentinel(known)) return true;
  if (known.left_ns_ == 0) known.left_ns_ = realtime_now_ns();
  search_for_holders(known);
  return true;
}

bool KernelNamespaces::is_member(pid_t task, const KernelNamespace& known) const {
  const auto its = namespace_inode_of(task, "ipc");
  if (!its || *its != known.inode_) return false;
  // Without members it was held by its inode alone, which is older than the moment when they were missed.
  return known.left_ns_ == 0 || namespace_inode_made_ns(task) <= known.left_ns_;
}

void KernelNamespaces::make_probe(KernelNamespace& known, int namespace_fd) {
  known.probe_in_the_making_ = true;
  ++known.probe_tries_;
  const auto make = [namespace_fd](ChildReport& report) {
    close_all_but({namespace_fd, report.socket()});
    const auto probe = make_namespace_probe(namespace_fd);
    if (!probe) return report.fail(probe.error());
    const int fds[] = {probe->mount.get(), probe->user_namespace.get()};
    report.succeed(std::span(fds, probe->user_namespace ? 2 : 1));
  };
  children_.run(make, [this, key = known.key_](Result<ChildFds> fds) {
    KernelNamespace* const still_known = find(key);
    if (still_known == nullptr) return;
    still_known->probe_in_the_making_ = false;
    if (fds) still_known->probe_ = {std::move((*fds)[0]), std::move((*fds)[1])};
    if (still_known->sentinel_watch_ == nullptr) look_at(key, Wait::kNot);
  });
}

// The first time may have been too early: the user namespace had no names for anybody yet.
void KernelNamespaces::retry_probe(KernelNamespace& known, ipc::TaskId thread) {
  if (!use_probes_ || known.inode_ == own_inode_ || known.probe_.mount || known.probe_in_the_making_) return;
  if (known.probe_tries_ == kMostProbeTries) return;
  if (const auto fd = open_namespace_of(thread, "ipc"); fd && *inode_of(fd->get()) == known.inode_) make_probe(known, fd->get());
}

pid_t KernelNamespaces::ask_helper(KernelNamespace& known, std::vector<int> kept, std::function<NamespaceLife()> question,
                                   std::function<void(NamespaceLife)> answered) {
  if (known.asked_ || questions_ >= kMostQuestions) return 0;
  known.asked_ = true;
  ++questions_;
  kept.push_back(-1);
  const auto put = [kept = std::move(kept), question = std::move(question)](ChildReport& report) mutable {
    // It may stay for long, and keeps nothing else of the daemon's.
    kept.back() = report.socket();
    close_all_but(std::move(kept));
    switch (question()) {
      case NamespaceLife::kLives:
        return report.succeed({});
      case NamespaceLife::kEnded:
        return report.fail(Error{ESTALE, "IPC namespace"});
      case NamespaceLife::kUnknown:
        return report.fail(Error{EAGAIN, "IPC namespace"});
    }
  };
  return children_.run(put, [this, key = known.key_, answered = std::move(answered)](Result<ChildFds> said) {
    --questions_;
    KernelNamespace* const still_known = find(key);
    if (still_known == nullptr) return;
    still_known->asked_ = false;
    if (said) return answered(NamespaceLife::kLives);
    answered(said.code() == ESTALE ? NamespaceLife::kEnded : NamespaceLife::kUnknown);
  });
}

NamespaceLife KernelNamespaces::ask(KernelNamespace& known, Wait wait) {
  struct Answer {
    bool awaited = false;
    std::optional<NamespaceLife> life;
  };
  const auto answer = std::make_shared<Answer>();
  answer->awaited = wait == Wait::kBriefly && !known.was_late_;
  const int mount = known.probe_.mount.get();
  const int owner = known.probe_.user_namespace.get();
  const pid_t helper = ask_helper(
      known, {mount, owner}, [mount, owner] { return ask_namespace_probe(mount, owner); },
      [this, answer, key = known.key_](NamespaceLife life) {
        if (answer->awaited) {
          answer->life = life;
        } else if (life == NamespaceLife::kEnded) {
          end(key);
        }
      });
  if (helper == 0 || !answer->awaited) return NamespaceLife::kUnknown;
  children_.await_report(helper, kAnswerWithinMs);
  answer->awaited = false;
  known.was_late_ = !answer->life;
  return answer->life.value_or(NamespaceLife::kUnknown);
}

void KernelNamespaces::search_for_holders(KernelNamespace& known) {
  const int64_t now_ns = monotonic_now_ns();
  if (known.searched_ns_ != 0 && now_ns - known.searched_ns_ < kSearchAgain_ns) return;
  const auto search = [inode = known.inode_] {
    return holder_is_seen(inode) ? NamespaceLife::kLives : NamespaceLife::kEnded;
  };
  const auto answered = [this, key = known.key_](NamespaceLife life) {
    if (life == NamespaceLife::kEnded && by_key_.at(key)->left_ns_ != 0) end(key);
  };
  if (ask_helper(known, {}, search, answered) != 0) known.searched_ns_ = now_ns;
}

bool KernelNamespaces::watch_sentinel(KernelNamespace& known, pid_t process) {
  auto watch = tasks_.watch(process, [this, key = known.key_] { sentinel_gone(key); });
  if (!watch) return false;
  known.sentinel_ = process;
  known.sentinel_watch_ = std::move(*watch);
  known.left_ns_ = known.searched_ns_ = 0;
  return true;
}

bool KernelNamespaces::find_sentinel(KernelNamespace& known) {
  known.sentinel_watch_.reset();
  const pid_t self = getpid();
  const auto try_member = [&](pid_t process) {
    return process != self && is_member(process, known) && watch_sentinel(known, process);
  };
  if (any_number_in("/proc", try_member)) return true;
  if (use_handles_ && known.inode_ != own_inode_)
    return false;  // the handle will tell; threads are not worth it
  return any_number_in("/proc", [&](pid_t process) {
    if (process == self) return false;
    const std::string threads = "/proc/" + std::to_string(process) + "/task";
    return any_number_in(threads.c_str(), [&](pid_t thread) {
      return is_member(thread, known) && watch_sentinel(known, process);
    });
  });
}

void KernelNamespaces::sentinel_gone(uint64_t key) {
  KernelNamespace* const known = find(key);
  MQUEUEFS_CHECK(known != nullptr);
  known->sentinel_watch_.reset();
  if (alive(key)) {
    if (known->sentinel_watch_ == nullptr && use_handles_) find_sentinel(*known);
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
  // In turn: not all of them may be asked at once.
  std::vector<uint64_t> keys;
  keys.reserve(by_key_.size());
  for (const auto& [key, known] : by_key_)
    keys.push_back(key);
  std::rotate(keys.begin(), std::upper_bound(keys.begin(), keys.end(), last_looked_at_), keys.end());
  for (const uint64_t key : keys) {
    if (questions_ < kMostQuestions) last_looked_at_ = key;
    if (!look_at(key, Wait::kNot)) continue;
    if (KernelNamespace* const known = find(key); known->sentinel_watch_ == nullptr && use_handles_) find_sentinel(*known);
  }
  if (!by_key_.empty()) slow_timer_->set_delay_ms(kSlowLookMs);
}

}  // namespace mqueuefs::daemon
