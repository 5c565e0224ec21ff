// The requests of a connection: from bytes to a call on the host, and back.

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>

#include "control/connection.h"
#include "control/server.h"
#include "control/sysv_session.h"

namespace mqueuefs::control {
namespace {

constexpr size_t kMostRecords = 128;  // of a page; with its head within kMaxPacketBytes
static_assert(sizeof(ListPage) + kMostRecords * sizeof(QueueEntry) <= kMaxPacketBytes);
static_assert(sizeof(ListPage) + kMostRecords * sizeof(NamespaceEntry) <= kMaxPacketBytes);

/// A copy of the structure, or nothing if the size is not its own. (A copy: the buffer is not aligned.)
template <typename T>
std::optional<T> parse(std::span<const std::byte> body) {
  if (body.size() != sizeof(T)) return std::nullopt;
  T value;
  memcpy(&value, body.data(), sizeof value);
  return value;
}

/// The string in a NUL-padded array, or nothing if it has no end.
template <size_t N>
std::optional<std::string_view> text_of(const char (&array)[N]) {
  const size_t length = strnlen(array, N);
  if (length == N) return std::nullopt;
  return std::string_view(array, length);
}

template <typename Record>
std::vector<std::byte> page_of(uint64_t next, const std::vector<Record>& records) {
  ListPage page{};
  page.next = next;
  page.entries = static_cast<uint32_t>(records.size());
  std::vector<std::byte> bytes(sizeof page + records.size() * sizeof(Record));
  memcpy(bytes.data(), &page, sizeof page);
  if (!records.empty()) memcpy(bytes.data() + sizeof page, records.data(), records.size() * sizeof(Record));
  return bytes;
}

}  // namespace

Result<Caller> Connection::prove(const ReceivedPacket& packet) {
  // The sender is who connected: the connection may have been passed on, to a set-uid child for example.
  if (!packet.has_credentials || packet.credentials.pid != peer_.pid || packet.credentials.uid != peer_.uid) {
    return Error{EPERM, "credentials"};
  }
  const auto thread = server_.host_.find_thread(peer_.pid, peer_.uid, packet.header.tid);
  if (!thread) return thread.error();
  return Caller{peer_.pid, *thread, peer_.uid, peer_.gid};
}

void Connection::handle(const ReceivedPacket& packet, std::span<const std::byte> body) {
  const Type type = packet.header.type;
  may_adopt_ = type != Type::kSysvCall && type != Type::kSysvAdmin;
  if (type == Type::kSysvCall || type == Type::kSysvAdmin) return call_sysv(packet, body);
  const auto caller = prove(packet);
  if (!caller) return reply(type, caller.code());
  // A Cancel may have been sent before the news was read; any other request comes after.
  if (type != Type::kCancel) settle();
  Host& host = server_.host_;
  switch (type) {
    case Type::kHello:
      return hello(body);
    case Type::kOpenRoot:
      return open_root(*caller, body);
    case Type::kWithdraw:
      if (!body.empty()) break;
      server_.announcements_.drop(caller->thread);
      return reply(type, 0);
    case Type::kMount:
      return mount(*caller, body);
    case Type::kRemount:
      return remount(*caller, body);
    case Type::kNamespaceList:
      return list_namespaces(*caller, body);
    case Type::kNamespaceCreate:
    case Type::kNamespaceRemove:
      if (const auto request = parse<NamespaceName>(body)) {
        const auto name = text_of(request->name);
        if (!name) break;
        return reply(type, (type == Type::kNamespaceCreate ? host.create_namespace(*caller, *name)
                                                           : host.remove_namespace(*caller, *name))
                               .code());
      }
      break;
    case Type::kNamespaceBind:
      if (const auto request = parse<NamespaceBind>(body)) {
        const auto name = text_of(request->name);
        if (!name) break;
        return reply(type, host.bind_namespace(*caller, *name, request->pid).code());
      }
      break;
    case Type::kLimitsGet:
      if (const auto request = parse<Selector>(body)) {
        const auto name = text_of(request->name);
        if (!name) break;
        return reply_value(type, host.limits(*caller, *name));
      }
      break;
    case Type::kLimitsSet:
      return set_limit(*caller, body);
    case Type::kQueueList:
      return list_queues(*caller, body);
    case Type::kCancel:
      if (!body.empty()) break;
      return answer_cancel();
    case Type::kStage:
      return stage_piece(body);
    case Type::kFetch:
      return fetch_piece(body);
    case Type::kGiveBack:
      if (!body.empty()) break;
      if (deadline_ != nullptr) deadline_->cancel();
      abandon();
      return reply(type, 0);
    case Type::kCollect: {
      const auto request = parse<Collect>(body);
      const auto name = request ? text_of(request->name) : std::nullopt;
      if (!name) return reply(type, EPROTO);
      server_.announcements_.put_collection(caller->thread, id_, *name, *request);
      return reply(type, 0);
    }
    case Type::kSysvAdmin:
    case Type::kSysvCall:
    case Type::kSysvDone:
    case Type::kTraced:
    case Type::kAdoptMount:  // are dealt with before they are received
    case Type::kAdoptListener:
    case Type::kWaitDone:
    case Type::kNotifyThread:
    case Type::kMapped:
      break;
  }
  host.note_misbehaviour(peer_.pid, peer_.uid, "not a request");
  reply(type, EPROTO);
}

// By the packet alone: see sysv_session.h.
void Connection::call_sysv(const ReceivedPacket& packet, std::span<const std::byte> body) {
  if (!packet.has_credentials || packet.credentials.pid != peer_.pid || packet.credentials.uid != peer_.uid ||
      packet.credentials.gid != peer_.gid) {
    return reply(packet.header.type, EPERM);
  }
  settle();
  const Caller caller{peer_.pid, 0, peer_.uid, peer_.gid};
  if (packet.header.type == Type::kSysvAdmin) return sysv().administer(caller, packet.header.tid, body);
  sysv().call(caller, packet.header.tid, body);
}

template <typename T>
void Connection::reply_value(Type type, const Result<T>& result) {
  if (!result) return reply(type, result.code());
  reply(type, 0, bytes_of(*result));
}

DescriptorReply Connection::descriptor_reply(Type type, std::function<void()> on_success) {
  return [weak = weak_from_this(), type, on_success = std::move(on_success)](Result<UniqueFd> fd) {
    const auto self = weak.lock();
    if (self == nullptr || self->closed_) return;
    if (!fd) return self->reply(type, fd.code());
    if (on_success) on_success();
    self->reply(type, 0, {}, std::move(*fd));
  };
}

void Connection::hello(std::span<const std::byte> body) {
  const auto request = parse<Hello>(body);
  if (!request || request->version != kProtocolVersion) return reply(Type::kHello, EPROTO);
  const HelloReply answer{kProtocolVersion, getpid(), id_};
  reply(Type::kHello, 0, bytes_of(answer));
}

void Connection::open_root(const Caller& caller, std::span<const std::byte> body) {
  const auto request = parse<OpenRoot>(body);
  const auto target = request ? text_of(request->target.name) : std::nullopt;
  const auto queue = request ? text_of(request->announcement.name) : std::nullopt;
  if (!target || !queue) return reply(Type::kOpenRoot, EPROTO);
  server_.announcements_.drop(caller.thread);
  std::function<void()> announce;
  if (request->announcement.present != 0) {
    ipc::AnnouncedCreation creation;
    if ((request->announcement.present & kAnnounceAttributes) != 0) {
      creation.attributes = {request->announcement.maxmsg, request->announcement.msgsize};
    }
    creation.for_neither = (request->announcement.present & kAnnounceNeither) != 0;
    announce = [this, thread = caller.thread, name = std::string(*queue), creation] {
      server_.announcements_.put(thread, id_, name, creation);
    };
  }
  server_.host_.open_root(caller, *target, descriptor_reply(Type::kOpenRoot, std::move(announce)));
}

void Connection::mount(const Caller& caller, std::span<const std::byte> body) {
  const auto request = parse<Mount>(body);
  const auto target = request ? text_of(request->target.name) : std::nullopt;
  const auto source = request ? text_of(request->source) : std::nullopt;
  if (!target || !source) return reply(Type::kMount, EPROTO);
  server_.host_.mount(caller, *target, {request->flags, std::string(*source)},
                      descriptor_reply(Type::kMount, nullptr));
}

bool Connection::is_adoption_next() const {
  Header header{};
  return recv(socket_.get(), &header, sizeof header, MSG_PEEK | MSG_DONTWAIT) == sizeof header &&
         (header.type == Type::kAdoptMount || header.type == Type::kAdoptListener);
}

// Its descriptor must not get here before somebody who may be kept waiting has looked at it: so the packet
// stays in the socket and a helper process receives it. See Descriptors.
void Connection::adopt(std::span<std::byte> buffer) {
  const auto packet = receive_packet(socket_.get(), buffer, MSG_DONTWAIT | MSG_PEEK, Descriptors::kRefuse);
  Type type{};
  const auto refuse = [&](int code) {
    if (const auto dropped = receive_packet(socket_.get(), buffer, MSG_DONTWAIT, Descriptors::kRefuse);
        !dropped) {
      // As bad as it was when looked at.
    }
    reply(type, code);
  };
  if (!packet) return refuse(packet.code());
  type = packet->header.type;
  const auto caller = prove(*packet);
  if (!caller) return refuse(caller.code());
  const auto body = buffer.first(packet->body_size);
  const auto at_once = std::make_shared<bool>(true);
  const auto answer = [weak = weak_from_this(), at_once, type, &refuse](Status status) {
    if (*at_once) return refuse(status.code());
    if (const auto self = weak.lock()) self->reply(type, status.code());
  };
  if (type == Type::kAdoptListener) {
    if (!parse<AdoptListener>(body)) return refuse(EPROTO);
    server_.host_.adopt_listener(*caller, socket_.get(), answer);
  } else {
    const auto request = parse<AdoptMount>(body);
    const auto name = request ? text_of(request->target.name) : std::nullopt;
    if (!name) return refuse(EPROTO);
    server_.host_.adopt_mount(*caller, *name, request->flags, socket_.get(), answer);
  }
  *at_once = false;
}

void Connection::remount(const Caller& caller, std::span<const std::byte> body) {
  const auto request = parse<Remount>(body);
  const auto target = request ? text_of(request->target.name) : std::nullopt;
  if (!target) return reply(Type::kRemount, EPROTO);
  server_.host_.remount(caller, *target, request->read_only != 0, [weak = weak_from_this()](Status status) {
    if (const auto self = weak.lock()) self->reply(Type::kRemount, status.code());
  });
}

void Connection::list_namespaces(const Caller& caller, std::span<const std::byte> body) {
  const auto request = parse<ListCursor>(body);
  if (!request) return reply(Type::kNamespaceList, EPROTO);
  const auto entries = server_.host_.list_namespaces(caller, request->after, kMostRecords);
  const uint64_t next = entries.size() < kMostRecords ? 0 : entries.back().id;
  reply(Type::kNamespaceList, 0, page_of(next, entries));
}

void Connection::list_queues(const Caller& caller, std::span<const std::byte> body) {
  const auto request = parse<QueueList>(body);
  const auto target = request ? text_of(request->target.name) : std::nullopt;
  const auto only = request ? text_of(request->only) : std::nullopt;
  if (!target || !only) return reply(Type::kQueueList, EPROTO);
  const auto entries = server_.host_.list_queues(caller, *target, request->cursor.after, *only, request->parts, kMostRecords);
  if (!entries) return reply(Type::kQueueList, entries.code());
  const uint64_t next = entries->size() < kMostRecords ? 0 : entries->back().inode;
  reply(Type::kQueueList, 0, page_of(next, *entries));
}

void Connection::set_limit(const Caller& caller, std::span<const std::byte> body) {
  const auto request = parse<LimitsSet>(body);
  const auto target = request ? text_of(request->target.name) : std::nullopt;
  const auto key = request ? text_of(request->key) : std::nullopt;
  if (!target || !key) return reply(Type::kLimitsSet, EPROTO);
  reply_value(Type::kLimitsSet, server_.host_.set_limit(caller, *target, *key, request->value));
}

void Connection::stage_piece(std::span<const std::byte> body) {
  const auto request = body.size() >= sizeof(Stage) ? parse<Stage>(body.first(sizeof(Stage))) : std::nullopt;
  if (!request) return reply(Type::kStage, EPROTO);
  reply(Type::kStage, stage(request->total, request->offset, body.subspan(sizeof(Stage))).code());
}

void Connection::fetch_piece(std::span<const std::byte> body) {
  const auto request = parse<Fetch>(body);
  if (!request) return reply(Type::kFetch, EPROTO);
  if (sysv_ != nullptr && sysv_->pieces() != nullptr) return fetch_sysv_piece(*request);
  const ipc::Message* message = assigned_or_null();
  if (message == nullptr || request->offset > message->payload.size()) return reply(Type::kFetch, EINVAL);
  const std::span<const std::byte> rest = std::span(message->payload).subspan(request->offset);
  const auto piece = rest.first(std::min<size_t>({rest.size(), request->size, kMaxPieceBytes}));
  const bool last = piece.size() == rest.size();
  reply(Type::kFetch, 0, piece);
  if (last && !lost_) finish_fetch();
}

void Connection::fetch_sysv_piece(const Fetch& request) {
  const std::span<const std::byte> whole = *sysv_->pieces();
  if (request.offset > whole.size()) return reply(Type::kFetch, EINVAL);
  const auto rest = whole.subspan(request.offset);
  const auto piece = rest.first(std::min<size_t>({rest.size(), request.size, kMaxPieceBytes}));
  const bool last = piece.size() == rest.size();
  reply(Type::kFetch, 0, piece);
  if (last) sysv_->finish_pieces();
}

void Connection::answer_cancel() {
  CancelReply answer{};
  if (sysv_ != nullptr && sysv_->cancel()) return reply(Type::kCancel, 0, bytes_of(answer));
  const bool cancelled = cancel();
  if (cancelled && deadline_ != nullptr) deadline_->cancel();
  if (!cancelled && wait_over_) {
    answer.served = 1;
    answer.done = last_done_;
  }
  reply(Type::kCancel, 0, bytes_of(answer));
}

}  // namespace mqueuefs::control
