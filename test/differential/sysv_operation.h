// The tables of the System V operations: keys, commands, and how an array of semaphore operations becomes a number.
#pragma once

#include <cstdint>
#include <string>

#include "differential/operation.h"

namespace mqueuefs::differential {

/// Keys of `name`: the last one is IPC_PRIVATE.
inline constexpr int kSysvKeys = 4;

/// Places beyond kObjects: an id of nothing, and -1.
enum SysvSpecial : int { kNoObject = kObjects, kMinusOneObject };

/// Commands of msgctl, semctl and shmctl; the first ones are common to all.
enum SysvCommand : int {
  kStat,
  kRemove,
  kSet,
  kStatIndex,
  kStatAny,
  kInfo,
  kUsage,  // MSG_INFO, SEM_INFO, SHM_INFO
  kMsgCommands,
  kGetval = kMsgCommands,
  kSetval,
  kGetall,
  kSetall,
  kGetpid,
  kGetncnt,
  kGetzcnt,
  kSemCommands,
  kLock = kMsgCommands,
  kUnlock,
  kShmCommands,
};

inline constexpr int kSembufBits = 21;
constexpr int64_t pack_sembuf(int number, int by, bool nowait, bool undo) {
  return number | (by & 0xffff) << 3 | (nowait ? 1 << 19 : 0) | (undo ? 1 << 20 : 0);
}
struct Sembuf {
  int number, by;
  bool nowait, undo;
};
constexpr Sembuf unpack_sembuf(int64_t packed, int place) {
  const auto bits = static_cast<int>(packed >> (kSembufBits * place) & ((1 << kSembufBits) - 1));
  return {bits & 7, static_cast<int16_t>(bits >> 3 & 0xffff), (bits >> 19 & 1) != 0, (bits >> 20 & 1) != 0};
}

/// What Shared::objects is indexed with.
enum Sort : int { kMsg, kSem, kShm };
constexpr Sort sort_of(Kind kind) {
  if (kind == Kind::kSemget || kind == Kind::kSemop || kind == Kind::kSemctl) return kSem;
  return kind == Kind::kMsgget || kind == Kind::kMsgsnd || kind == Kind::kMsgrcv || kind == Kind::kMsgctl ? kMsg : kShm;
}
constexpr bool makes_object(Kind kind) {
  return kind == Kind::kMsgget || kind == Kind::kSemget || kind == Kind::kShmget;
}
constexpr bool removes_object(const Operation& o) {
  return (o.kind == Kind::kMsgctl || o.kind == Kind::kSemctl || o.kind == Kind::kShmctl) && o.value[0] == kRemove;
}

/// IPC_SET of a message queue.
inline bool sets_queue(const Operation& operation) {
  return operation.kind == Kind::kMsgctl && operation.value[0] == kSet;
}

/// As C.
std::string sysv_call_text(const Operation& operation);

}  // namespace mqueuefs::differential
