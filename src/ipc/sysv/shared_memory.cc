#include "ipc/sysv/shared_memory.h"

#include <algorithm>
#include <cerrno>
#include <memory>
#include <utility>

#include "ipc/sysv/look_up.h"
#include "ipc/sysv/shared_segment.h"

namespace mqueuefs::ipc::sysv {
namespace {

constexpr uint64_t kPageBytes = 4096;  // in which shmall counts, and ipcs
constexpr uint64_t kSegmentBytes = 1024;  // what is kept of a segment beside its pages, roughly
constexpr uint64_t kAttachmentBytes = 128;
constexpr size_t kMostAttachments = 65530;  // vm.max_map_count: the caller could not map more

uint64_t pages_of(uint64_t size_bytes) { return size_bytes / kPageBytes + (size_bytes % kPageBytes != 0 ? 1 : 0); }

// A machine without huge pages in its pool. The sizes are those of x86-64 (SHM_HUGE_2MB, SHM_HUGE_1GB) and the default.
Error no_huge_pages(const Caller& caller, int flags) {
  const unsigned size_log = (static_cast<unsigned>(flags) >> 26) & 077;
  if (size_log != 0 && size_log != 21 && size_log != 30) return {EINVAL, "no such huge pages"};
  if (!caller.rights->may_lock() && !caller.rights->in_group(0)) return {EPERM, "huge pages"};
  return {ENOMEM, "no huge pages"};
}

}  // namespace

SharedMemory::SharedMemory(const Surroundings& surroundings) : surroundings_(surroundings) {}
SharedMemory::~SharedMemory() = default;

// newseg(), up to where the segment is made: how many pages it has.
Result<uint64_t> SharedMemory::check_new(const Caller& caller, uint64_t size_bytes, int flags) const {
  if (size_bytes == 0 || size_bytes > surroundings_.limits.shmmax) return Error{EINVAL, "shmmax"};
  const uint64_t pages = pages_of(size_bytes);
  if (pages > UINT64_MAX / kPageBytes || pages > surroundings_.limits.shmall ||
      pages_ > surroundings_.limits.shmall - pages) {
    return Error{ENOSPC, "shmall"};
  }
  if ((flags & SHM_HUGETLB) != 0) return no_huge_pages(caller, flags);
  if (size_bytes > INT64_MAX) return Error{EINVAL, "longer than a file"};
  return pages;
}

Result<int> SharedMemory::get(const Caller& caller, key_t key, uint64_t size_bytes, int flags,
                              const Confirm& confirm) {
  const auto existing = get_existing(table_, caller, key, flags, [&](const Object& segment) {
    return static_cast<const SharedSegment&>(segment).size_bytes() < size_bytes;
  });
  if (!existing) return existing.error();
  if (const Object* const segment = *existing; segment != nullptr) {
    if (!confirm(segment->id())) return Error{ESRCH, "caller"};
    return segment->id();
  }
  const auto pages = check_new(caller, size_bytes, flags);
  if (!pages) return pages.error();
  const auto id = table_.new_id(static_cast<uint32_t>(surroundings_.limits.shmmni));
  if (!id) return id.error();
  if (surroundings_.memory == nullptr) return Error{ENOSYS, "shared memory"};
  // All of it, at once: what the caller writes later is nobody's to refuse.
  auto charge = Charge::reserve(surroundings_.budget, caller.euid, *pages * kPageBytes + kSegmentBytes);
  if (!charge) return charge.error();
  auto file = surroundings_.memory->make(*pages * kPageBytes);
  if (!file) return file.error();
  auto segment = std::make_unique<SharedSegment>(created_by(caller, key, flags), size_bytes, *pages,
                                                 std::move(*file), caller.process, std::move(*charge));
  if (!confirm(*id)) return Error{ESRCH, "caller"};
  table_.add(*id, std::move(segment));
  pages_ += *pages;
  return *id;
}

Status SharedMemory::attach(const Caller& caller, int id, int flags, uint64_t place, const TakeAttachment& take) {
  const bool read_only = (flags & SHM_RDONLY) != 0, executable = (flags & SHM_EXEC) != 0;
  const unsigned asked = kRead | (read_only ? 0 : kWrite) | (executable ? kExecute : 0);
  const auto found = look_up(table_, caller, id, asked);
  if (!found) return found.error();
  SharedSegment& segment = **found;
  if (const auto places = attached_.find(caller.process); places != attached_.end()) {
    if (places->second.contains(place)) return Error{EEXIST, "place"};
    if (places->second.size() >= kMostAttachments) return Error{ENOMEM, "attachments"};
  }
  auto charge = Charge::reserve(surroundings_.budget, caller.euid, kAttachmentBytes);
  if (!charge) return charge.error();
  if (!take(Attachment{segment.file(), segment.size_bytes(), read_only, executable})) return Error{ESRCH, "caller"};
  attached_[caller.process].emplace(place, Attached{&segment, std::move(*charge)});
  segment.attached_by(caller.process);
  return {};
}

Status SharedMemory::move(pid_t process, uint64_t from, uint64_t to) {
  const auto places = attached_.find(process);
  if (places == attached_.end() || !places->second.contains(from)) return Error{EINVAL, "nothing attached"};
  if (from == to) return {};
  if (places->second.contains(to)) return Error{EEXIST, "place"};
  auto node = places->second.extract(from);
  node.key() = to;
  places->second.insert(std::move(node));
  return {};
}

Status SharedMemory::detach(pid_t process, uint64_t place) {
  const auto places = attached_.find(process);
  if (places == attached_.end()) return Error{EINVAL, "nothing attached"};
  const auto attached = places->second.find(place);
  if (attached == places->second.end()) return Error{EINVAL, "nothing attached"};
  close(places, attached);
  return {};
}

Result<int> SharedMemory::attached_at(pid_t process, uint64_t place) const {
  const auto places = attached_.find(process);
  if (places == attached_.end()) return Error{EINVAL, "nothing attached"};
  const auto attached = places->second.find(place);
  if (attached == places->second.end()) return Error{EINVAL, "nothing attached"};
  return attached->second.segment->id();
}

// shm_close()
void SharedMemory::close(std::unordered_map<pid_t, Places>::iterator process, Places::iterator place) {
  SharedSegment& segment = *place->second.segment;
  segment.detached_by(process->first);
  process->second.erase(place);
  if (process->second.empty()) attached_.erase(process);
  if (segment.is_removed() && segment.attachments() == 0) destroy(segment);
}

void SharedMemory::destroy(SharedSegment& segment) {
  unlock(segment);
  pages_ -= segment.pages();
  table_.remove(segment);
}

Result<SharedMemoryStatus> SharedMemory::status(const Caller& caller, int id, Lookup lookup) const {
  const auto segment = look_up(table_, caller, id, lookup);
  if (!segment) return segment.error();
  return status_of(**segment, caller.thread);
}

SharedMemoryStatus SharedMemory::status_of(const SharedSegment& segment, TaskId reader) const {
  SharedMemoryStatus status = segment.status();
  status.cpid = surroundings_.tasks.pid_seen_by(status.cpid, reader);
  status.lpid = surroundings_.tasks.pid_seen_by(status.lpid, reader);
  return status;
}

Status SharedMemory::set(const Caller& caller, int id, const PermissionChange& change, const Confirm& confirm) {
  const auto segment = look_up_to_control(table_, caller, id);
  if (!segment) return segment.error();
  if (const Status valid = check_change(change); !valid) return valid;
  if (!confirm(0)) return Error{ESRCH, "caller"};
  (*segment)->set(change);
  return {};
}

// do_shm_rmid()
Status SharedMemory::remove(const Caller& caller, int id, const Confirm& confirm) {
  const auto segment = look_up_to_control(table_, caller, id);
  if (!segment) return segment.error();
  if (!confirm(0)) return Error{ESRCH, "caller"};
  if ((*segment)->attachments() == 0) {
    destroy(**segment);
  } else {
    (*segment)->set_removed();
    table_.make_private(**segment);
  }
  return {};
}

// shmctl_do_lock()
Status SharedMemory::lock(const Caller& caller, int id, const Confirm& confirm) {
  SharedSegment* const segment = table_.find(id);
  if (segment == nullptr) return Error{EINVAL, "no such segment"};
  const Permissions& permissions = segment->permissions();
  const bool is_owner = caller.euid == permissions.uid || caller.euid == permissions.cuid;
  const uint64_t bytes = segment->pages() * kPageBytes;
  if (!caller.rights->may_lock()) {
    const uint64_t limit = caller.rights->rlimit_memlock();
    if (!is_owner || limit == 0) return Error{EPERM, "SHM_LOCK"};
    const auto locked = locked_bytes_.find(caller.euid);
    const uint64_t now = locked == locked_bytes_.end() ? 0 : locked->second;
    if (!segment->locked_by() && (bytes > limit || now > limit - bytes)) return Error{ENOMEM, "RLIMIT_MEMLOCK"};
  }
  if (!confirm(0)) return Error{ESRCH, "caller"};
  if (!segment->locked_by()) {
    locked_bytes_[caller.euid] += bytes;
    segment->set_locked_by(caller.euid);
  }
  return {};
}

Status SharedMemory::unlock(const Caller& caller, int id, const Confirm& confirm) {
  SharedSegment* const segment = table_.find(id);
  if (segment == nullptr) return Error{EINVAL, "no such segment"};
  const Permissions& permissions = segment->permissions();
  const bool is_owner = caller.euid == permissions.uid || caller.euid == permissions.cuid;
  if (!is_owner && !caller.rights->may_lock()) return Error{EPERM, "SHM_UNLOCK"};
  if (!confirm(0)) return Error{ESRCH, "caller"};
  unlock(*segment);
  return {};
}

void SharedMemory::unlock(SharedSegment& segment) {
  if (!segment.locked_by()) return;
  const auto locked = locked_bytes_.find(*segment.locked_by());
  locked->second -= segment.pages() * kPageBytes;
  if (locked->second == 0) locked_bytes_.erase(locked);
  segment.set_locked_by(std::nullopt);
}

bool SharedMemory::holds_for(pid_t process) const { return attached_.contains(process); }

// dup_mmap() opens each mapping once more, while the parent is who runs.
void SharedMemory::process_forked(pid_t parent, pid_t child) {
  const auto parents = attached_.find(parent);
  if (parents == attached_.end() || parent == child || attached_.contains(child)) return;
  Places places;
  for (const auto& [place, attached] : parents->second) {
    places.emplace(place, Attached{attached.segment,
                                   Charge::take(surroundings_.budget, attached.charge.uid(), kAttachmentBytes)});
    attached.segment->attached_by(parent);
  }
  attached_.emplace(child, std::move(places));
}

void SharedMemory::process_left(pid_t process) {
  // The last one takes the list with it.
  for (auto places = attached_.find(process); places != attached_.end(); places = attached_.find(process)) {
    close(places, places->second.begin());
  }
}

uint64_t SharedMemory::size_bytes() const { return pages_ * kPageBytes; }

Usage SharedMemory::usage() const {
  Usage usage{.greatest_index = std::max(table_.greatest_index(), 0),
              .used_ids = table_.count(),
              .memory_pages = pages_};
  for (const SharedSegment* segment = table_.next_from(0); segment != nullptr;
       segment = table_.next_from(segment->permissions().index() + 1)) {
    const SharedMemorySource::Use use = surroundings_.memory->use(segment->file());
    usage.rss_pages += pages_of(use.rss_bytes);
    usage.swap_pages += pages_of(use.swap_bytes);
  }
  return usage;
}

std::optional<SharedMemoryStatus> SharedMemory::next_from(int index, TaskId reader) const {
  const SharedSegment* const segment = table_.next_from(index);
  if (segment == nullptr) return std::nullopt;
  SharedMemoryStatus status = status_of(*segment, reader);
  const SharedMemorySource::Use use = surroundings_.memory->use(segment->file());
  status.rss_bytes = use.rss_bytes;
  status.swap_bytes = use.swap_bytes;
  return status;
}

}  // namespace mqueuefs::ipc::sysv
