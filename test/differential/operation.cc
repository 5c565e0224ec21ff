#include "differential/operation.h"

#include <fcntl.h>

#include <algorithm>
#include <iterator>
#include <sstream>

#include "differential/sysv_operation.h"

namespace mqueuefs::differential {
namespace {

constexpr const char* kKindNames[] = {
    "open",     "open_file", "mq_close", "close",        "dup",     "dup2",     "unlink", "unlink_file",
    "send",     "timedsend", "receive",  "timedreceive", "getattr", "setattr",  "notify", "take_signals",
    "nonblock", "cloexec",   "fstat",    "chmod",        "list",    "setfsuid", "nice",
    "msgget",   "msgsnd",    "msgrcv",   "msgctl",       "semget",  "semop",    "semctl", "shmget",
    "shmat",    "shmdt",     "shmctl",   "seteuid",      "spawn",   "fork",     "thread", "exec",
    "exit",     "kill",      "signal"};
static_assert(std::size(kKindNames) == static_cast<size_t>(Kind::kKinds));

constexpr const char* kTimeoutNames[] = {"NULL",     "past",    "in_3_ms",  "far",
                                         "{1, 1e9}", "{-1, 0}", "(void *)8"};
constexpr const char* kNotifyNames[] = {"NULL",
                                        "SIGEV_NONE",
                                        "SIGEV_SIGNAL SIGRTMIN+1",
                                        "SIGEV_SIGNAL SIGRTMIN+2",
                                        "SIGEV_SIGNAL 0",
                                        "SIGEV_THREAD",
                                        "type 3",
                                        "SIGEV_SIGNAL 65",
                                        "(void *)8"};

std::string flags_text(int64_t flags) {
  constexpr const char* kModes[] = {"O_RDONLY", "O_WRONLY", "O_RDWR", "3"};
  std::string text = kModes[flags & 3];
  const std::pair<int, const char*> bits[] = {{O_CREAT, "O_CREAT"},       {O_EXCL, "O_EXCL"},
                                              {O_NONBLOCK, "O_NONBLOCK"}, {O_CLOEXEC, "O_CLOEXEC"},
                                              {O_TRUNC, "O_TRUNC"},       {O_APPEND, "O_APPEND"}};
  for (const auto& [bit, name] : bits)
    if ((flags & bit) != 0) text += std::string("|") + name;
  return text;
}

std::string slot_text(int slot) {
  constexpr const char* kSpecial[] = {"-1", "777", "dev_null", "directory", "pipe"};
  return slot < kSlots ? "d[" + std::to_string(slot) + "]" : kSpecial[slot - kSlots];
}

std::string octal(int64_t mode) {
  std::ostringstream text;
  text << "0" << std::oct << mode;
  return text.str();
}

std::string call_text(const Operation& o) {
  const std::string slot = slot_text(o.slot),
                    name = o.name < 0 || o.name >= static_cast<int>(names().size())
                               ? "?"
                               : std::string(names()[static_cast<size_t>(o.name)].shown);
  const auto number = [&](int i) { return std::to_string(o.value[i]); };
  switch (o.kind) {
    case Kind::kOpen:
      return slot + " = mq_open(" + name + ", " + flags_text(o.value[0]) + ", " + octal(o.value[1]) + ", " +
             attributes()[static_cast<size_t>(o.value[2])].shown + ");";
    case Kind::kOpenFile:
      return slot + " = openat(mount, " + name + ", " + flags_text(o.value[0]) + ", " + octal(o.value[1]) +
             ");";
    case Kind::kMqClose:
      return "mq_close(" + slot + ");";
    case Kind::kClose:
      return "close(" + slot + ");";
    case Kind::kDup:
      return slot_text(o.other) + " = dup(" + slot + ");";
    case Kind::kDup2:
      return "dup2(" + slot + ", " + slot_text(o.other) + ");";
    case Kind::kUnlink:
      return "mq_unlink(" + name + ");";
    case Kind::kUnlinkFile:
      return "unlinkat(mount, " + name + ", 0);";
    case Kind::kSend:
    case Kind::kTimedSend:
      return std::string(o.kind == Kind::kSend ? "mq_send(" : "mq_timedsend(") + slot + ", " +
             (o.value[2] == kGood          ? "message"
              : o.value[2] == kNullPointer ? "NULL"
                                           : "(void *)8") +
             ", " + number(0) + ", " + number(1) +
             (o.kind == Kind::kSend ? "" : std::string(", ") + kTimeoutNames[o.value[3]]) + ");";
    case Kind::kReceive:
    case Kind::kTimedReceive:
      return std::string(o.kind == Kind::kReceive ? "mq_receive(" : "mq_timedreceive(") + slot +
             ", buffer, " + number(0) + ", " + (o.value[1] != 0 ? "&priority" : "NULL") +
             (o.kind == Kind::kReceive ? "" : std::string(", ") + kTimeoutNames[o.value[3]]) + ");";
    case Kind::kGetattr:
      return "mq_getattr(" + slot +
             (o.value[0] == kGood          ? ", &attr);"
              : o.value[0] == kNullPointer ? ", NULL);"
                                           : ", (void *)8);");
    case Kind::kSetattr:
      return "mq_setattr(" + slot + ", " +
             (o.value[1] == kGood          ? "&(struct mq_attr){" + number(0) + "}"
              : o.value[1] == kNullPointer ? "NULL"
                                           : "(void *)8") +
             (o.value[2] == kGood          ? ", &old);"
              : o.value[2] == kNullPointer ? ", NULL);"
                                           : ", (void *)8);");
    case Kind::kNotify:
      return "mq_notify(" + slot + ", " + kNotifyNames[o.value[0]] + ");";
    case Kind::kTakeSignals:
      return "while (sigtimedwait(&notifications, &info, &zero) > 0) show(info);";
    case Kind::kSetNonblock:
      return "fcntl(" + slot + ", F_SETFL, " + (o.value[0] != 0 ? "O_NONBLOCK" : "0") + ");";
    case Kind::kSetCloexec:
      return "fcntl(" + slot + ", F_SETFD, " + (o.value[0] != 0 ? "FD_CLOEXEC" : "0") + ");";
    case Kind::kFstat:
      return "fstat(" + slot + ", &st);";
    case Kind::kChmod:
      return "fchmodat(mount, " + name + ", " + octal(o.value[0]) + ", 0);";
    case Kind::kList:
      return "system(\"ls -U $mount\");";
    case Kind::kSetFsuid:
      return "setfsuid(" + number(0) + ");";
    case Kind::kNice:
      return "setpriority(PRIO_PROCESS, 0, " + number(0) + ");";
    case Kind::kMsgget:
    case Kind::kMsgsnd:
    case Kind::kMsgrcv:
    case Kind::kMsgctl:
    case Kind::kSemget:
    case Kind::kSemop:
    case Kind::kSemctl:
    case Kind::kShmget:
    case Kind::kShmat:
    case Kind::kShmdt:
    case Kind::kShmctl:
    case Kind::kSeteuid:
      return sysv_call_text(o);
    case Kind::kSpawn:
      return "/* the tester starts process " + std::to_string(o.other) + " */";
    case Kind::kFork:
      return "fork(); /* process " + std::to_string(o.other) + " */";
    case Kind::kThread:
      return "pthread_create();";
    case Kind::kExec:
      return "execve(self);";
    case Kind::kExit:
      return "_exit(0);";
    case Kind::kKill:
      return "/* the tester kills this process */";
    case Kind::kSignal:
      return std::string("/* the tester sends it a signal ") + (o.value[0] != 0 ? "with" : "without") +
             " SA_RESTART */";
    case Kind::kKinds:
      break;
  }
  return "?";
}

}  // namespace

bool is_sysv(const Program& program) {
  return std::ranges::any_of(program, [](const Operation& operation) { return is_sysv(operation.kind); });
}

bool may_block(Kind kind) {
  return kind == Kind::kMsgsnd || kind == Kind::kMsgrcv || kind == Kind::kSemop || kind == Kind::kSend || kind == Kind::kTimedSend || kind == Kind::kReceive ||
         kind == Kind::kTimedReceive;
}

bool ends_soon(const Operation& operation) {
  const bool timed = operation.kind == Kind::kTimedSend || operation.kind == Kind::kTimedReceive;
  // A timeout of no time may be slept, too.
  return (timed && operation.value[3] == kSoon) ||
         (operation.kind == Kind::kSemop && (operation.value[3] == kSoon || operation.value[3] == kPast));
}

const std::vector<NameEntry>& names() {
  static const std::vector<NameEntry> table = {
      {"/a", "\"/a\""},
      {"/b", "\"/b\""},
      {"/c", "\"/c\""},
      {"/.hidden", "\"/.hidden\""},
      {"/" + std::string(255, 'n'), "\"/\" + 255 n"},
      {"/\xff \n\"", "\"/\\xff \\n\\\"\""},
      {"", "\"\""},
      {"/", "\"/\""},
      {"a", "\"a\""},
      {"//a", "\"//a\""},
      {"/a/b", "\"/a/b\""},
      {"/.", "\"/.\""},
      {"/..", "\"/..\""},
      {"/" + std::string(256, 'n'), "\"/\" + 256 n"},
      {"/" + std::string(4200, 'n'), "\"/\" + 4200 n"},
  };
  return table;
}

const std::vector<AttributesEntry>& attributes() {
  static const std::vector<AttributesEntry> table = {
      {"NULL", false, true, 0, 0},          {"{1, 1}", false, false, 1, 1},
      {"{2, 16}", false, false, 2, 16},     {"{4, 64}", false, false, 4, 64},
      {"{3, 16}", false, false, 3, 16},     {"{10, 8192}", false, false, 10, 8192},
      {"{0, 16}", false, false, 0, 16},     {"{2, 0}", false, false, 2, 0},
      {"{-1, 5}", false, false, -1, 5},     {"{11, 16}", false, false, 11, 16},
      {"{3, 8193}", false, false, 3, 8193}, {"{1L<<40, 1}", false, false, 1L << 40, 1},
      {"(void *)8", true, false, 0, 0},
  };
  return table;
}

std::string to_line(const Operation& o) {
  std::ostringstream line;
  line << kKindNames[static_cast<int>(o.kind)] << ' ' << o.actor << ' ' << o.slot << ' ' << o.other << ' '
       << o.name;
  for (const int64_t value : o.value)
    line << ' ' << value;
  return line.str();
}

bool from_line(const std::string& line, Operation& o) {
  std::istringstream fields(line);
  std::string kind;
  fields >> kind >> o.actor >> o.slot >> o.other >> o.name;
  for (int64_t& value : o.value)
    fields >> value;
  if (!fields) return false;
  for (int i = 0; i < static_cast<int>(Kind::kKinds); ++i) {
    if (kind != kKindNames[i]) continue;
    o.kind = static_cast<Kind>(i);
    return true;
  }
  return false;
}

std::string to_c(const Program& program) {
  std::string text;
  for (const Operation& operation : program) {
    text += "/* process " + std::to_string(operation.actor / kMaxThreads) + " thread " +
            std::to_string(operation.actor % kMaxThreads) + " */  " + call_text(operation) + "\n";
  }
  return text;
}

}  // namespace mqueuefs::differential
