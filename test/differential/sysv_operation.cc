#include "differential/sysv_operation.h"

#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>

#include <cstdio>
#include <utility>

namespace mqueuefs::differential {
namespace {

constexpr const char* kKeys[] = {"'a'", "'b'", "'c'", "IPC_PRIVATE"};
constexpr const char* kCommon[] = {"IPC_STAT", "IPC_RMID", "IPC_SET", "*_STAT", "*_STAT_ANY", "IPC_INFO", "*_INFO"};
constexpr const char* kOfSemaphores[] = {"GETVAL", "SETVAL", "GETALL", "SETALL", "GETPID", "GETNCNT", "GETZCNT"};
constexpr const char* kOfMemory[] = {"SHM_LOCK", "SHM_UNLOCK"};
constexpr const char* kTimeoutTexts[] = {"NULL", "{0, 0}", "3 ms", "far", "{1, 1e9}", "{-1, 0}", "(void *)8"};

std::string object(const char* kind, int slot) {
  if (slot < kObjects) return std::string(kind) + "[" + std::to_string(slot) + "]";
  return slot == kNoObject ? "777" : "-1";
}

std::string octal(int64_t flags) {
  char text[40];
  snprintf(text, sizeof text, "0%lo", static_cast<unsigned long>(flags));
  return text;
}

std::string command_text(const Operation& o) {
  const int64_t command = o.value[0];
  std::string text = command < kMsgCommands            ? kCommon[command]
                     : o.kind == Kind::kSemctl         ? kOfSemaphores[command - kMsgCommands]
                                                       : kOfMemory[command - kMsgCommands];
  return text + " number " + std::to_string(o.value[1]) + " mode " + octal(o.value[2]) + " uid " + std::to_string(o.value[3]);
}

}  // namespace

std::string sysv_call_text(const Operation& o) {
  const auto number = [&](int i) { return std::to_string(o.value[i]); };
  const std::string key = o.name >= 0 && o.name < kSysvKeys ? kKeys[o.name] : "?";
  switch (o.kind) {
    case Kind::kMsgget:
      return object("msg", o.slot) + " = msgget(" + key + ", " + octal(o.value[0]) + ");";
    case Kind::kSemget:
      return object("sem", o.slot) + " = semget(" + key + ", " + number(1) + ", " + octal(o.value[0]) + ");";
    case Kind::kShmget:
      return object("shm", o.slot) + " = shmget(" + key + ", " + number(1) + ", " + octal(o.value[0]) + ");";
    case Kind::kMsgsnd:
      return "msgsnd(" + object("msg", o.slot) + ", " +
             (o.value[2] == kGood ? "{" + number(0) + "}" : o.value[2] == kNullPointer ? "NULL" : "(void *)8") + ", " +
             number(1) + ", " + octal(o.value[3]) + ");";
    case Kind::kMsgrcv:
      return "msgrcv(" + object("msg", o.slot) + ", &message, " + number(1) + ", " + number(0) + ", " +
             octal(o.value[3]) + ");";
    case Kind::kMsgctl:
      return "msgctl(" + object("msg", o.slot) + ", " + command_text(o) + ");";
    case Kind::kSemctl:
      return "semctl(" + object("sem", o.slot) + ", " + std::to_string(o.other) + ", " + command_text(o) + ");";
    case Kind::kShmctl:
      return "shmctl(" + object("shm", o.slot) + ", " + command_text(o) + ");";
    case Kind::kSemop: {
      std::string text = "semtimedop(" + object("sem", o.slot) + ", {";
      for (int i = 0; i < o.value[0]; ++i) {
        const Sembuf one = unpack_sembuf(o.value[1], i);
        text += (i > 0 ? ", {" : "{") + std::to_string(one.number) + ", " + std::to_string(one.by) + ", " +
                (one.nowait ? "IPC_NOWAIT" : "0") + (one.undo ? "|SEM_UNDO}" : "}");
      }
      return text + "}, " + number(0) + ", " + kTimeoutTexts[o.value[3]] + ");";
    }
    case Kind::kShmat:
      return "at[" + std::to_string(o.other) + "] = shmat(" + object("shm", o.slot) + ", NULL, " + octal(o.value[0]) + ");";
    case Kind::kShmdt:
      return "shmdt(at[" + std::to_string(o.other) + "]);";
    case Kind::kSeteuid:
      return "seteuid(" + number(0) + ");";
    default:
      return "?";
  }
}

}  // namespace mqueuefs::differential
