// Which descriptors of this process are queues that it has mapped, and who is using them just now.
//
// A descriptor number leads to a mapping, and to what its descriptor may do there, by one read of a table, and a thread
// remembers where. One mapping serves every descriptor of its queue in this process, also one that is open for reading
// or for writing only: the direction is this library's to enforce then. Nothing but the
// interposed close(2) and its kin tell that a number has become another file's (mqueuefs(5) names what they miss). A
// mapping is given back when the last descriptor of its queue in this process is closed and no thread is at work in
// it: a thread says in `using_now` which mapping it is about to use and then looks at the table again; who gives one
// back takes it out of the table, has all threads pass a barrier (membarrier(2)), and then looks at what they use.
//
// All of this is in memory that is empty in a forked child (MADV_WIPEONFORK), and segments are not mapped there at all
// (MADV_DONTFORK): a child is another process, and maps what it uses anew.
#pragma once

#include <atomic>
#include <cstdint>

#include "base/hot.h"
#include "base/result.h"
#include "segment/shared_queue.h"

namespace mqueuefs::client {

/// One queue's mapping. Elements of a fixed table, used again.
struct alignas(256) MappedQueue {
  enum State : uint32_t { kFree = 0, kBusy, kLive, kRetired };
  std::atomic<uint32_t> state;
  std::atomic<uint32_t> descriptors;  ///< numbers in the table that lead here
  std::atomic<uint32_t> generation;   ///< grows with each use of this element
  uint32_t incarnation;
  std::byte* base;
  uint64_t device;
  uint64_t inode;
  // How long looking has been worth while lately, see mapped_transfer.cc.
  std::atomic<uint32_t> spin_rounds;     ///< 0: it has not
  std::atomic<uint32_t> spin_retry;      ///< then: after so many waits it is tried again
  std::atomic<uint32_t> spin_countdown;  ///< how many of them are left

  // Made when it is mapped: where everything is would take as long to work out as a send.
  alignas(SharedQueue) std::byte ready[sizeof(SharedQueue)];

  const SharedQueue& queue() const { return *std::launder(reinterpret_cast<const SharedQueue*>(ready)); }
};

/// What a descriptor may do in a mapping. In the lowest bits of a Link.
enum Access : uintptr_t { kReceiveAccess = 1, kSendAccess = 2 };

/// An entry of the table: the address of a mapping, and Access in its lowest bits. 0: nothing is known of the descriptor.
using Link = uintptr_t;
inline constexpr Link kAccessBits = kReceiveAccess | kSendAccess;

/// What a thread of this process needs for working on mapped queues.
struct ThreadRecord {
  std::atomic<uint32_t> thread;  ///< gettid(2); 0: free
  uint32_t depth;                ///< operations on top of each other: one, and signal handlers
  std::atomic<MappedQueue*> using_now[kLevels];

  /// Where the thread has found a descriptor's queue before. Read and written by who has raised `depth`; written at depth
  /// 1 only, so that no handler changes what it interrupts.
  struct Found {
    uint32_t key;  ///< key_of() the descriptor; 0: nothing
    uint32_t generation;
    const std::atomic<Link>* entry;
    MappedQueue* mapping;
    Link link;
    uint32_t member;
  };
  static constexpr unsigned kFound = 16;
  Found found[kFound];
};

/// Where MappedQueue::spin_rounds begins.
inline constexpr uint32_t kFirstSpinRounds = 128;

/// While one lives, the thread works on the queue of a descriptor, at its own seat.
///
/// Thread rule: the thread's own. Async-signal-safe. Costs no system call, but for a thread's first operation on a queue.
class QueueUse {
 public:
  /// Finds the mapping of `fd`, if there is one and a seat is free.
  MQUEUEFS_HOT explicit QueueUse(int fd);
  QueueUse(const QueueUse&) = delete;
  QueueUse& operator=(const QueueUse&) = delete;
  MQUEUEFS_HOT ~QueueUse();

  explicit operator bool() const { return mapping_ != nullptr; }
  Seat seat() const { return {member_, level_}; }
  uint32_t thread() const { return record_->thread.load(std::memory_order_relaxed); }
  MappedQueue& mapping() const { return *mapping_; }
  bool may_send() const { return (link_ & kSendAccess) != 0; }
  bool may_receive() const { return (link_ & kReceiveAccess) != 0; }

 private:
  MQUEUEFS_HOT bool begin_again(int fd);
  void begin_first(int fd);
  MQUEUEFS_HOT bool enter(ThreadRecord& record);
  MQUEUEFS_HOT void publish(MappedQueue& mapping);
  MQUEUEFS_HOT void leave();

  // The numbers are not side by side: the processor would wait for both to be in memory before it reads them as one.
  ThreadRecord* record_ = nullptr;
  uint32_t level_ = 0;
  MappedQueue* mapping_ = nullptr;
  Link link_ = 0;
  uint32_t member_ = 0;
};

/// Whether it was tried to map the queue of `fd`, with whatever outcome.
bool is_known(int fd);

/// Maps the queue of `fd`, if it has not been tried before and the daemon agrees: then a QueueUse will find it.
/// A descriptor that is open for one direction only is mapped if the caller may open the queue for both: the kernel decides
/// that when /proc/thread-self/fd/N is opened for reading and writing.
/// True: it is mapped now. May take some system calls, and requests to the daemon. Does not change errno.
bool map_queue(int fd);

/// Whoever knows that descriptors are about to be closed or replaced says so before. Async-signal-safe.
void descriptor_closes(int fd);
/// first to last, both included.
void descriptors_close(unsigned first, unsigned last);

/// $MQUEUEFS_MAP: "0" sends everything through the daemon, "odd" what processes with an even number do.
///
/// Nobody maps by itself as long as descriptors are closed unseen: the preload library's interposed functions see it.
bool mapping_is_wanted();
void closing_is_seen();

}  // namespace mqueuefs::client
