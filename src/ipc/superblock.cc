#include "ipc/superblock.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/check.h"
#include "base/clock.h"
#include "ipc/ipc_namespace.h"

namespace mqueuefs::ipc {

Superblock::Superblock(IpcNamespace& ipc_namespace, const Environment& environment, uid_t root_uid, gid_t root_gid)
    : namespace_(&ipc_namespace), environment_(environment) {
  root_.mode = 01777;  // doc/behaviour.md A1
  root_.uid = root_uid;
  root_.gid = root_gid;
  root_.stamp(kAllTimes, file_time_now_s());
}

Superblock::~Superblock() {
  MQUEUEFS_CHECK(observers_.empty());
  by_inode_.clear();
  for (auto& [name, queue] : names_) queue->superblock_gone();
  while (!unlinked_.empty()) (*unlinked_.begin())->superblock_gone();
}

void Superblock::set_root_attributes(const AttributeChange& change) {
  if (change.mode) root_.mode = *change.mode & 07777;
  if (change.uid) root_.uid = *change.uid;
  if (change.gid) root_.gid = *change.gid;
  if (change.atime_s) root_.atime_s = *change.atime_s;
  if (change.mtime_s) root_.mtime_s = *change.mtime_s;
  root_.stamp(kCtime, file_time_now_s());
}

bool Superblock::directory_read_is_due() const {
  // relatime, as mount(8) describes it: the last access is not newer than the last change, or a day old.
  constexpr int64_t kDay_s = 24 * 60 * 60;
  const int64_t now_s = file_time_now_s();
  const bool due = root_.atime_s <= root_.mtime_s || root_.atime_s <= root_.ctime_s || now_s - root_.atime_s >= kDay_s;
  return due && root_.atime_s != now_s;
}

bool Superblock::note_directory_read() {
  return directory_read_is_due() && root_.stamp(kAtime, file_time_now_s());
}

Result<std::shared_ptr<QueueInode>> Superblock::find(std::string_view name) const {
  if (name.size() > kMaxNameBytes) return Error{ENAMETOOLONG, "name"};
  const auto found = names_.find(name);
  if (found == names_.end()) return Error{ENOENT, "no such queue"};
  return found->second;
}

// The order of the checks is ipc/mqueue.c:mqueue_create_attr's, then mqueue_get_inode's (doc/behaviour.md C5).
Result<std::shared_ptr<QueueInode>> Superblock::create(std::string_view name, mode_t mode,
                                                       const RequestedAttributes* requested, const Creator& creator) {
  if (name.size() > kMaxNameBytes) return Error{ENAMETOOLONG, "name"};
  if (names_.contains(name)) return Error{EEXIST, "name"};
  if (namespace_ == nullptr) return Error{EACCES, "the namespace is gone"};

  // Asked for only where it decides: each answer costs a look into /proc.
  TaskInfo& tasks = environment_.tasks;
  const Limits& limits = namespace_->limits();
  if (namespace_->queue_count() >= limits.queues_max && !tasks.may_exceed_limits(creator.task)) {
    return Error{ENOSPC, "queues_max"};
  }
  Result<QueueAttributes> attributes = limits.default_attributes();
  if (requested != nullptr) {
    attributes = check_attributes(*requested, limits, false);
    if (!attributes) attributes = check_attributes(*requested, limits, tasks.may_exceed_limits(creator.task));
    if (!attributes) return attributes.error();
  }
  const uint64_t charge_bytes = charge_of(*attributes);
  const Status charged = namespace_->charge(creator.uid, charge_bytes, tasks.rlimit_msgqueue(creator.task));
  if (!charged) return charged.error();

  FileAttributes file{.mode = mode & 07777, .uid = creator.uid, .gid = creator.gid};
  file.stamp(kAllTimes, file_time_now_s());
  auto queue = std::make_shared<QueueInode>(*this, next_inode_++, std::string(name), *attributes, file, creator.uid,
                                            charge_bytes);
  queue->set_creator(tasks.process_of(creator.task), boottime_now_ns());
  names_.emplace(queue->name(), queue);
  by_inode_.emplace(queue->inode(), queue.get());
  root_.stamp(kAllTimes, file_time_now_s());  // doc/behaviour.md B12
  return queue;
}

Status Superblock::unlink(std::string_view name) {
  const auto found = find(name);
  if (!found) return found.error();
  const std::shared_ptr<QueueInode> queue = *found;  // the name's own reference goes first
  by_inode_.erase(queue->inode());
  names_.erase(queue->name());
  root_.stamp(kAllTimes, file_time_now_s());
  queue->unlink();
  return {};
}

Status Superblock::relink(const std::shared_ptr<QueueInode>& queue) {
  if (queue->ended_ || queue->linked()) return Error{ESTALE, "relink"};
  if (names_.contains(queue->name())) return Error{EEXIST, "name"};
  names_.emplace(queue->name(), queue);
  by_inode_.emplace(queue->inode(), queue.get());
  root_.stamp(kAllTimes, file_time_now_s());
  queue->relink();
  return {};
}

QueueInode* Superblock::next_below(uint64_t inode) const {
  const auto above = by_inode_.lower_bound(inode);
  return above == by_inode_.begin() ? nullptr : std::prev(above)->second;
}

QueueInode* Superblock::next_above(uint64_t inode) const {
  const auto above = by_inode_.upper_bound(inode);
  return above == by_inode_.end() ? nullptr : above->second;
}

void Superblock::remove_observer(SuperblockObserver& observer) {
  const auto place = std::find(observers_.begin(), observers_.end(), &observer);
  MQUEUEFS_CHECK(place != observers_.end());
  observers_.erase(place);
}

void Superblock::attributes_changed(QueueInode& queue) {
  for (SuperblockObserver* observer : observers_) observer->attributes_changed(queue);
}

void Superblock::queue_is_mapped(QueueInode& queue, bool mapped) {
  if (mapped) {
    environment_.mapped_queues.insert(&queue);
  } else {
    environment_.mapped_queues.erase(&queue);
  }
}

void Superblock::readiness_changed(QueueInode& queue) {
  for (SuperblockObserver* observer : observers_) observer->readiness_changed(queue);
}

void Superblock::give_charge_back(uid_t uid, uint64_t bytes) {
  environment_.budget.give_back(uid, bytes);
  if (namespace_ != nullptr) namespace_->give_charge_back(uid, bytes);
}

}  // namespace mqueuefs::ipc
