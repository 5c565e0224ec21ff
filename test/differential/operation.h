// One step of a random program, and how it is written down.
//
// Model: up to kMaxProcesses processes with kMaxThreads threads each are the *actors*; actor = process *
// kMaxThreads + thread. A process has kSlots places for descriptors; numbers from kMinusOne on stand for
// things that are no queue. Names, attributes, timeouts and signals are numbers too, of the tables in
// operation.cc. So a program is a list of small numbers: it can be cut down, recorded and replayed.
//
// A program is either of POSIX message queues or of System V IPC (sysv_operation.h): those have kObjects places for
// ids of each kind, shared by all processes, and each process kAttachments places for addresses.
#pragma once

#include <mqueue.h>

#include <cstdint>
#include <string>
#include <vector>

namespace mqueuefs::differential {

inline constexpr int kMaxProcesses = 4;
inline constexpr int kMaxThreads = 2;
inline constexpr int kActors = kMaxProcesses * kMaxThreads;
inline constexpr int kSlots = 6;

/// Descriptors that are no queue: -1, one that is not open, /dev/null, the mounted directory, a pipe.
enum Special : int { kMinusOne = kSlots, kNotOpen, kDevNull, kDirectory, kPipe, kDescriptors };

inline constexpr int kObjects = 3;
inline constexpr int kAttachments = 3;

enum class Kind : int {
  kOpen,          // name flags mode attributes -> slot     mq_open
  kOpenFile,      // name flags mode            -> slot     open(2) under the mount
  kMqClose,       // slot
  kClose,         // slot                                   close(2)
  kDup,           // slot -> slot
  kDup2,          // slot -> slot                           onto what is open there
  kUnlink,        // name                                   mq_unlink
  kUnlinkFile,    // name                                   unlink(2)
  kSend,          // slot size priority pointer
  kTimedSend,     // slot size priority pointer, timeout
  kReceive,       // slot size want_priority
  kTimedReceive,  // slot size want_priority, timeout
  kGetattr,       // slot pointer
  kSetattr,       // slot flags, pointers
  kNotify,        // slot what
  kTakeSignals,   //                                        what notifications have sent
  kSetNonblock,   // slot on                                fcntl(F_SETFL)
  kSetCloexec,    // slot on                                fcntl(F_SETFD)
  kFstat,         // slot
  kChmod,         // name mode
  kList,          //                                        the directory
  kSetFsuid,      // user
  kNice,          // nice
  // System V IPC; sysv_operation.h has the tables.
  kMsgget,   // slot name flags                        -> slot
  kMsgsnd,   // slot type size pointer flags
  kMsgrcv,   // slot type size - flags
  kMsgctl,   // slot command number mode
  kSemget,   // slot name flags, how many              -> slot
  kSemop,    // slot, how many, operations, -, timeout
  kSemctl,   // slot, other: semnum; command value mode
  kShmget,   // slot name flags size                   -> slot
  kShmat,    // slot, other: attachment; flags
  kShmdt,    // other: attachment
  kShmctl,   // slot command number mode
  kSeteuid,  // user
  // Steps of the tester itself, on an actor that may be blocked.
  kSpawn,   // process: a fresh one
  kFork,    // process
  kThread,  //
  kExec,    //
  kExit,    //
  kKill,    //                                        SIGKILL
  kSignal,  // restart: SIGUSR2 with SA_RESTART, else SIGUSR1 without
  kKinds
};

struct Operation {
  Kind kind = Kind::kList;
  int actor = 0;
  int slot = 0;
  int other = 0;  ///< a second slot, a process
  int name = 0;
  int64_t value[4] = {};
};

using Program = std::vector<Operation>;

/// Of System V IPC, or only of use with it.
constexpr bool is_sysv(Kind kind) {
  return kind >= Kind::kMsgget && kind <= Kind::kSeteuid;
}
bool is_sysv(const Program& program);

/// May put the caller to sleep.
bool may_block(Kind kind);
/// Has a deadline that comes soon: a step of its own waits for it.
bool ends_soon(const Operation& operation);

// The tables.
struct NameEntry {
  std::string text;
  const char* shown;
};
const std::vector<NameEntry>& names();
inline constexpr int kGoodNames = 6;  ///< the first ones

struct AttributesEntry {
  const char* shown;
  bool bad_pointer, null;
  long maxmsg, msgsize;
};
const std::vector<AttributesEntry>& attributes();
enum Timeout : int { kNoTimeout, kPast, kSoon, kFar, kBadNanoseconds, kNegative, kBadTimeout, kTimeouts };
enum NotifyWhat : int {
  kNull,
  kNone,
  kSignal1,
  kSignal2,
  kSignalZero,
  kThreadFunction,
  kBadType,
  kBadSignal,
  kBadEvent,
  kNotifyWhats
};
enum Pointer : int { kGood, kNullPointer, kBadPointer };

/// One line: `kind actor slot other name value value value value`.
std::string to_line(const Operation& operation);
/// False: not such a line.
bool from_line(const std::string& line, Operation& operation);
/// As C, with comments for whose step it is.
std::string to_c(const Program& program);

}  // namespace mqueuefs::differential
