#include "client/mapped_queues.h"

#include <fcntl.h>
#include <linux/membarrier.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <new>
#include <optional>
#include <utility>

#include "client/call.h"
#include "client/queue_file.h"
#include "client/transfer.h"
#include "control/queue_ioctl.h"
#include "segment/segment_memory.h"

namespace mqueuefs::client {
namespace {

constexpr uint32_t kThreads = 512;
constexpr uint32_t kMappings = 1024;
constexpr uint32_t kPageEntries = 1024;
constexpr uint32_t kPages = 1024;  // descriptors up to a million

using Entry = std::atomic<Link>;
struct Page {
  Entry entries[kPageEntries];
};

struct Process {
  ThreadRecord threads[kThreads];
  MappedQueue mappings[kMappings];
  // Entries that lead nowhere: somebody is about to map the descriptor; or it is not to be mapped.
  MappedQueue in_progress;
  MappedQueue never;
  std::atomic<Page*> pages[kPages];
};

static_assert(alignof(MappedQueue) > kAccessBits);

MappedQueue* mapping_of(Link link) { return reinterpret_cast<MappedQueue*>(link & ~kAccessBits); }
Link link_to(MappedQueue& mapping, uintptr_t access) { return reinterpret_cast<Link>(&mapping) | access; }

constinit std::atomic<Process*> process{nullptr};
constinit std::atomic<bool> seen{false};  // whether descriptors are closed in our sight
constinit thread_local ThreadRecord* own_record __attribute__((tls_model("initial-exec"))) = nullptr;

// Memory of zeros, again so in a child. Null: none.
void* private_memory(size_t size) {
  void* const memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  if (madvise(memory, size, MADV_WIPEONFORK) == 0) return memory;
  munmap(memory, size);
  return nullptr;
}

template <typename T>
T* make_once(std::atomic<T*>& pointer) {
  T* there = pointer.load(std::memory_order_acquire);
  if (there != nullptr) return there;
  auto* const made = static_cast<T*>(private_memory(sizeof(T)));
  if (made == nullptr) return nullptr;
  if (pointer.compare_exchange_strong(there, made, std::memory_order_acq_rel)) return made;
  munmap(static_cast<void*>(made), sizeof(T));
  return there;
}

Entry* entry_of(int fd) {
  Process* const own = process.load(std::memory_order_acquire);
  const auto number = static_cast<uint32_t>(fd);
  if (own == nullptr || number / kPageEntries >= kPages) return nullptr;
  Page* const page = own->pages[number / kPageEntries].load(std::memory_order_acquire);
  return page != nullptr ? &page->entries[number % kPageEntries] : nullptr;
}

bool is_gone(uint32_t thread) {
  const int saved = errno;
  const bool gone = syscall(SYS_tgkill, getpid(), thread, 0) != 0 && errno == ESRCH;
  errno = saved;
  return gone;
}

// Null: too many threads.
ThreadRecord* make_record(Process& own) {
  const auto self = static_cast<uint32_t>(syscall(SYS_gettid));
  for (const bool of_the_dead : {false, true}) {
    for (ThreadRecord& record : own.threads) {
      uint32_t thread = record.thread.load(std::memory_order_relaxed);
      // One with our own number is a dead thread's, too.
      if (of_the_dead ? thread != self && !is_gone(thread) : thread != 0 && thread != self) continue;
      if (!record.thread.compare_exchange_strong(thread, self)) continue;
      record.depth = 0;
      for (auto& used : record.using_now) used.store(nullptr, std::memory_order_relaxed);
      for (auto& found : record.found) found = {};
      return own_record = &record;
    }
  }
  return nullptr;
}

// Null: too many threads, or nothing is mapped.
ThreadRecord* record_of_this_thread() {
  ThreadRecord* const record = own_record;
  // 0 in a forked child.
  if (record != nullptr && record->thread.load(std::memory_order_relaxed) != 0) return record;
  Process* const own = process.load(std::memory_order_acquire);
  return own != nullptr ? make_record(*own) : nullptr;
}

// Never 0.
constexpr uint32_t key_of(int fd) { return static_cast<uint32_t>(fd) << 1 | 1; }

MQUEUEFS_HOT ThreadRecord::Found& found_of(ThreadRecord& record, int fd) {
  return record.found[static_cast<unsigned>(fd) % ThreadRecord::kFound];
}

// A handler that interrupts this finds nothing there.
void note(ThreadRecord::Found& place, const ThreadRecord::Found& found) {
  place.key = 0;
  std::atomic_signal_fence(std::memory_order_seq_cst);
  place.generation = found.generation;
  place.entry = found.entry;
  place.mapping = found.mapping;
  place.link = found.link;
  place.member = found.member;
  std::atomic_signal_fence(std::memory_order_seq_cst);
  place.key = found.key;
}

enum class WantedMapping { kUnread, kAll, kReadWrite, kNone };

// $MQUEUEFS_MAP. A value that means nothing is as none given.
WantedMapping wanted_mapping() {
  static constinit std::atomic<WantedMapping> wanted{WantedMapping::kUnread};
  WantedMapping known = wanted.load(std::memory_order_relaxed);
  if (known != WantedMapping::kUnread) return known;
  const char* const chosen = secure_getenv("MQUEUEFS_MAP");
  if (chosen != nullptr && strcmp(chosen, "odd") == 0)  // another answer in a child
    return getpid() % 2 != 0 ? WantedMapping::kAll : WantedMapping::kNone;
  known = WantedMapping::kAll;
  if (chosen != nullptr && (strcmp(chosen, "none") == 0 || strcmp(chosen, "0") == 0)) known = WantedMapping::kNone;
  if (chosen != nullptr && strcmp(chosen, "rdwr") == 0) known = WantedMapping::kReadWrite;
  wanted.store(known);
  return known;
}

// Whether every thread of this process has passed a barrier.
bool barrier() {
  static constinit std::atomic<int> registered{0};
  if (registered.load() == 0) {
    const bool can = syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
    registered.store(can ? 1 : -1);
  }
  return registered.load() == 1 && syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0;
}

bool is_used(const Process& own, const MappedQueue& mapping) {
  for (const ThreadRecord& record : own.threads) {
    for (const auto& used : record.using_now) {
      if (used.load(std::memory_order_acquire) == &mapping) return true;
    }
  }
  return false;
}

// Gives a retired mapping back, if nobody is at work in it.
void give_back(Process& own, MappedQueue& mapping) {
  if (!barrier() || is_used(own, mapping)) return;
  uint32_t retired = MappedQueue::kRetired;
  if (!mapping.state.compare_exchange_strong(retired, MappedQueue::kBusy)) return;
  mapping.queue().leave(mapping.incarnation);
  munmap(mapping.base, mapping.queue().format().size);
  mapping.generation.fetch_add(1);
  mapping.state.store(MappedQueue::kFree, std::memory_order_release);
}

// Its last descriptor was closed while we were at work in it, or asleep.
MQUEUEFS_COLD void give_back_unused(MappedQueue& mapping) {
  if (Process* const own = process.load(std::memory_order_acquire)) give_back(*own, mapping);
}

void give_back_retired(Process& own) {
  for (MappedQueue& mapping : own.mappings) {
    if (mapping.state.load(std::memory_order_relaxed) == MappedQueue::kRetired) give_back(own, mapping);
  }
}

void drop_descriptor(Process& own, MappedQueue& mapping) {
  if (mapping.descriptors.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  uint32_t live = MappedQueue::kLive;
  if (mapping.state.compare_exchange_strong(live, MappedQueue::kRetired)) give_back(own, mapping);
}

void forget(Process& own, Entry& entry) {
  if (entry.load(std::memory_order_relaxed) == 0) return;
  MappedQueue* const mapping = mapping_of(entry.exchange(0, std::memory_order_acq_rel));
  if (mapping >= own.mappings && mapping < own.mappings + kMappings) drop_descriptor(own, *mapping);
}

// One more descriptor of a queue that is mapped.
bool share(MappedQueue& mapping) {
  uint32_t descriptors = mapping.descriptors.load();
  while (descriptors != 0) {
    if (mapping.descriptors.compare_exchange_weak(descriptors, descriptors + 1)) return true;
  }
  return false;
}

MappedQueue* find_mapping(Process& own, uint64_t device, uint64_t inode) {
  for (MappedQueue& mapping : own.mappings) {
    if (mapping.state.load(std::memory_order_acquire) != MappedQueue::kLive) continue;
    if (mapping.device != device || mapping.inode != inode || !share(mapping)) continue;
    // It may have been another's by the time that it was shared.
    if (mapping.device == device && mapping.inode == inode) return &mapping;
    drop_descriptor(own, mapping);
  }
  return nullptr;
}

MappedQueue* free_mapping(Process& own) {
  give_back_retired(own);
  for (MappedQueue& mapping : own.mappings) {
    uint32_t free = MappedQueue::kFree;
    if (mapping.state.compare_exchange_strong(free, MappedQueue::kBusy)) return &mapping;
  }
  return nullptr;
}

// What the daemon is asked for the memory with: the descriptor itself if it is open for reading and writing, else the same
// file opened once more, for both. The kernel refuses that if the caller may not, or if there is no /proc.
class MappingDescriptor {
 public:
  MappingDescriptor(int fd, int flags, const FileIdentity& file) : fd_(fd) {
    if ((flags & O_ACCMODE) == O_RDWR) return;
    char path[48];
    snprintf(path, sizeof path, "/proc/thread-self/fd/%d", fd);
    opened_ = UniqueFd(static_cast<int>(syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC | O_NOCTTY)));
    const auto opened_file = opened_ ? identify(opened_.get()) : std::nullopt;
    // Another file: what is mounted at /proc is something else.
    const bool same = opened_file && opened_file->device == file.device && opened_file->inode == file.inode;
    fd_ = same ? opened_.get() : -1;
  }

  explicit operator bool() const { return fd_ >= 0; }
  int get() const { return fd_; }
  uint32_t map_flags() const { return opened_ ? uint32_t{control::kOnlyForMapping} : 0; }

 private:
  int fd_;
  UniqueFd opened_;
};

// Asks the daemon for the memory of the queue of `fd`, and maps it.
bool fetch(const MappingDescriptor& descriptor, MappedQueue& mapping) {
  const int fd = descriptor.get();
  Lease lease;
  auto connection = lease.connection();
  for (bool renewed = false;; renewed = true) {
    if (!connection) return false;
    control::MapHeader header{(*connection)->channel(), descriptor.map_flags(), 0};
    const auto asked = ask(fd, control::queue_ioctl(control::QueueIoctl::kMap, sizeof header), &header, "map");
    if (asked) break;
    if (renewed || asked.code() != ENOTCONN) return false;
    connection = lease.renewed();
  }
  auto reply = (*connection)->take_mapping();
  if (!reply) return false;
  const QueueAttributes attributes{reply->mapped.maxmsg, reply->mapped.msgsize};
  auto memory = SegmentMemory::attach(std::move(reply->memfd), attributes);
  if (!memory || madvise(memory->base(), memory->size(), MADV_DONTFORK) != 0) {
    control::TellHeader tell{control::kCouldNotMap, reply->mapped.incarnation};
    static_cast<void>(ask(fd, control::queue_ioctl(control::QueueIoctl::kTell, sizeof tell), &tell, "tell").ok());
    return false;
  }
  mapping.incarnation = reply->mapped.incarnation;
  mapping.base = memory->release();
  new (mapping.ready) SharedQueue(attributes, mapping.base);
  return true;
}

// Null: not to be mapped.
MappedQueue* mapping_for(Process& own, int fd, int flags) {
  const auto file = identify(fd);
  if (!file) return nullptr;
  if (MappedQueue* const known = find_mapping(own, file->device, file->inode)) return known;
  const MappingDescriptor descriptor(fd, flags, *file);
  MappedQueue* const fresh = descriptor ? free_mapping(own) : nullptr;
  if (fresh == nullptr) return nullptr;
  fresh->device = file->device;
  fresh->inode = file->inode;
  fresh->spin_rounds.store(kFirstSpinRounds);
  fresh->spin_retry.store(0);
  fresh->spin_countdown.store(0);
  if (!fetch(descriptor, *fresh)) {
    fresh->state.store(MappedQueue::kFree, std::memory_order_release);
    return nullptr;
  }
  fresh->descriptors.store(1);
  fresh->state.store(MappedQueue::kLive, std::memory_order_release);
  return fresh;
}

// 0: not to be mapped. `flags` as F_GETFL says.
uintptr_t access_of(int flags) {
  constexpr uintptr_t kBoth = kReceiveAccess | kSendAccess;
  constexpr uintptr_t kOf[] = {kReceiveAccess, kSendAccess, kBoth, 0};
  static_assert(O_RDONLY == 0 && O_WRONLY == 1 && O_RDWR == 2 && O_ACCMODE == 3);
  const uintptr_t access = flags < 0 || (flags & O_PATH) != 0 ? 0 : kOf[flags & O_ACCMODE];
  return access == kBoth || wanted_mapping() == WantedMapping::kAll ? access : 0;
}

}  // namespace

void closing_is_seen() { seen.store(true); }

bool mapping_is_wanted() {
  return seen.load(std::memory_order_relaxed) && wanted_mapping() != WantedMapping::kNone;
}

QueueUse::QueueUse(int fd) {
  if (!begin_again(fd)) [[unlikely]] begin_first(fd);
}

// The next level is this operation's. A handler that interrupts it uses the one after, and is through when it goes on.
bool QueueUse::enter(ThreadRecord& record) {
  const uint32_t level = record.depth;
  if (level >= kLevels) [[unlikely]] return false;
  record.depth = level + 1;
  std::atomic_signal_fence(std::memory_order_seq_cst);
  record_ = &record;
  level_ = level;
  return true;
}

// Before the entry of the descriptor is looked at (again). The barrier that belongs in between is the other side's: see
// give_back().
void QueueUse::publish(MappedQueue& mapping) {
  record_->using_now[level_].store(&mapping, std::memory_order_relaxed);
  std::atomic_signal_fence(std::memory_order_seq_cst);
}

void QueueUse::leave() {
  MappedQueue* const used = record_->using_now[level_].load(std::memory_order_relaxed);
  record_->using_now[level_].store(nullptr, std::memory_order_release);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  record_->depth = level_;
  record_ = nullptr;
  if (used == nullptr || used->state.load(std::memory_order_relaxed) != MappedQueue::kRetired) [[likely]] return;
  give_back_unused(*used);
}

bool QueueUse::begin_again(int fd) {
  ThreadRecord* const record = own_record;
  if (record == nullptr || !enter(*record)) [[unlikely]] return false;
  // In a forked child there is nothing.
  const ThreadRecord::Found& found = found_of(*record, fd);
  if (found.key == key_of(fd)) [[likely]] {
    publish(*found.mapping);
    const bool is_there = found.entry->load(std::memory_order_acquire) == found.link &&
                          found.mapping->generation.load(std::memory_order_relaxed) == found.generation;
    if (is_there) [[likely]] {
      mapping_ = found.mapping;
      link_ = found.link;
      member_ = found.member;
      return true;
    }
  }
  leave();
  return false;
}

MQUEUEFS_COLD void QueueUse::begin_first(int fd) {
  const Entry* const entry = entry_of(fd);
  if (entry == nullptr) return;
  const Link link = entry->load(std::memory_order_acquire);
  MappedQueue* const mapping = mapping_of(link);
  if (mapping == nullptr) return;
  ThreadRecord* const record = record_of_this_thread();
  if (record == nullptr || !enter(*record)) return;
  publish(*mapping);
  if (entry->load(std::memory_order_acquire) != link) return;
  if (mapping->state.load(std::memory_order_relaxed) != MappedQueue::kLive) return;
  // This thread's member of the queue.
  const uint32_t generation = mapping->generation.load(std::memory_order_relaxed);
  const uint32_t self = record->thread.load(std::memory_order_relaxed);
  auto joined = mapping->queue().join(mapping->incarnation, self);
  if (!joined) joined = mapping->queue().inherit(mapping->incarnation, self, is_gone);
  if (!joined) return;
  if (level_ == 0) note(found_of(*record, fd), {key_of(fd), generation, entry, mapping, link, *joined});
  member_ = *joined;
  link_ = link;
  mapping_ = mapping;
}

QueueUse::~QueueUse() {
  if (record_ != nullptr) leave();
}

bool is_known(int fd) {
  const Entry* const entry = entry_of(fd);
  return !mapping_is_wanted() || (entry != nullptr && entry->load(std::memory_order_relaxed) != 0);
}

bool map_queue(int fd) {
  if (fd < 0 || static_cast<uint32_t>(fd) / kPageEntries >= kPages) return false;
  Entry* entry = entry_of(fd);
  if (entry != nullptr && entry->load(std::memory_order_relaxed) != 0) return static_cast<bool>(QueueUse(fd));
  const int saved = errno;
  Process* const own = make_once(process);
  Page* const page = own != nullptr ? make_once(own->pages[static_cast<uint32_t>(fd) / kPageEntries]) : nullptr;
  bool mapped = false;
  if (page != nullptr) {
    entry = &page->entries[static_cast<uint32_t>(fd) % kPageEntries];
    Link nothing = 0;
    Link ours = link_to(own->in_progress, 0);
    if (entry->compare_exchange_strong(nothing, ours)) {
      const int flags = fcntl(fd, F_GETFL);
      const uintptr_t access = access_of(flags);
      MappedQueue* const mapping = access != 0 ? mapping_for(*own, fd, flags) : nullptr;
      mapped = mapping != nullptr;
      // Closed meanwhile?
      if (!entry->compare_exchange_strong(ours, mapped ? link_to(*mapping, access) : link_to(own->never, 0)) && mapped) {
        drop_descriptor(*own, *mapping);
        mapped = false;
      }
    }
  }
  errno = saved;
  return mapped;
}

void descriptor_closes(int fd) {
  Entry* const entry = entry_of(fd);
  if (entry == nullptr || entry->load(std::memory_order_relaxed) == 0) return;
  const int saved = errno;
  if (Process* const own = process.load(std::memory_order_acquire)) forget(*own, *entry);
  errno = saved;
}

void descriptors_close(unsigned first, unsigned last) {
  Process* const own = process.load(std::memory_order_acquire);
  if (own == nullptr) return;
  for (unsigned number = first / kPageEntries; number < kPages && number <= last / kPageEntries; ++number) {
    Page* const page = own->pages[number].load(std::memory_order_acquire);
    if (page == nullptr) continue;
    for (unsigned index = 0; index < kPageEntries; ++index) {
      const unsigned fd = number * kPageEntries + index;
      if (fd >= first && fd <= last) forget(*own, page->entries[index]);
    }
  }
}

}  // namespace mqueuefs::client
