// The ioctls on a queue's descriptor: how send, receive, attributes and notification travel through FUSE.
//
// A FUSE ioctl carries its argument by value, its size is in the command, 16,383 bytes at most. So each
// command number below is combined with the size of the argument in use: queue_ioctl(number, size). The
// argument is a fixed header followed by payload bytes; the daemon may answer with fewer bytes than the size.
// The ioctl's return value is 0 or one of the outcomes below; an error is -1 and errno, as for mq_*.
//
// Short messages, the common case, need no header: the caller's own buffer is the argument, and the rest is in the
// command (send_direct_ioctl) or in the return value (kReceiveDirect). So the kernel copies from and to the
// caller's memory, looks at his pointer, and that one system call is all of it.
//
// Messages that do not fit go in pieces through a *channel*: the caller's control connection (kStage and kFetch
// of messages.h), which holds at most one message on its way at a time. A message in a channel is out of the
// queue (receive) or not yet in it (send), arrives as one, and goes back to its place, or away, when the
// connection closes. Pieces do not go through the queue's descriptor: that may be another queue's by the time of
// the second one.
//
// Blocking: the caller first tries, unless the last call on this queue had to wait. If the answer is EAGAIN and F_GETFL shows no O_NONBLOCK, it asks again
// with kMayWait and its channel. The daemon then tries once more and otherwise registers a waiter and answers
// kWaiting; the caller sleeps in recv(2) on its connection, where a WaitDone packet comes (or, after a signal,
// asks to Cancel there). Nobody sleeps inside a FUSE request, since FUSE would turn each signal into EINTR.
//
// Everything here is wire format: fixed-width, no pointers, validated by the daemon.
#pragma once

#include <sys/ioctl.h>

#include <cstdint>

