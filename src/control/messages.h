// The packets of the control socket (SOCK_SEQPACKET): what is neither a file operation nor an ioctl.
//
// One request at a time on a connection, one reply each, in order; the daemon sends unasked only WaitDone, SysvDone
// and NotifyThread. A packet is a Header, then the fixed structure of its type, then, for lists, records. Fixed
// width, no pointers; strings are NUL-padded arrays, a name may use all of its array but the last byte.
// Descriptors travel beside a packet as SCM_RIGHTS. A packet of unknown type or wrong size is answered
// EPROTO; nothing that a client can send ends anything but its own connection.
//
// Who asks is proved by each packet's SCM_CREDENTIALS and the peer's pidfd, not by what it says.
#pragma once

#include <cstdint>

namespace mqueuefs::control {

inline constexpr uint32_t kProtocolVersion = 1;
inline constexpr uint32_t kMaxPacketBytes = 65536;
inline constexpr uint32_t kNameBytes = 256;  ///< a name of up to 255 bytes and a NUL

enum class Type : uint32_t {
  kHello = 1,        // Hello -> HelloReply
  kOpenRoot,         // OpenRoot -> (empty), one descriptor: the root of the namespace's superblock, O_PATH
  kWithdraw,         // (empty) -> (empty): drops what this thread announced
  kMount,            // Mount -> (empty), one descriptor: a detached mount for move_mount(2)
  kAdoptMount,       // AdoptMount and one descriptor (/dev/fuse, of a mount by fusermount3) -> (empty)
  kRemount,          // Remount -> (empty): changes the superblock's read-only flag
  kNamespaceList,    // ListCursor -> ListPage, NamespaceEntry...
  kNamespaceCreate,  // NamespaceName -> (empty)
  kNamespaceRemove,  // NamespaceName -> (empty)
  kNamespaceBind,    // NamespaceBind -> (empty): a task's kernel IPC namespace acts as the named one from now on
  kLimitsGet,        // Selector -> LimitsReply
  kLimitsSet,        // LimitsSet -> LimitsReply
  kQueueList,        // QueueList -> ListPage, QueueEntry...
  kWaitDone,         // <- WaitDone, message: the waiter in this connection's channel was served, or ended
  kCancel,           // (empty) -> CancelReply
  kNotifyThread,     // <- NotifyThread: SIGEV_THREAD of mq_notify
  kStage,            // Stage + bytes -> (empty): a part of a message that is to be sent, into the channel
  kFetch,            // Fetch -> bytes: a part of the message that was handed to the channel
  kGiveBack,         // (empty) -> (empty): what the channel holds goes back to its place, or (staged) away
  kMapped,           // <- Mapped and one descriptor: the queue's memory, which an ioctl asked for
  kAdoptListener,    // AdoptListener and one descriptor (a seccomp listener) -> (empty)
  kSysvCall,         // SysvCall... -> SysvReply..., see sysv_messages.h
  kSysvDone,         // <- SysvReply...: a System V call that waited is over
  kSysvAdmin,        // SysvAdmin... -> ..., see sysv_messages.h
  kCollect,          // Collect -> (empty): this thread's next unlink of the queue is EBUSY if somebody holds it, or has used it since
  kTraced,           // <- Traced, payload: of a queue that an ioctl kTrace named
};

struct Header {
  Type type;       ///< a reply carries its request's
  int32_t status;  ///< replies: 0 or an errno; requests: 0
  int32_t tid;     ///< requests: the calling thread's gettid(), in its own pid namespace
  uint32_t size;   ///< bytes that follow
};

/// Which emulated namespace: a named one, or (empty name) that of the calling thread's kernel IPC namespace.
struct Selector {
  char name[kNameBytes];
};

struct Hello {
  uint32_t version;
  uint32_t reserved;
};

struct HelloReply {
  uint32_t version;
  int32_t daemon_pid;
  uint64_t channel;  ///< names this connection in the ioctls; a secret
};

enum AnnouncementParts : uint32_t {
  kAnnounceAttributes = 1,
  kAnnounceNeither = 2,  ///< access mode 3, which FUSE makes O_RDWR of when it creates
};

/// What the next CREATE by this thread with this name is to have. One is kept for each thread; any open or
/// create by the thread, kWithdraw, another announcement and the connection's end drop it.
struct Announcement {
  uint32_t present;  ///< AnnouncementParts; 0: there is none
  uint32_t reserved;
  int64_t maxmsg;
  int64_t msgsize;
  char name[kNameBytes];
};

struct OpenRoot {
  Selector target;
  Announcement announcement;
};

enum MountFlags : uint32_t { kMountReadOnly = 1, kMountNoSuid = 2, kMountNoExec = 4, kMountNoDev = 8, kMountNoAtime = 16, kMountStrictAtime = 32, kMountProcView = 64 };

struct Mount {
  Selector target;
  uint32_t flags;  ///< MountFlags
  uint32_t reserved;
  char source[4096];
};

struct AdoptMount {
  Selector target;
  uint32_t flags;  ///< MountFlags, of which kMountProcView counts
  uint32_t reserved;
};

/// A filter of seccomp(2) notifies this descriptor of mq_* calls: the daemon answers them until nobody carries the
/// filter any more, longer than this connection.
struct AdoptListener {
  uint64_t reserved;
};

struct Remount {
  Selector target;
  uint32_t read_only;
  uint32_t reserved;
};

struct ListCursor {
  uint64_t after;  ///< 0: from the start; else ListPage::next
};

struct ListPage {
  uint64_t next;  ///< 0: that was all
  uint32_t entries;
  uint32_t reserved;
};

struct NamespaceName {
  char name[kNameBytes];
};

struct NamespaceBind {
  char name[kNameBytes];
  int32_t pid;  ///< whose kernel IPC namespace; 0: the caller's
  uint32_t reserved;
};

struct NamespaceEntry {
  uint64_t id;
  char name[kNameBytes];  ///< empty: not a named one
  uint32_t owner_uid;
  uint32_t queues;
  uint64_t messages;
  uint64_t charged_bytes;
  uint64_t requests;      ///< that the kernel has made of the live superblocks
  uint32_t superblocks;   ///< that are live now
  uint32_t bindings;      ///< kernel IPC namespaces bound to it
  uint64_t kernel_inodes[8];  ///< of the first of them, as /proc/PID/ns/ipc shows them
};

struct LimitsReply {
  uint64_t queues_max;
  uint64_t msg_max;
  uint64_t msg_default;
  uint64_t msgsize_max;
  uint64_t msgsize_default;
  uint64_t queues;         ///< in use
  uint64_t charged_bytes;  ///< to the calling user in this namespace, see RLIMIT_MSGQUEUE in getrlimit(2)
  uint64_t msgmni;         ///< System V IPC: sysvipc(7), proc(5)
  uint64_t msgmax;
  uint64_t msgmnb;
  uint64_t semmsl;
  uint64_t semmns;
  uint64_t semopm;
  uint64_t semmni;
  uint64_t shmmni;
  uint64_t shmmax;
  uint64_t shmall;
  int64_t msg_next_id;  ///< -1: as it comes
  int64_t sem_next_id;
  int64_t shm_next_id;
  uint64_t objects[3];  ///< in use: message queues, semaphore arrays, segments
};

struct LimitsSet {
  Selector target;
  char key[32];  ///< one of the names above, but for what is in use
  uint64_t value;
};

struct QueueList {
  Selector target;
  ListCursor cursor;
  char only[kNameBytes];  ///< if not empty: this queue alone
  uint32_t parts;         ///< QueueParts: what costs more than a look
  uint32_t reserved;
};

enum QueueParts : uint32_t {
  kQueueActivity = 1,  ///< sent, received, oldest_s, blocked
  kQueueHolders = 2,   ///< held_by
};

struct BlockedEntry {
  int32_t pid;        ///< 0: not visible
  uint32_t receives;  ///< 0: it sends
  int64_t since_ns;   ///< CLOCK_REALTIME; 0: nobody
};

struct QueueEntry {
  char name[kNameBytes];
  uint64_t inode;
  uint32_t mode;  ///< 07777 bits
  uint32_t uid;
  uint32_t gid;
  uint32_t maxmsg;
  uint32_t msgsize;
  uint32_t messages;
  uint64_t bytes;
  int64_t atime_s;
  int64_t mtime_s;
  int64_t ctime_s;
  uint32_t open_handles;
  uint32_t waiting_senders;
  uint32_t waiting_receivers;
  int32_t first_waiter_pid;  ///< 0: nobody, or not visible
  int32_t notify_type;       ///< SIGEV_* of the registration; -1: nobody is registered
  int32_t notify_signo;
  int32_t notify_pid;
  uint32_t dead;  ///< the segment contradicted itself; operations say EUCLEAN
  uint64_t sent;      ///< messages since the queue was made
  uint64_t received;
  int64_t oldest_s;   ///< when the oldest message was sent, CLOCK_REALTIME; 0: there is none
  int64_t created_s;  ///< CLOCK_REALTIME
  int32_t creator_pid;  ///< 0: not visible
  uint32_t held_by;     ///< ipc::HeldBy
  BlockedEntry blocked[3];  ///< those who have waited longest
};

/// What its sender has seen of the queue that it takes for abandoned.
struct Collect {
  uint64_t inode;  ///< the queue must still be this one
  uint64_t sent;   ///< and nothing may have been sent to it or received from it since, as QueueEntry counts
  uint64_t received;
  char name[kNameBytes];
};

enum TracedOperations : uint32_t { kTracedSend = 1, kTracedReceive = 2, kTracedReturn = 3, kTracedEnd = 4, kTracedLost = 5 };

struct Traced {
  int64_t time_ns;     ///< CLOCK_REALTIME, when the daemon did it or learnt of it
  uint64_t lost;       ///< so many before this one did not fit
  uint32_t operation;  ///< TracedOperations; kTracedEnd: the queue is gone, nothing follows; kTracedLost: only tells `lost`
  int32_t pid;         ///< 0: not visible
  uint32_t mapped;     ///< 1: a process did it in mapped memory, and told
  uint32_t priority;
  uint32_t size;
  uint32_t payload_bytes;  ///< that follow: the beginning of the message
  char command[16];        ///< of the process, as in /proc/PID/comm; not terminated if it is that long
};
inline constexpr uint32_t kMaxTracedBytes = 16 * 1024;


struct WaitDone {
  int32_t status;  ///< 0: served; ETIMEDOUT; ERESTART: you were stopped, begin anew; or why it ended otherwise
  uint32_t total;  ///< receive: the message's length: fetch it with kFetch
  uint32_t priority;
  uint32_t enclosed;  ///< 1: the message follows, `total` bytes (kMaxNewsBytes of queue_ioctl.h). If the connection ends with this packet unread, it goes
                      ///< back to its place
};

/// Answers kCancel: what became of the waiter. A WaitDone that crossed with the Cancel says the same.
struct CancelReply {
  uint32_t served;  ///< 1: it was served before it could be cancelled; `done` tells
  uint32_t reserved;
  WaitDone done;
};

/// Payload bytes in one packet of a message that goes in pieces.
inline constexpr uint32_t kMaxPieceBytes = 60 * 1024;

/// Pieces follow on each other; offset 0 begins anew. Then kSend of queue_ioctl.h takes the whole.
struct Stage {
  uint32_t total;   ///< length of the whole message, bytes
  uint32_t offset;  ///< of the bytes that follow
};

/// The message stays the channel's, to go back to its place, until its last byte was answered.
struct Fetch {
  uint32_t offset;
  uint32_t size;  ///< how many bytes are wanted; kMaxPieceBytes at most are answered
};

/// Follows a successful ioctl kMap. The descriptor is a sealed memfd in the format of
/// mqueuefs-segment(5).
struct Mapped {
  uint32_t incarnation;  ///< this process in that segment
  uint32_t maxmsg;
  uint32_t msgsize;
  uint32_t reserved;
};

struct NotifyThread {
  uint64_t value;   ///< sigev_value
  uint32_t reason;  ///< 1 woken, 2 removed (NOTIFY_WOKENUP, NOTIFY_REMOVED of ipc/mqueue.c)
  uint32_t reserved;
};

}  // namespace mqueuefs::control
