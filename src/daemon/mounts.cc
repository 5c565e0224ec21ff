#include "daemon/mounts.h"

#include <fcntl.h>
#include <poll.h>
#include <spdlog/spdlog.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>

#include <utility>

namespace mqueuefs::daemon {

struct Mounts::Live {
  Key key;
  fuse::Caching caching = fuse::Caching::kOff;
  uint64_t device = 0;      // as device_number() has it; 0: not known (adopted)
  KernelSuperblock kernel;  // without its device, which is the session's
  std::unique_ptr<fuse::Session> session;
  std::unique_ptr<control::Watch> watch;
  std::list<std::unique_ptr<Live>>::iterator place;
};

namespace {

/// Whether another superblock may have to show the same namespace: where its owner has to mount by
/// fusermount3.
bool may_be_adopted(const Namespace& target, const KernelSuperblock& made) {
  if (made.way == SuperblockWay::kFusermount) return true;
  if (made.way == SuperblockWay::kInUserNamespace) return !made.owned_by_requester;
  return target.ipc->owner_uid() != 0;
}

uint64_t device_number(uint32_t major, uint32_t minor) { return uint64_t{major} << 32 | minor; }

/// st_dev of what `root` is in, without asking the server.
uint64_t device_of(int root) {
  struct statx status {};
  if (root < 0 || statx(root, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, 0, &status) < 0) return 0;
  return device_number(status.stx_dev_major, status.stx_dev_minor);
}

}  // namespace

Mounts::Mounts(control::Reactor& reactor, SuperblockMaker& maker, fuse::Services& services, MakeText make_text,
               std::function<void()> ended)
    : reactor_(reactor),
      maker_(maker),
      services_(services),
      make_text_(std::move(make_text)),
      ended_(std::move(ended)) {}

Mounts::~Mounts() = default;

Mounts::MakeSession Mounts::session_maker(Namespace& target, View view, fuse::Caching caching) {
  if (view == View::kQueues) {
    return [this, caching, superblock = target.ipc->superblock()](UniqueFd device) {
      return fuse::Session::create(std::move(device), superblock, services_, caching);
    };
  }
  const auto text = std::make_shared<std::unique_ptr<fuse::TextTree>>(make_text_(target));
  return [text](UniqueFd device) { return fuse::Session::create(std::move(device), std::move(*text)); };
}

void Mounts::with_superblock(Namespace& target, View view, UniqueFd owner, LiveReply reply) {
  const Key key(target.id(), view);
  Current& current = current_[key];
  if (current.live != nullptr && has_ended(*current.live)) end(*current.live);
  if (current.live != nullptr) return reply(current.live);
  current.waiting.push_back(std::move(reply));
  if (current.waiting.size() > 1) return;
  ++making_;
  maker_.make(std::move(owner), [this, key, &target](Result<KernelSuperblock> made) {
    --making_;
    const auto found = current_.find(key);
    if (found == current_.end()) return;  // forgotten, and the waiting were told: `target` is no more
    if (made) {
      const auto caching = may_be_adopted(target, *made) ? fuse::Caching::kOff : fuse::Caching::kOn;
      auto started = start_session(key, session_maker(target, key.second, caching), std::move(*made), caching);
      if (started) found->second.live = *started;
      for (auto& waiting : std::exchange(found->second.waiting, {})) {
        waiting(started ? Result<Live*>(*started) : Result<Live*>(started.error()));
      }
      return;
    }
    spdlog::warn("namespace {}: no superblock: {}: {}", key.first, made.error().step ? made.error().step : "?",
                 strerror(made.code()));
    for (auto& waiting : std::exchange(found->second.waiting, {}))
      waiting(made.error());
  });
}

void Mounts::with_root(Namespace& target, UniqueFd owner, LiveReply reply) {
  with_superblock(target, View::kQueues, std::move(owner), [this, reply = std::move(reply)](Result<Live*> live) {
    if (!live || (*live)->kernel.root)
      return reply(live ? Result<Live*>(*live) : Result<Live*>(live.error()));
    // Let go, but somebody still had it mounted: a mount of the same superblock has the same root.
    const Key key = (*live)->key;
    maker_.mount_again((*live)->kernel, (*live)->session->device(), "none", mount_attributes(0),
                       [this, key, reply](Result<UniqueFd> mount) {
                         if (!mount) return reply(mount.error());
                         auto root = root_of(mount->get());
                         const auto found = current_.find(key);
                         if (found == current_.end() || found->second.live == nullptr)
                           return reply(Error{ESTALE});
                         if (!root) return reply(root.error());
                         found->second.live->kernel.root = std::move(*root);
                         reply(found->second.live);
                       });
  });
}

Result<Mounts::Live*> Mounts::start_session(const Key& key, const MakeSession& make, KernelSuperblock made,
                                            fuse::Caching caching) {
  auto session = make(std::move(made.device));
  if (!session) return session.error();
  auto fresh = std::make_unique<Live>();
  Live* const live = fresh.get();
  live->key = key;
  live->caching = caching;
  live->device = device_of(made.root.get());
  live->kernel = std::move(made);
  live->session = std::move(*session);
  auto watch = reactor_.watch(live->session->device(), EPOLLIN, [this, live](uint32_t) { serve(*live); });
  if (!watch) return watch.error();
  live->watch = std::move(*watch);
  live_.push_front(std::move(fresh));
  live->place = live_.begin();
  if (live->device != 0) by_device_.insert_or_assign(live->device, live);
  spdlog::debug("namespace {}: superblock made", key.first);
  return live;
}

void Mounts::serve(Live& live) {
  if (!live.session->process()) end(live);
}

bool Mounts::has_ended(const Live& live) const {
  pollfd device{live.session->device(), 0, 0};
  return poll(&device, 1, 0) > 0 && (device.revents & (POLLERR | POLLHUP)) != 0;
}

void Mounts::end(Live& live) {
  spdlog::debug("namespace {}: superblock ended", live.key.first);
  const auto current = current_.find(live.key);
  if (current != current_.end() && current->second.live == &live) current->second.live = nullptr;
  const auto named = by_device_.find(live.device);
  if (named != by_device_.end() && named->second == &live) by_device_.erase(named);
  const auto place = live.place;
  const std::unique_ptr<Live> last = std::move(*place);
  live_.erase(place);
  reactor_.run_later(ended_);
}

void Mounts::open_root(Namespace& target, UniqueFd owner, control::DescriptorReply reply) {
  with_root(target, std::move(owner), [reply = std::move(reply)](Result<Live*> live) {
    if (!live) return reply(live.error());
    UniqueFd root(fcntl((*live)->kernel.root.get(), F_DUPFD_CLOEXEC, 0));
    if (!root) return reply(last_error("dup"));
    reply(std::move(root));
  });
}

void Mounts::mount(Namespace& target, UniqueFd owner, control::MountRequest request,
                   control::DescriptorReply reply) {
  const View view = (request.flags & control::kMountProcView) != 0 ? View::kProc : View::kQueues;
  with_superblock(target, view, std::move(owner),
                  [this, request = std::move(request), reply = std::move(reply)](Result<Live*> live) {
                    if (!live) return reply(live.error());
                    maker_.mount_again((*live)->kernel, (*live)->session->device(), request.source,
                                       mount_attributes(request.flags), reply);
                  });
}

Status Mounts::adopt(Namespace& target, View view, UniqueFd fuse_device) {
  const Key key(target.id(), view);
  const auto current = view == View::kQueues ? current_.find(key) : current_.end();
  const bool cached = current != current_.end() && current->second.live != nullptr &&
                      current->second.live->caching == fuse::Caching::kOn;
  if (cached) return Error{EOPNOTSUPP, "names of this namespace are cached"};
  KernelSuperblock adopted;
  adopted.way = SuperblockWay::kFusermount;
  adopted.device = std::move(fuse_device);
  const auto started = start_session(key, session_maker(target, view, fuse::Caching::kOff), std::move(adopted),
                                     fuse::Caching::kOff);
  return started ? Status() : Status(started.error());
}

void Mounts::set_read_only(Namespace& target, bool read_only, control::StatusReply reply) {
  const auto current = current_.find(Key(target.id(), View::kQueues));
  if (current == current_.end() || current->second.live == nullptr)
    return reply(Error{ENOENT, "not mounted"});
  with_root(target, UniqueFd(), [this, read_only, reply = std::move(reply)](Result<Live*> live) {
    if (!live) return reply(live.error());
    maker_.set_read_only((*live)->kernel, read_only, reply);
  });
}

std::shared_ptr<ipc::QueueInode> Mounts::find_queue(uint32_t device_major, uint32_t device_minor,
                                                    uint64_t inode) const {
  const auto found = by_device_.find(device_number(device_major, device_minor));
  return found == by_device_.end() ? nullptr : found->second->session->find_queue(inode);
}

void Mounts::forget(uint64_t namespace_id) {
  for (const View view : {View::kQueues, View::kProc}) {
    const auto found = current_.find(Key(namespace_id, view));
    if (found == current_.end()) continue;
    let_go(found->first);
    const auto waiting = std::move(found->second.waiting);
    current_.erase(found);
    for (const auto& reply : waiting)
      reply(Error{ESTALE, "the namespace is gone"});
  }
}

void Mounts::let_go(uint64_t namespace_id) {
  for (const View view : {View::kQueues, View::kProc}) let_go(Key(namespace_id, view));
}

void Mounts::let_go(const Key& key) {
  const auto found = current_.find(key);
  if (found == current_.end() || found->second.live == nullptr) return;
  // From the loop: this may be the superblock that is asking something at the moment.
  const auto root = std::make_shared<UniqueFd>(std::move(found->second.live->kernel.root));
  reactor_.run_later([root] {});
}

uint64_t Mounts::requests(uint64_t namespace_id) const {
  uint64_t requests = 0;
  for (const auto& live : live_) {
    if (live->key.first == namespace_id) requests += live->session->counters().requests;
  }
  return requests;
}

size_t Mounts::count(uint64_t namespace_id) const {
  size_t count = 0;
  for (const auto& live : live_) {
    if (live->key.first == namespace_id) ++count;
  }
  return count;
}

}  // namespace mqueuefs::daemon
