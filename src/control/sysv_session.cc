// The calls of programs. What administrators ask for is in sysv_admin.cc.
#include "control/sysv_session.h"

#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "base/clock.h"
#include "control/connection.h"
#include "control/server.h"
#include "ipc/sysv/info.h"

namespace mqueuefs::control {
namespace {

using ipc::sysv::confirmed;
using ipc::sysv::Lookup;
using ipc::sysv::Outcome;

// Where a thread is, is taken to be true for so long. A thread that changes its namespace by a system call of its own and
// calls at once is where it was.
constexpr int64_t kPlace_ns = 10'000'000;

std::span<const std::byte> bytes_of_vector(const std::vector<uint16_t>& values) {
  return std::as_bytes(std::span(values));
}

std::optional<Lookup> lookup_of(int command, int by_index, int unasked) {
  if (command == IPC_STAT) return Lookup::kId;
  if (command == by_index) return Lookup::kIndex;
  if (command == unasked) return Lookup::kIndexUnasked;
  return std::nullopt;
}

}  // namespace

// --- who, and where ---

Result<SysvSession::Known*> SysvSession::look(const Caller& caller, int32_t tid, uint32_t moves, std::string_view name) {
  const int64_t now_ns = monotonic_now_ns();
  if (name.empty()) {
    for (Known& known : known_) {
      if (known.tid == tid && known.moves == moves && known.place.kernel_key != 0 && now_ns - known.looked_ns < kPlace_ns)
        return &known;
    }
  }
  Host& host = connection_.host();
  const auto thread = host.find_thread(caller.process, caller.uid, tid);
  if (!thread) return thread.error();
  Caller whole = caller;
  whole.thread = *thread;
  const auto place = host_.find_sysv_place(whole, name);
  if (!place) return place.error();
  Known* known = std::find_if(known_.begin(), known_.end(), [&](const Known& old) { return old.tid == tid; });
  if (known == known_.end()) known = &known_[next_known_++ % known_.size()];
  *known = {tid, moves, now_ns, *thread, *place, host_.users_seen_by(*thread)};
  return known;
}

void SysvSession::call(Caller caller, int32_t tid, Body body) {
  SysvCall head;
  if (is_waiting() || body.size() < sizeof head) return answer(EPROTO);
  memcpy(&head, body.data(), sizeof head);
  body = body.subspan(sizeof head);
  pieces_ = {};
  std::string_view name;
  Selector target;
  if ((head.how & kSysvNamed) != 0) {
    if (body.size() < sizeof target) return answer(EPROTO);
    memcpy(&target, body.data(), sizeof target);
    body = body.subspan(sizeof target);
    name = {target.name, strnlen(target.name, sizeof target.name)};
    if (name.size() == sizeof target.name) return answer(EPROTO);
  }
  if (head.number == SysvNumber::kShmInherit) return answer(0, host_.inherit(caller.process) ? 1 : 0);
  if (head.number == SysvNumber::kSemUndo) {
    host_.undo(caller.process);
    return answer(0);
  }
  const auto known = look(caller, tid, head.moves, name);
  if (!known) return answer(known.code());
  ipc::IpcNamespace* const where = host_.namespace_at((*known)->place);
  if (where == nullptr) {
    (*known)->tid = 0;
    return answer(EIDRM);
  }
  caller.thread = (*known)->thread;
  if (rights_ == nullptr || rights_for_ != std::pair(caller.thread, where->id())) {
    rights_ = host_.sysv_rights(caller, (*known)->place);
    rights_for_ = {caller.thread, where->id()};
  }
  Call whole{head,
             body,
             {caller.process, caller.thread, caller.uid, caller.gid, rights_.get()},
             *where,
             where->sysv(),
             *(*known)->users};
  if ((head.how & kSysvStaged) != 0) {
    const auto staged = connection_.staged();
    if (!staged) return answer(EPROTO);
    whole.body = *staged;
  }
  dispatch(whole);
}

void SysvSession::dispatch(Call& call) {
  const SysvCall& head = call.head;
  const int flags = static_cast<int>(head.flags);
  switch (head.number) {
    case SysvNumber::kMsgGet:
      return answer_result(call.ipc.messages().get(call.caller, head.id, flags, confirmed));
    case SysvNumber::kMsgSend:
      return message_send(call);
    case SysvNumber::kMsgReceive:
      return message_receive(call);
    case SysvNumber::kMsgControl:
      return message_control(call);
    case SysvNumber::kSemGet:
      if (head.size > INT32_MAX) return answer(EINVAL);
      return answer_result(
          call.ipc.semaphores().get(call.caller, head.id, static_cast<int>(head.size), flags, confirmed));
    case SysvNumber::kSemOperate:
      return semaphores_operate(call);
    case SysvNumber::kSemControl:
      return semaphores_control(call);
    case SysvNumber::kShmGet:
      return answer_result(call.ipc.memory().get(call.caller, head.id, head.size, flags, confirmed));
    case SysvNumber::kShmAttach:
      return memory_attach(call);
    case SysvNumber::kShmDetach: {
      const auto place = static_cast<uint64_t>(head.type);
      host_.look_for_executed(call.where);
      Status detached = call.ipc.memory().detach(call.caller.process, place);
      // The thread may have attached it where it was before.
      if (!detached) detached = host_.detach(call.caller.process, place);
      return answer(detached.code());
    }
    case SysvNumber::kShmControl:
      return memory_control(call);
    case SysvNumber::kSemUndo:
    case SysvNumber::kShmInherit:
      break;
  }
  connection_.host().note_misbehaviour(call.caller.process, call.caller.euid, "not a System V call");
  answer(EPROTO);
}

// --- message queues ---

void SysvSession::message_send(Call& call) {
  const SysvCall& head = call.head;
  if ((head.how & kSysvProbe) != 0)
    return answer(head.size > call.where.limits().msgmax || head.id < 0 ? EINVAL : 0);
  int64_t type;
  if (call.body.size() < sizeof type || call.body.size() - sizeof type != head.size) return answer(EPROTO);
  memcpy(&type, call.body.data(), sizeof type);
  const bool may_wait = (head.flags & IPC_NOWAIT) == 0;
  Waiter* const waiter = may_wait && (head.how & kSysvMayWait) != 0 ? this : nullptr;
  const auto outcome = call.ipc.messages().send(call.caller, head.id, type, call.body.subspan(sizeof type),
                                                static_cast<int>(head.flags), waiter, confirmed);
  const bool over = outcome || !may_wait || outcome.code() != EAGAIN;
  if (over && (head.how & kSysvStaged) != 0) connection_.drop_staged();
  answer_outcome(call, outcome, may_wait, ERESTART);
}

void SysvSession::message_receive(Call& call) {
  const SysvCall& head = call.head;
  const bool may_wait = (head.flags & IPC_NOWAIT) == 0;
  Waiter* const waiter = may_wait && (head.how & kSysvMayWait) != 0 ? this : nullptr;
  const auto outcome =
      call.ipc.messages().receive(call.caller, head.id, head.size, head.type, static_cast<int>(head.flags), waiter,
                                  [this](const ipc::sysv::Received& received) { return deliver(Type::kSysvCall, received); });
  // What was done has been answered.
  if (!outcome || *outcome == Outcome::kWaiting) answer_outcome(call, outcome, may_wait, ERESTART);
}

bool SysvSession::deliver(Type packet, const ipc::sysv::Received& received) {
  struct {
    SysvReply reply;
    int64_t type;
  } head{};
  static_assert(sizeof head == sizeof(SysvReply) + sizeof(int64_t));
  head.reply.value = static_cast<int64_t>(received.size_bytes);
  head.type = received.message.type;
  const std::span<const std::byte> whole = received.message.payload;
  const auto payload = whole.first(received.size_bytes);
  if (sizeof head.type + payload.size() <= kSysvMaxBytes)
    return connection_.send_sysv(packet, 0, std::as_bytes(std::span(&head, 1)), payload);
  // As the caller has it in memory.
  head.reply.outcome = kSysvInPieces;
  std::vector<std::byte> pieces(sizeof head.type + payload.size());
  memcpy(pieces.data(), &head.type, sizeof head.type);
  memcpy(pieces.data() + sizeof head.type, payload.data(), payload.size());
  if (!connection_.send_sysv(packet, 0, bytes_of(head.reply), {})) return false;
  pieces_ = std::move(pieces);
  return true;
}

void SysvSession::leave_if_stopped() {
  if (is_waiting() && sleeper_->is_stopped()) end(if_stopped_);
}

bool SysvSession::offer(int code, const ipc::sysv::Received* received) {
  if (code == 0 && sleeper_->is_stopped()) {
    SysvReply stopped{};
    stopped.status = if_stopped_;
    connection_.send_sysv(Type::kSysvDone, 0, bytes_of(stopped), {});
    return false;
  }
  if (received != nullptr) return deliver(Type::kSysvDone, *received);
  SysvReply reply{};
  reply.status = code;
  return connection_.send_sysv(Type::kSysvDone, 0, bytes_of(reply), {});
}

void SysvSession::message_control(Call& call) {
  const SysvCall& head = call.head;
  ipc::sysv::MessageQueues& queues = call.ipc.messages();
  if (head.id < 0 || head.command < 0) return answer(EINVAL);
  if (const auto lookup = lookup_of(head.command, MSG_STAT, MSG_STAT_ANY)) {
    const auto status = queues.status(call.caller, head.id, *lookup);
    if (!status) return answer(status.code());
    const SysvStat shown = show(*status, call.users);
    return answer(0, *lookup == Lookup::kId ? 0 : status->permissions.id, bytes_of(shown));
  }
  switch (head.command) {
    case IPC_INFO:
    case MSG_INFO: {
      const ipc::sysv::Usage usage = queues.usage();
      const msginfo info = ipc::sysv::message_info(call.where.limits(), usage, head.command == MSG_INFO);
      return answer(0, usage.greatest_index, bytes_of(info));
    }
    case IPC_SET: {
      SysvSet set;
      const auto change = change_from(call, set);
      if (!change) return answer(change.code());
      return answer(queues.set(call.caller, head.id, *change, set.qbytes, confirmed).code());
    }
    case IPC_RMID:
      return answer(queues.remove(call.caller, head.id, confirmed).code());
    default:
      return answer(EINVAL);
  }
}

// --- semaphores ---

void SysvSession::semaphores_operate(Call& call) {
  const SysvCall& head = call.head;
  if ((head.how & kSysvProbe) != 0) return answer(head.size > call.where.limits().semopm ? E2BIG : 0);
  if (call.body.size() != head.size * sizeof(sembuf) || head.size > kSysvMaxBytes) return answer(EPROTO);
  // A copy: the packet is not aligned.
  constexpr size_t kFew = 16;
  sembuf few[kFew];
  std::vector<sembuf> many;
  std::span<sembuf> operations(few, std::min<size_t>(head.size, kFew));
  if (head.size > kFew) {
    many.resize(head.size);
    operations = many;
  }
  if (!call.body.empty()) memcpy(operations.data(), call.body.data(), call.body.size());
  const bool may_wait = std::ranges::any_of(operations, [](const sembuf& one) { return (one.sem_flg & IPC_NOWAIT) == 0; });
  const bool undone = std::ranges::any_of(operations, [](const sembuf& one) { return (one.sem_flg & SEM_UNDO) != 0; });
  // Before it happens: afterwards the process may be gone, and nobody be told of it.
  if (undone) {
    if (const Status held = host_.hold(call.caller.process, call.where); !held) return answer(held.code());
  }
  Waiter* const waiter = (head.how & kSysvMayWait) != 0 ? this : nullptr;
  answer_outcome(call, call.ipc.semaphores().operate(call.caller, head.id, operations, waiter, confirmed), may_wait,
                 EINTR);
}

void SysvSession::semaphores_control(Call& call) {
  const SysvCall& head = call.head;
  ipc::sysv::Semaphores& arrays = call.ipc.semaphores();
  const ipc::sysv::Caller& caller = call.caller;
  if (head.id < 0) return answer(EINVAL);
  const int number = static_cast<int>(head.type);
  if (const auto lookup = lookup_of(head.command, SEM_STAT, SEM_STAT_ANY)) {
    const auto status = arrays.status(caller, head.id, *lookup);
    if (!status) return answer(status.code());
    const SysvStat shown = show(*status, call.users);
    return answer(0, *lookup == Lookup::kId ? 0 : status->permissions.id, bytes_of(shown));
  }
  switch (head.command) {
    case IPC_INFO:
    case SEM_INFO: {
      const ipc::sysv::Usage usage = arrays.usage();
      const seminfo info = ipc::sysv::semaphore_info(call.where.limits(), usage, head.command == SEM_INFO);
      return answer(0, usage.greatest_index, bytes_of(info));
    }
    case GETVAL:
      return answer_result(arrays.value(caller, head.id, number));
    case GETPID:
      return answer_result(arrays.last_process(caller, head.id, number));
    case GETNCNT:
      connection_.leave_stopped();
      return answer_result(arrays.waiting_for_increase(caller, head.id, number));
    case GETZCNT:
      connection_.leave_stopped();
      return answer_result(arrays.waiting_for_zero(caller, head.id, number));
    case GETALL: {
      const auto values = arrays.values(caller, head.id);
      if (!values) return answer(values.code());
      if (values->size() * sizeof(uint16_t) > kSysvMaxBytes) return answer(ENOMEM);
      return answer(0, 0, bytes_of_vector(*values));
    }
    case SETVAL:
      return answer(arrays.set_value(caller, head.id, number, static_cast<int>(head.size), confirmed).code());
    case SETALL: {
      if ((head.how & kSysvProbe) != 0) {
        const auto count = arrays.size_for_setting(caller, head.id);
        return count ? answer(0, *count) : answer(count.code());
      }
      std::vector<uint16_t> values(call.body.size() / sizeof(uint16_t));
      if (!values.empty()) memcpy(values.data(), call.body.data(), values.size() * sizeof(uint16_t));
      return answer(arrays.set_values(caller, head.id, values, confirmed).code());
    }
    case IPC_SET: {
      SysvSet set;
      const auto change = change_from(call, set);
      if (!change) return answer(change.code());
      return answer(arrays.set(caller, head.id, *change, confirmed).code());
    }
    case IPC_RMID:
      return answer(arrays.remove(caller, head.id, confirmed).code());
    default:
      return answer(EINVAL);
  }
}

// --- shared memory ---

void SysvSession::memory_attach(Call& call) {
  // The names of attachments are never used again.
  static int64_t last_name = 0;
  const int64_t name = ++last_name;
  host_.look_for_executed(call.where);
  if (const Status held = host_.hold(call.caller.process, call.where); !held) return answer(held.code());
  int code = 0;
  const Status attached = call.ipc.memory().attach(
      call.caller, call.head.id, static_cast<int>(call.head.flags), static_cast<uint64_t>(name),
      [&](const ipc::sysv::Attachment& attachment) {
        auto file = host_.share_memory(attachment.file, attachment.read_only);
        if (!file) {
          code = file.code();
          return false;
        }
        SysvReply reply{};
        reply.value = name;
        reply.type = static_cast<int64_t>(attachment.size_bytes);
        return connection_.send_sysv(Type::kSysvCall, 0, bytes_of(reply), {}, std::move(*file));
      });
  if (!attached) answer(code != 0 ? code : attached.code());
}

void SysvSession::memory_control(Call& call) {
  const SysvCall& head = call.head;
  ipc::sysv::SharedMemory& memory = call.ipc.memory();
  const ipc::sysv::Caller& caller = call.caller;
  if (head.id < 0 || head.command < 0) return answer(EINVAL);
  // Attachments are counted in what follows.
  host_.look_for_executed(call.where);
  if (const auto lookup = lookup_of(head.command, SHM_STAT, SHM_STAT_ANY)) {
    const auto status = memory.status(caller, head.id, *lookup);
    if (!status) return answer(status.code());
    const SysvStat shown = show(*status, call.users);
    return answer(0, *lookup == Lookup::kId ? 0 : status->permissions.id, bytes_of(shown));
  }
  switch (head.command) {
    case IPC_INFO: {
      const shminfo info = ipc::sysv::memory_info(call.where.limits());
      return answer(0, memory.usage().greatest_index, bytes_of(info));
    }
    case SHM_INFO: {
      const ipc::sysv::Usage usage = memory.usage();
      const shm_info info = ipc::sysv::memory_use(usage);
      return answer(0, usage.greatest_index, bytes_of(info));
    }
    case IPC_SET: {
      SysvSet set;
      const auto change = change_from(call, set);
      if (!change) return answer(change.code());
      return answer(memory.set(caller, head.id, *change, confirmed).code());
    }
    case IPC_RMID:
      return answer(memory.remove(caller, head.id, confirmed).code());
    case SHM_LOCK:
      return answer(memory.lock(caller, head.id, confirmed).code());
    case SHM_UNLOCK:
      return answer(memory.unlock(caller, head.id, confirmed).code());
    default:
      return answer(EINVAL);
  }
}

// --- answers ---

void SysvSession::answer(int status, int64_t value, Body out, int64_t type, UniqueFd fd) {
  SysvReply reply{};
  reply.value = value;
  reply.type = type;
  connection_.send_sysv(Type::kSysvCall, status, bytes_of(reply), out, std::move(fd));
}

template <typename T>
void SysvSession::answer_result(const Result<T>& result) {
  result ? answer(0, *result) : answer(result.code());
}

void SysvSession::answer_outcome(const Call& call, const Result<Outcome>& outcome, bool would_wait, int if_stopped) {
  SysvReply reply{};
  if (outcome && *outcome == Outcome::kWaiting) {
    reply.outcome = kSysvWaiting;
    if_stopped_ = if_stopped;
    if (sleeper_ == nullptr || sleeping_thread_ != call.caller.thread) {
      sleeper_ = host_.sleeper(call.caller.process, call.caller.thread);
      sleeping_thread_ = call.caller.thread;
    }
  }
  if (outcome.code() == EAGAIN && would_wait) reply.outcome = kSysvWouldWait;
  connection_.send_sysv(Type::kSysvCall, outcome.code(), bytes_of(reply), {});
}

Result<ipc::sysv::PermissionChange> SysvSession::change_from(const Call& call, SysvSet& set) const {
  if (call.body.size() != sizeof set) return Error{EPROTO, "IPC_SET"};
  memcpy(&set, call.body.data(), sizeof set);
  // EINVAL for nobody comes from the model, in its place.
  return ipc::sysv::PermissionChange{call.users.user_meant(set.uid), call.users.group_meant(set.gid), set.mode};
}

SysvPermissions SysvSession::show(const ipc::sysv::Permissions& permissions, const UserView& users) {
  return {.key = permissions.key,
          .uid = users.user(permissions.uid),
          .gid = users.group(permissions.gid),
          .creator_uid = users.user(permissions.cuid),
          .creator_gid = users.group(permissions.cgid),
          .mode = permissions.mode,
          .sequence = permissions.sequence(),
          .reserved = 0};
}

SysvStat SysvSession::show(const ipc::sysv::MessageQueueStatus& status, const UserView& users) {
  return {show(status.permissions, users),
          {status.stime_s, status.rtime_s, status.ctime_s},
          {status.lspid, status.lrpid},
          {status.qnum, status.cbytes, status.qbytes}};
}

SysvStat SysvSession::show(const ipc::sysv::SemaphoreArrayStatus& status, const UserView& users) {
  return {show(status.permissions, users), {status.otime_s, status.ctime_s, 0}, {}, {status.nsems, 0, 0}};
}

SysvStat SysvSession::show(const ipc::sysv::SharedMemoryStatus& status, const UserView& users) {
  return {show(status.permissions, users),
          {status.atime_s, status.dtime_s, status.ctime_s},
          {status.cpid, status.lpid},
          {status.segsz, status.nattch, 0}};
}

}  // namespace mqueuefs::control
