#include "differential/generate.h"

#include <fcntl.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>

#include <algorithm>
#include <climits>
#include <iterator>
#include <span>

#include "differential/sysv_operation.h"

namespace mqueuefs::differential {
namespace {

constexpr uint32_t kOrdinaryUser = 61001;

struct Weight {
  Kind kind;
  int weight;
};
constexpr Weight kWeights[] = {
    {Kind::kOpen, 60},        {Kind::kOpenFile, 12},  {Kind::kMqClose, 18},  {Kind::kClose, 8},
    {Kind::kDup, 8},          {Kind::kDup2, 5},       {Kind::kUnlink, 18},   {Kind::kUnlinkFile, 3},
    {Kind::kSend, 150},       {Kind::kTimedSend, 40}, {Kind::kReceive, 140}, {Kind::kTimedReceive, 40},
    {Kind::kGetattr, 15},     {Kind::kSetattr, 15},   {Kind::kNotify, 40},   {Kind::kTakeSignals, 20},
    {Kind::kSetNonblock, 15}, {Kind::kSetCloexec, 4}, {Kind::kFstat, 6},     {Kind::kChmod, 4},
    {Kind::kList, 4},         {Kind::kSetFsuid, 3},   {Kind::kNice, 3},      {Kind::kSpawn, 5},
    {Kind::kFork, 5},         {Kind::kThread, 5},     {Kind::kExec, 1},      {Kind::kExit, 2},
    {Kind::kKill, 2},         {Kind::kSignal, 12}};

constexpr Weight kSysvWeights[] = {
    {Kind::kMsgget, 12}, {Kind::kMsgsnd, 110}, {Kind::kMsgrcv, 110}, {Kind::kMsgctl, 45}, {Kind::kSemget, 12},
    {Kind::kSemop, 170}, {Kind::kSemctl, 70},  {Kind::kShmget, 10},  {Kind::kShmat, 35},  {Kind::kShmdt, 20},
    {Kind::kShmctl, 25}, {Kind::kSeteuid, 6},  {Kind::kSpawn, 8},    {Kind::kFork, 8},    {Kind::kThread, 6},
    {Kind::kExec, 2},    {Kind::kExit, 4},     {Kind::kKill, 4},     {Kind::kSignal, 14}};

}  // namespace

Kind Generator::pick_kind() {
  const std::span<const Weight> weights = sysv_ ? std::span<const Weight>(kSysvWeights) : kWeights;
  int total = 0;
  for (const Weight& weight : weights)
    total += weight.weight;
  int at = below(total);
  for (const Weight& weight : weights) {
    at -= weight.weight;
    if (at < 0) return weight.kind;
  }
  return Kind::kList;
}

int Generator::pick_actor(const World& world, bool ready) {
  int candidates[kActors], count = 0;
  for (int actor = 0; actor < kActors; ++actor)
    if (ready ? world.is_ready(actor) : world.exists(actor)) candidates[count++] = actor;
  return count == 0 ? -1 : candidates[below(count)];
}

int Generator::pick_slot(const World& world, int actor) {
  if (chance(4)) return kSlots + below(kDescriptors - kSlots);
  int candidates[kSlots], count = 0;
  for (int slot = 0; slot < kSlots; ++slot)
    if (world.processes[actor / kMaxThreads].open[slot]) candidates[count++] = slot;
  return count == 0 || chance(1) ? below(kSlots) : candidates[below(count)];
}

int Generator::pick_free_slot(const World& world, int actor) {
  const int start = below(kSlots);
  for (int i = 0; i < kSlots && !chance(10); ++i) {
    const int slot = (start + i) % kSlots;
    if (!world.processes[actor / kMaxThreads].open[slot]) return slot;
  }
  return start;
}

int Generator::pick_name() {
  if (chance(80)) return below(2);
  if (chance(80)) return below(kGoodNames);
  return below(static_cast<int>(names().size()));
}

int64_t Generator::pick_size() {
  constexpr int64_t kSizes[] = {0, 1, 2, 5, 15, 16, 17, 64, 65, 1000, 8192, 8193};
  return chance(75) ? below(17) : kSizes[below(static_cast<int>(std::size(kSizes)))];
}

int Generator::pick_object(const World& world, Kind kind) {
  if (chance(2)) return kObjects + below(2);
  const auto& there = world.objects[sort_of(kind)];
  int candidates[kObjects], count = 0;
  for (int slot = 0; slot < kObjects; ++slot)
    if (there[slot] != makes_object(kind)) candidates[count++] = slot;
  return count == 0 || chance(4) ? below(kObjects) : candidates[below(count)];
}

void Generator::fill_sysv(Operation& o, const World& world) {
  // Where there is nothing to work on, something is made; few things, so that they meet there.
  if (!makes_object(o.kind) && o.kind != Kind::kSeteuid && chance(95)) {
    const Sort sort = sort_of(o.kind);
    if (std::none_of(std::begin(world.objects[sort]), std::end(world.objects[sort]), [](bool is) { return is; }))
      o.kind = sort == kMsg ? Kind::kMsgget : sort == kSem ? Kind::kSemget : Kind::kShmget;
  }
  constexpr int kPermissions[] = {0600, 0666, 0660, 0644, 0400, 0};
  const auto mode = [&] { return chance(70) ? 0666 : kPermissions[below(static_cast<int>(std::size(kPermissions)))]; };
  o.slot = pick_object(world, o.kind);
  o.name = chance(85) ? below(2) : below(kSysvKeys);
  int flags = chance(80) ? IPC_CREAT : 0;
  if (chance(10)) flags |= IPC_EXCL;
  switch (o.kind) {
    case Kind::kMsgget:
      o.value[0] = flags | mode();
      break;
    case Kind::kSemget:
      o.value[0] = flags | mode();
      o.value[1] = chance(90) ? 1 + below(3) : below(6) - 1;
      break;
    case Kind::kShmget:
      o.value[0] = flags | mode();
      o.value[1] = chance(90) ? 1 + below(8192) : below(3) * 100'000;
      break;
    case Kind::kMsgsnd:
      o.value[0] = chance(95) ? 1 + below(3) : below(3) - 1;
      o.value[1] = chance(90) ? below(24) : chance(70) ? 8000 + below(200) : -1;
      o.value[2] = chance(97) ? kGood : below(3);
      o.value[3] = chance(50) ? IPC_NOWAIT : 0;
      break;
    case Kind::kMsgrcv:
      o.value[0] = chance(50) ? 0 : below(8) - 4;
      o.value[1] = chance(85) ? 8192 : below(20) - 1;
      o.value[3] = (chance(45) ? IPC_NOWAIT : 0) | (chance(20) ? MSG_NOERROR : 0) | (chance(15) ? MSG_EXCEPT : 0) |
                   (chance(8) ? MSG_COPY : 0);
      break;
    case Kind::kMsgctl:
    case Kind::kShmctl:
    case Kind::kSemctl: {
      const int commands = o.kind == Kind::kMsgctl ? kMsgCommands : o.kind == Kind::kSemctl ? kSemCommands : kShmCommands;
      o.value[0] = below(commands);
      // Rarely the one that ends everything.
      if (o.value[0] == kRemove && chance(60)) o.value[0] = kStat;
      constexpr int kBytes[] = {10, 20, 50, 16384, 16385, 0};
      o.value[1] = o.kind == Kind::kMsgctl ? kBytes[below(chance(90) ? 4 : 6)] : chance(95) ? below(4) : -1 + below(2) * 32768;
      o.value[2] = mode();
      o.value[3] = chance(80) ? 0 : kOrdinaryUser;
      o.other = chance(95) ? below(3) : below(6) - 1;
      break;
    }
    case Kind::kSemop: {
      o.value[0] = chance(60) ? 1 : below(4);
      o.value[1] = 0;
      for (int i = 0; i < 3; ++i) {
        const int number = chance(96) ? below(2) : below(5);
        const int by = chance(92) ? below(5) - 2 : chance(50) ? 32767 : -32767;
        o.value[1] |= pack_sembuf(number, by, chance(40), chance(25)) << (kSembufBits * i);
      }
      o.value[3] = chance(60) ? kNoTimeout : chance(90) ? below(kBadNanoseconds) : below(kTimeouts);
      break;
    }
    case Kind::kShmat:
      o.value[0] = chance(30) ? SHM_RDONLY : 0;
      o.other = below(kAttachments);
      break;
    case Kind::kShmdt: {
      const auto& attached = world.processes[o.actor / kMaxThreads].attached;
      o.other = below(kAttachments);
      for (int i = 0; i < kAttachments && !attached[o.other] && !chance(10); ++i)
        o.other = (o.other + 1) % kAttachments;
      break;
    }
    case Kind::kSeteuid:
      o.value[0] = chance(60) ? 0 : kOrdinaryUser;
      break;
    default:
      break;
  }
}

Operation Generator::fill(Kind kind, const World& world) {
  Operation o;
  o.kind = kind;
  const bool needs_ready = kind != Kind::kSpawn && kind != Kind::kKill && kind != Kind::kSignal;
  o.actor = pick_actor(world, needs_ready);
  if (o.actor < 0) {
    // Everybody is blocked, or nobody is there.
    o.actor = pick_actor(world, false);
    o.kind = o.actor < 0 || chance(30) ? Kind::kSpawn : chance(80) ? Kind::kSignal : Kind::kKill;
    if (o.actor < 0) o.actor = 0;
  }
  o.slot = pick_slot(world, o.actor);
  o.other = below(kMaxProcesses);
  if (is_sysv(o.kind)) {
    fill_sysv(o, world);
    return o;
  }
  switch (o.kind) {
    case Kind::kOpen:
    case Kind::kOpenFile: {
      constexpr int kModes[] = {O_RDWR, O_RDWR, O_RDWR, O_RDWR, O_RDONLY, O_WRONLY, O_WRONLY | O_RDWR};
      constexpr int64_t kPermissions[] = {0600, 0666, 0644, 0, 07777, 0400};
      o.slot = pick_free_slot(world, o.actor);
      o.name = kind == Kind::kOpenFile ? below(kGoodNames) : pick_name();
      int flags = kModes[below(chance(10) ? 7 : 6)];
      if (chance(70)) flags |= O_CREAT;
      if (chance(10)) flags |= O_EXCL;
      if (chance(55)) flags |= O_NONBLOCK;
      if (chance(5)) flags |= O_CLOEXEC;
      if (chance(3)) flags |= O_TRUNC;
      if (chance(3)) flags |= O_APPEND;
      o.value[0] = flags;
      o.value[1] = chance(70) ? 0666 : kPermissions[below(static_cast<int>(std::size(kPermissions)))];
      // Small queues for the most part: they are full and empty more often.
      o.value[2] = chance(75) ? 1 + below(4) : below(static_cast<int>(attributes().size()));
      break;
    }
    case Kind::kDup:
      o.other = pick_free_slot(world, o.actor);
      break;
    case Kind::kDup2:
      o.other = below(kSlots);
      break;
    case Kind::kUnlink:
      o.name = pick_name();
      break;
    case Kind::kUnlinkFile:
    case Kind::kChmod:
      o.name = below(kGoodNames);
      o.value[0] = chance(50) ? 0600 : 0666;
      break;
    case Kind::kSend:
    case Kind::kTimedSend: {
      constexpr int64_t kPriorities[] = {0, 1, 31, 32766, 32767, 32768, UINT_MAX};
      o.value[0] = pick_size();
      o.value[1] = chance(70) ? below(4) : kPriorities[below(static_cast<int>(std::size(kPriorities)))];
      o.value[2] = chance(97) ? kGood : below(3);
      o.value[3] = chance(70) ? below(kBadNanoseconds) : below(kTimeouts);
      break;
    }
    case Kind::kReceive:
    case Kind::kTimedReceive:
      o.value[0] = chance(85) ? 8192 : pick_size();
      o.value[1] = chance(80);
      o.value[3] = chance(70) ? below(kBadNanoseconds) : below(kTimeouts);
      break;
    case Kind::kGetattr:
      o.value[0] = chance(85) ? kGood : below(3);
      break;
    case Kind::kSetattr: {
      constexpr int64_t kFlags[] = {O_RDWR, O_APPEND | O_NONBLOCK, -1, 1LL << 32};
      o.value[0] = chance(85) ? (chance(50) ? O_NONBLOCK : 0) : kFlags[below(4)];
      o.value[1] = chance(92) ? kGood : below(3);
      o.value[2] = chance(85) ? kGood : below(3);
      break;
    }
    case Kind::kNotify:
      // A thread of a notification runs with no signal blocked: one that is pending for the process would
      // kill it.
      o.value[0] = chance(90) ? below(kSignalZero + 1) : kBadType + below(kNotifyWhats - kBadType);
      if (threads_ && (o.value[0] == kSignal1 || o.value[0] == kSignal2)) o.value[0] = kThreadFunction;
      break;
    case Kind::kSetNonblock:
    case Kind::kSetCloexec:
    case Kind::kSignal:
      o.value[0] = chance(50);
      break;
    case Kind::kSetFsuid:
      o.value[0] = chance(60) ? 0 : kOrdinaryUser;
      break;
    case Kind::kNice:
      o.value[0] = 5 * (below(3) - 1);
      break;
    default:
      break;
  }
  return o;
}

Operation Generator::next(const World& world) {
  for (int tries = 0; tries < 1000; ++tries) {
    const Operation operation = fill(pick_kind(), world);
    const std::string kind = to_line(operation);
    if (without_.count(kind.substr(0, kind.find(' '))) != 0) continue;
    if (operation.kind == Kind::kSignal && operation.value[0] != 0 && without_.count("restart") != 0)
      continue;
    const bool opens = operation.kind == Kind::kOpen || operation.kind == Kind::kOpenFile;
    if (opens && (operation.value[0] & O_ACCMODE) == O_ACCMODE && without_.count("mode3") != 0) continue;
    // open(2) that creates with access mode 3: the file system hears O_RDWR. See mqueuefs(5).
    if (operation.kind == Kind::kOpenFile && (operation.value[0] & O_ACCMODE) == O_ACCMODE &&
        (operation.value[0] & O_CREAT) != 0)
      continue;
    const bool sends = operation.kind == Kind::kSend || operation.kind == Kind::kTimedSend;
    if (sends && operation.value[2] != kGood && without_.count("bad_data") != 0) continue;
    if (world.allows(operation)) return operation;
  }
  return {};
}

}  // namespace mqueuefs::differential
