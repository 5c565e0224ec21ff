// The packets of System V IPC: msgget(2) to shmctl(2) by a program, and what an administrator may do.
//
// kSysvCall: SysvCall, then what the call carries in; answered with SysvReply, then what it carries out. Bytes that
// follow are in the form that the caller has them in memory (struct msgbuf, struct sembuf, unsigned short), so that
// they travel between his memory and the socket without being looked at: the kernel answers EFAULT for a bad pointer.
// A message that was received and can't be delivered is lost, as the kernel's is.
//
// It acts in the namespace of the calling thread. Where a thread is, is looked up when it has not been for a moment
// or if `moves` has changed; the packet after one of these may bring no descriptor (EPROTO): it is
// received without a look.
//
// Blocking: a call is tried first (kSysvWouldWait), and then asked again with kSysvMayWait, which leaves a waiter in
// this connection's place and is answered kSysvWaiting. A SysvDone packet comes when it is over; kCancel ends it.
// Timeouts are the client's.
//
// Everything here is wire format: fixed width, no pointers, checked by the daemon.
#pragma once

#include <cstdint>

#include "control/messages.h"

namespace mqueuefs::control {

enum class SysvKind : uint32_t { kMsg = 0, kSem = 1, kShm = 2 };
inline constexpr uint32_t kSysvKinds = 3;

// What of SysvCall counts beside `how`; what follows it -> what is in the reply; what follows that.
enum class SysvNumber : uint32_t {
  kMsgGet = 1,  // id: the key, flags -> value: the id
  kMsgSend,     // id, flags, size; the message's type (int64_t) and text -> value 0
  kMsgReceive,  // id, flags, type, size -> value: the text's length; type and text
  kMsgControl,  // id (or index), command; IPC_SET: SysvSet -> value; *_STAT: SysvStat, *_INFO: struct
                // msginfo, seminfo, shminfo or shm_info
  kSemGet,      // id: the key, flags, size: how many -> value
  kSemOperate,  // id, size: how many; struct sembuf each -> value 0
  kSemControl,  // id, command, type: semnum; SETVAL: size: the value; SETALL: unsigned short each; IPC_SET: SysvSet
                // -> value; GETALL: unsigned short each; *_STAT, *_INFO
  kShmGet,      // id: the key, flags, size -> value
  kShmAttach,   // id, flags -> value: names the attachment; type: the segment's size; one descriptor, to be mapped
  kShmDetach,   // type: which attachment; flags: 1: it could not be mapped
  kShmControl,  // id, command; IPC_SET: SysvSet -> value; *_STAT, *_INFO
  kSemUndo,     // (the caller has left its undo values: unshare(2)) -> (empty)
  kShmInherit,  // (the caller has just been forked) -> value: its parent's attachments are its own, too
};

enum SysvHow : uint32_t {
  kSysvMayWait = 1u << 0,
  kSysvStaged = 1u << 1,  ///< the bytes that would follow are staged in the channel (kStage)
  kSysvProbe = 1u << 2,   ///< kMsgSend, kSemOperate: only whether `size` is too much; SETALL: only how many are wanted (value)
  kSysvNamed = 1u << 3,   ///< a Selector comes before what follows: not in the thread's own namespace
};

struct SysvCall {
  SysvNumber number;
  uint32_t how;  ///< SysvHow
  int32_t id;
  int32_t command;  ///< as <sys/ipc.h> and its kin have them
  uint32_t flags;   ///< the same
  uint32_t moves;   ///< another number than before: a thread of the caller's may have changed its namespace
  int64_t type;
  uint64_t size;
};

enum SysvOutcome : uint32_t {
  kSysvDone = 0,
  kSysvWouldWait = 1,
  kSysvWaiting = 2,
  kSysvInPieces = 3,  ///< kMsgReceive: what should follow is fetched with kFetch; it is gone if the connection is
};

/// Answers kSysvCall, and is what kSysvDone brings: there `status` counts, in the answer the header's.
struct SysvReply {
  int64_t value;
  int64_t type;
  uint32_t outcome;  ///< SysvOutcome
  int32_t status;    ///< of kSysvDone; ERESTART: you were stopped, and so not in the line: begin anew
};

/// So much may follow a SysvCall or a SysvReply.
inline constexpr uint32_t kSysvMaxBytes = kMaxPacketBytes - 1024;

struct SysvPermissions {
  int32_t key;
  uint32_t uid;  ///< as the caller's user namespace numbers them
  uint32_t gid;
  uint32_t creator_uid;
  uint32_t creator_gid;
  uint32_t mode;  ///< SHM_DEST and SHM_LOCKED among it
  uint32_t sequence;
  uint32_t reserved;
};

/// Times in seconds; processes as the caller's pid namespace numbers them.
struct SysvStat {
  SysvPermissions permissions;
  int64_t times[3];      ///< msg: send, receive, change; sem: operation, change; shm: attach, detach, change
  int32_t processes[2];  ///< msg: last send, last receive; shm: creator, last
  uint64_t counts[3];    ///< msg: messages, bytes, qbytes; sem: semaphores; shm: size, attachments
};

struct SysvSet {
  uint32_t uid;
  uint32_t gid;
  uint32_t mode;
  uint32_t reserved;
  uint64_t qbytes;  ///< msg
};

// --- for administrators: kSysvAdmin ---

enum class SysvVerb : uint32_t {
  kList = 1,  // kind, first: the least index -> ListPage, SysvEntry...; members, owner, administrator
  kRemove,    // kind, first: the id -> (empty); as IPC_RMID by the caller, or the namespace's owner
  kPermute,   // kind, first: how many; SysvPair each (or staged, second: 1) -> (empty); the owner
  kNextId,    // kind, second: 1: to be set to first -> int64_t: what it is; setting: the owner
};

struct SysvAdmin {
  Selector target;
  SysvVerb verb;
  SysvKind kind;
  int64_t first;
  int64_t second;
};

struct SysvPair {
  int32_t id;
  int32_t new_id;
};

struct SysvEntry {
  int32_t id;
  uint32_t waiting[2];  ///< msg: senders, receivers; sem: for a change, for zero
  uint32_t reserved;
  SysvStat stat;
};

}  // namespace mqueuefs::control
