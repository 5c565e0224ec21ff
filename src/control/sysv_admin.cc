// What administrators ask for: lists, removals, and ids that are to be others (doc/behaviour.md H3 to H5).
#include <algorithm>
#include <cstring>

#include "base/clock.h"
#include "control/connection.h"
#include "control/server.h"
#include "control/sysv_session.h"

namespace mqueuefs::control {
namespace {

// How long it is believed that an administrator may what he did.
constexpr int64_t kTarget_ns = 10'000'000;
constexpr size_t kMostEntries = 256;
static_assert(sizeof(ListPage) + kMostEntries * sizeof(SysvEntry) <= kMaxPacketBytes);
constexpr size_t kMostPairs = ipc::sysv::kIndexes;

ipc::sysv::Kind kind_of(SysvKind kind) {
  switch (kind) {
    case SysvKind::kMsg:
      return ipc::sysv::Kind::kMessages;
    case SysvKind::kSem:
      return ipc::sysv::Kind::kSemaphores;
    case SysvKind::kShm:
      return ipc::sysv::Kind::kMemory;
  }
  return ipc::sysv::Kind::kMessages;
}

/// The rights of who owns the namespace.
class OwnersRights final : public ipc::sysv::CallerRights {
 public:
  bool in_group(gid_t) override { return true; }
  bool owns_ipc() override { return true; }
  bool administers() override { return true; }
  bool may_lock() override { return true; }
  bool may_exceed_limits() override { return false; }
  uint64_t rlimit_memlock() override { return 0; }
};

SysvAccess access_for(const SysvAdmin& request) {
  switch (request.verb) {
    case SysvVerb::kPermute:
      return SysvAccess::kRestore;
    case SysvVerb::kNextId:
      return request.second != 0 ? SysvAccess::kRestore : SysvAccess::kLook;
    default:
      return SysvAccess::kLook;
  }
}

}  // namespace

Result<SysvSession::Target*> SysvSession::aim(const Caller& caller, int32_t tid, std::string_view name,
                                              SysvAccess access) {
  const int64_t now_ns = monotonic_now_ns();
  if (target_.tid == tid && target_.access == access && target_.name == name && now_ns - target_.looked_ns < kTarget_ns &&
      host_.namespace_at(target_.place) != nullptr && host_.is_at(target_.thread, target_.place)) {
    return &target_;
  }
  target_.tid = 0;
  const auto thread = connection_.host().find_thread(caller.process, caller.uid, tid);
  if (!thread) return thread.error();
  Caller whole = caller;
  whole.thread = *thread;
  const auto place = host_.sysv_target(whole, name, access);
  if (!place) return place.error();
  target_ = {tid, access, std::string(name), now_ns, *thread, *place};
  return &target_;
}

void SysvSession::administer(Caller caller, int32_t tid, Body body) {
  SysvAdmin request;
  const auto refuse = [this](int code) { connection_.reply(Type::kSysvAdmin, code); };
  if (body.size() < sizeof request) return refuse(EPROTO);
  memcpy(&request, body.data(), sizeof request);
  body = body.subspan(sizeof request);
  const std::string_view name(request.target.name, strnlen(request.target.name, sizeof request.target.name));
  if (name.size() == sizeof request.target.name || static_cast<uint32_t>(request.kind) >= kSysvKinds)
    return refuse(EPROTO);
  const auto target = aim(caller, tid, name, access_for(request));
  if (!target) return refuse(target.code());
  const SysvPlace place = (*target)->place;
  caller.thread = (*target)->thread;
  ipc::IpcNamespace* const where = host_.namespace_at(place);
  if (where == nullptr) return refuse(ENOENT);
  const ipc::sysv::Kind kind = kind_of(request.kind);
  ipc::sysv::ObjectTable& table = where->sysv().table(kind);
  switch (request.verb) {
    case SysvVerb::kList: {
      if (!body.empty()) break;
      if (request.kind == SysvKind::kShm) host_.look_for_executed(*where);
      return connection_.reply(Type::kSysvAdmin, 0, list(request, *where, caller.thread));
    }
    case SysvVerb::kRemove: {
      if (!body.empty()) break;
      if (request.first < 0 || request.first > INT32_MAX) return refuse(EINVAL);
      const auto rights = host_.sysv_rights(caller, place);
      OwnersRights owner;
      const bool owns = host_.sysv_target(caller, name, SysvAccess::kControl).ok();
      const ipc::sysv::Caller who{caller.process, caller.thread, caller.uid, caller.gid, owns ? &owner : rights.get()};
      if (request.kind == SysvKind::kShm) host_.look_for_executed(*where);
      return refuse(where->sysv().remove(who, kind, static_cast<int>(request.first), ipc::sysv::confirmed).code());
    }
    case SysvVerb::kPermute: {
      Status done;
      if (request.second != 0) {
        const auto staged = connection_.staged();
        if (!staged) return refuse(EPROTO);
        done = permute(request, *staged, table);
        connection_.drop_staged();
      } else {
        done = permute(request, body, table);
      }
      return refuse(done.code());
    }
    case SysvVerb::kNextId: {
      if (!body.empty()) break;
      if (request.second != 0) {
        if (request.first < -1 || request.first > INT32_MAX) return refuse(EINVAL);
        if (const Status set = table.set_next_id(static_cast<int>(request.first)); !set) return refuse(set.code());
      }
      const int64_t next = table.next_id();
      return connection_.reply(Type::kSysvAdmin, 0, bytes_of(next));
    }
  }
  connection_.host().note_misbehaviour(caller.process, caller.uid, "not a request about System V objects");
  refuse(EPROTO);
}

Status SysvSession::permute(const SysvAdmin& request, Body pairs, ipc::sysv::ObjectTable& table) {
  const size_t count = pairs.size() / sizeof(SysvPair);
  if (pairs.size() % sizeof(SysvPair) != 0 || request.first < 0 || count != static_cast<uint64_t>(request.first))
    return Error{EPROTO, "pairs"};
  if (count > kMostPairs) return Error{EINVAL, "more pairs than objects"};
  std::vector<ipc::sysv::IdChange> changes(count);
  for (size_t i = 0; i < count; ++i) {
    SysvPair pair;
    memcpy(&pair, pairs.data() + i * sizeof pair, sizeof pair);
    changes[i] = {pair.id, pair.new_id};
  }
  if (count == 1) return table.change_id(changes[0].from, changes[0].to);
  return table.permute(changes);
}

std::vector<std::byte> SysvSession::list(const SysvAdmin& request, ipc::IpcNamespace& where,
                                         ipc::TaskId reader) const {
  std::vector<std::byte> bytes(sizeof(ListPage));
  ListPage page{};
  const auto users = host_.users_seen_by(reader);
  const auto add = [&](const auto& status, uint32_t waiting, uint32_t also_waiting) {
    SysvEntry entry{};
    entry.id = status.permissions.id;
    entry.waiting[0] = waiting;
    entry.waiting[1] = also_waiting;
    entry.stat = show(status, *users);
    const auto raw = bytes_of(entry);
    bytes.insert(bytes.end(), raw.begin(), raw.end());
    ++page.entries;
    return status.permissions.index() + 1;
  };
  // From the index after the last one; 0 ends the list.
  auto index = static_cast<int>(std::clamp<int64_t>(request.first, 0, ipc::sysv::kIndexes));
  for (bool more = true; more;) {
    if (page.entries == kMostEntries) {
      page.next = static_cast<uint64_t>(index);
      break;
    }
    more = false;
    switch (request.kind) {
      case SysvKind::kMsg:
        if (const auto status = where.sysv().messages().next_from(index, reader)) {
          index = add(*status, status->waiting_senders, status->waiting_receivers);
          more = true;
        }
        break;
      case SysvKind::kSem:
        if (const auto status = where.sysv().semaphores().next_from(index, reader)) {
          index = add(*status, status->waiting, 0);
          more = true;
        }
        break;
      case SysvKind::kShm:
        if (const auto status = where.sysv().memory().next_from(index, reader)) {
          index = add(*status, 0, 0);
          more = true;
        }
        break;
    }
  }
  memcpy(bytes.data(), &page, sizeof page);
  return bytes;
}

}  // namespace mqueuefs::control
