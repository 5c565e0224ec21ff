#include "client/attachments.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <utility>

#include "base/unique_fd.h"
#include "client/descriptors.h"
#include "client/sysv_call.h"

namespace mqueuefs::client {
namespace {

struct Entry {
  std::atomic<uintptr_t> address;  // 0: free; kTaken: somebody is at work on it
  size_t size_bytes;
  int64_t name;
};
constexpr uintptr_t kTaken = 1;
constexpr size_t kEntries = 170;  // a page of them

struct Chunk {
  Entry entries[kEntries];
  std::atomic<Chunk*> next;
};
static_assert(sizeof(Chunk) <= 4096);

constinit Chunk first_chunk{};
constinit std::atomic<int> attached{0};

template <typename Visit>
bool any_entry(Visit visit) {
  for (Chunk* chunk = &first_chunk; chunk != nullptr; chunk = chunk->next.load(std::memory_order_acquire)) {
    for (Entry& entry : chunk->entries) {
      if (visit(entry)) return true;
    }
  }
  return false;
}

bool grow() {
  void* const memory = mmap(nullptr, sizeof(Chunk), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return false;
  Chunk* last = &first_chunk;
  for (;;) {
    Chunk* next = nullptr;
    if (last->next.compare_exchange_strong(next, static_cast<Chunk*>(memory))) return true;
    last = next;
  }
}

// Takes the entry if it is still `address`'s.
std::optional<Attachment> take(Entry& entry, uintptr_t address) {
  if (!entry.address.compare_exchange_strong(address, kTaken, std::memory_order_acquire)) return std::nullopt;
  const Attachment attachment{address, entry.size_bytes, entry.name};
  entry.address.store(0, std::memory_order_release);
  attached.fetch_sub(1);
  return attachment;
}

// --- fork ---

constexpr int kPatienceMs = 1000;

// By which a child tells its parent that the daemon knows of it. If two threads fork at once one may wait for the
// other's child, or not at all.
constinit std::atomic<int> told{-1};
constinit std::atomic<int> telling{-1};

void before_fork() {
  if (!has_attachments()) return;
  const int saved = errno;
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) == 0) {
    told.store(move_high(UniqueFd(ends[0])).release());
    telling.store(move_high(UniqueFd(ends[1])).release());
  }
  errno = saved;
}

void after_fork_in_parent() {
  const int saved = errno;
  UniqueFd ours(told.exchange(-1));
  UniqueFd theirs(telling.exchange(-1));
  theirs.reset();
  // The end: it could not be made, or is gone.
  pollfd news{ours.get(), POLLIN, 0};
  while (ours && poll(&news, 1, kPatienceMs) < 0 && errno == EINTR) {
  }
  errno = saved;
}

void after_fork_in_child() {
  const int saved = errno;
  const UniqueFd theirs(told.exchange(-1));
  const UniqueFd ours(telling.exchange(-1));
  if (has_attachments()) {
    control::SysvCall inherit{};
    inherit.number = control::SysvNumber::kShmInherit;
    static_cast<void>(sysv_tell(inherit).ok());
  }
  if (ours && write(ours.get(), "", 1) < 0) {
    // It will see the end.
  }
  errno = saved;
}

}  // namespace

bool add_attachment(const Attachment& attachment) {
  static constinit std::atomic<bool> registered{false};
  if (!registered.exchange(true)) pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
  const auto put = [&](Entry& entry) {
    uintptr_t free = 0;
    if (!entry.address.compare_exchange_strong(free, kTaken, std::memory_order_acquire)) return false;
    entry.size_bytes = attachment.size_bytes;
    entry.name = attachment.name;
    attached.fetch_add(1);
    entry.address.store(attachment.address, std::memory_order_release);
    return true;
  };
  while (!any_entry(put)) {
    if (!grow()) return false;
  }
  return true;
}

std::optional<Attachment> take_attachment(uintptr_t address) {
  std::optional<Attachment> taken;
  if (address <= kTaken) return taken;  // an entry's own words, and nobody's address
  any_entry([&](Entry& entry) {
    if (entry.address.load(std::memory_order_relaxed) != address) return false;
    taken = take(entry, address);
    return taken.has_value();
  });
  return taken;
}

std::optional<Attachment> take_attachment_within(uintptr_t address, size_t size_bytes) {
  std::optional<Attachment> taken;
  any_entry([&](Entry& entry) {
    const uintptr_t begin = entry.address.load(std::memory_order_acquire);
    if (begin <= kTaken || begin < address || begin - address > size_bytes ||
        size_bytes - (begin - address) < entry.size_bytes) {
      return false;
    }
    taken = take(entry, begin);
    return taken.has_value();
  });
  return taken;
}

bool has_attachments() { return attached.load(std::memory_order_relaxed) > 0; }

}  // namespace mqueuefs::client