namespace mqueuefs::control {

inline constexpr uint32_t kIoctlVersion = 1;

/// The greatest argument, header included, that a FUSE ioctl carries (_IOC_SIZEBITS is 14).
inline constexpr uint32_t kMaxIoctlBytes = 16383;

enum class QueueIoctl : uint8_t {
  kSend = 1,           // SendHeader + payload
  kSendMany = 2,       // ManyHeader + (ManyEntry + payload) each; the return value is how many were sent
  kReceive = 3,        // ReceiveHeader, answered with ReceiveHeader + payload
  kReceiveMany = 4,    // ManyHeader, answered with ManyHeader + (ManyEntry + payload) each; returns how many
  kGetAttributes = 5,  // AttributesReply out
  kNotify = 6,         // NotifyHeader in
  kPeek = 7,           // PeekHeader, answered with PeekHeader + PeekEntry and payload, repeated
  kTouch = 8,          // nothing, or AttributesReply out (as before): mq_setattr's effect on the file times (atime,
                       // ctime); the flag itself is fcntl's
  kMap = 9,            // MapHeader in: a Mapped packet comes to the channel. EBADF: not open for reading and writing
  kTell = 10,          // TellHeader in: the caller maps the queue and did what concerns others
  kTrace = 12,  // TraceHeader in: Traced packets come to the channel. EBADF: not open for reading
  kTellMessage = 13,  // TellMessageHeader in, and payload: of a traced queue that the caller maps
  kReceiveDirect = 11,  // _IOC_READ: the payload; msg_len is the size, 1 to 16383. Returns direct_outcome. Never waits
};

constexpr unsigned long queue_ioctl(QueueIoctl number, uint32_t argument_bytes) {
  return _IOC(_IOC_READ | _IOC_WRITE, 'q', static_cast<uint8_t>(number), argument_bytes);
}

/// A send of `size` bytes (1 to 16383) that are the argument, with a priority of at most kMaxDirectPriority, which is
/// the command's number. Never waits. The type is another than that of the numbered ones.
inline constexpr uint32_t kMaxDirectPriority = 255;
inline constexpr unsigned kSendDirectType = 0xFA;
constexpr unsigned long send_direct_ioctl(uint32_t priority, uint32_t size) {
  return _IOC(_IOC_WRITE, kSendDirectType, priority, size);
}
constexpr unsigned long receive_direct_ioctl(uint32_t size) {
  return _IOC(_IOC_READ, 'q', static_cast<uint8_t>(QueueIoctl::kReceiveDirect), size);
}

/// What kReceiveDirect returns: length and priority of the message.
constexpr int direct_outcome(uint32_t size, uint32_t priority) { return static_cast<int>(priority << 14 | size); }
constexpr uint32_t direct_size(int outcome) { return static_cast<uint32_t>(outcome) & 0x3FFF; }
constexpr uint32_t direct_priority(int outcome) { return static_cast<uint32_t>(outcome) >> 14; }

/// Return values of kSend and kReceive.
enum QueueIoctlOutcome : int {
  kDone = 0,
  kWaiting = 1,  ///< a waiter is registered in the channel: sleep on the connection
  kInPieces = 2, ///< receive: the message is in the channel: fetch it
};

enum SendFlags : uint32_t {
  kMayWait = 1u << 0,    ///< register a waiter in the channel instead of EAGAIN
  kFromStaging = 1u << 1,  ///< kSend: the message is the one staged in the channel, none follows the header
  kHasDeadline = 1u << 2,
  kWithNews = 1u << 4,  ///< kReceive, with kMayWait: WaitDone may bring the message (kMaxNewsBytes)
  kIntoChannel = 1u << 3,  ///< kReceive: leave the message in the channel, however short (an empty one comes inline)
};

/// A message at most so long may come with the WaitDone that tells of it.
inline constexpr uint32_t kMaxNewsBytes = 1024;

struct SendHeader {
  uint32_t priority;
  uint32_t flags;       ///< SendFlags
  uint64_t channel;     ///< needed with kMayWait or kFromStaging, else 0
  int64_t deadline_ns;  ///< CLOCK_REALTIME, with kHasDeadline
  uint32_t size;        ///< payload bytes that follow (or, kFromStaging, that were staged)
  uint32_t reserved;
};

struct ReceiveHeader {
  uint32_t flags;           ///< kMayWait, kHasDeadline, kIntoChannel, kWithNews
  uint32_t buffer_size;     ///< in: the caller's msg_len, clamped to 32 bits; out: payload bytes that follow
  uint64_t channel;         ///< needed with kMayWait, or when msgsize exceeds what one ioctl carries
  int64_t deadline_ns;      ///< CLOCK_REALTIME, with kHasDeadline
  uint32_t priority;        ///< out
  uint32_t total;           ///< out: the message's length; greater than buffer_size only with kInPieces
};

/// Several messages in one argument, as many as fit, none waited for. Of those to be sent the first so many go
/// as the queue has room; the error is the first one's. Received are as many as there are, `entries` at most.
struct ManyHeader {
  uint32_t entries;      ///< receive: how many are wanted; send and answer: how many follow
  uint32_t buffer_size;  ///< receive: the shortest of the caller's buffers
};

/// Followed by `size` payload bytes, padded to a multiple of 8.
struct ManyEntry {
  uint32_t priority;
  uint32_t size;
};

struct AttributesReply {
  uint32_t maxmsg;
  uint32_t msgsize;
  uint32_t curmsgs;
  uint32_t reserved;
};

struct NotifyHeader {
  int32_t register_it;  ///< 0: sevp was NULL, unregister
  int32_t type;         ///< sigev_notify
  int32_t signo;
  int32_t pid;          ///< reserved, 0: the daemon knows who calls
  uint64_t value;       ///< sigev_value
  uint64_t channel;     ///< SIGEV_THREAD: where the NotifyThread packet goes
};

enum MapFlags : uint32_t {
  /// The descriptor was opened for this request and is closed after it: the program does not know of it, and its close is
  /// none that mq_notify(3) speaks of.
  kOnlyForMapping = 1u << 0,
};

struct MapHeader {
  uint64_t channel;
  uint32_t flags;  ///< MapFlags
  uint32_t reserved;
};

enum TellFlags : uint32_t {
  kUsedNotification = 1u << 0,  ///< the caller's message was the first in the empty queue
  kWokeNobody = 1u << 2,        ///< a process that waited in mapped memory is perhaps gone
  kCouldNotMap = 1u << 1,       ///< nothing was done: the mapping that kMap gave is not used, and is to be forgotten
};

struct TellHeader {
  uint32_t flags;        ///< TellFlags
  uint32_t incarnation;  ///< of Mapped, with kCouldNotMap; else 0
};

struct TraceHeader {
  uint64_t channel;
  uint32_t payload_bytes;  ///< of each message at most, kMaxTracedBytes of messages.h at most
  uint32_t reserved;
};

struct TellMessageHeader {
  uint32_t received;  ///< 0: it was sent
  uint32_t priority;
  uint32_t size;  ///< of the message
  uint32_t payload_bytes;  ///< that follow: its beginning
};

struct PeekHeader {
  // The position is the daemon's, to be passed back unchanged; zeroed = before the first message.
  uint32_t started;
  uint32_t priority;
  uint64_t sequence;
  uint32_t slot_hint;
  uint32_t entries;  ///< out: how many PeekEntry follow; 0: that was all
  uint32_t offset;   ///< in: for a message longer than one ioctl: where to go on in the message at the position
  uint32_t reserved;
};

/// Followed by `size` payload bytes, padded to a multiple of 8. `size < total` only for the last entry of an
/// answer: the rest is fetched with the same position and a greater `offset`.
struct PeekEntry {
  uint32_t priority;
  uint32_t total;
  uint64_t sequence;
  uint32_t size;
  uint32_t reserved;
};

}  // namespace mqueuefs::control
