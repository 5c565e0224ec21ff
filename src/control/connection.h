// One client's connection: its packets, and the channel (ipc/channel.h) that it is.
//
// One request at a time: while an answer waits for a helper process or for room in the socket nothing more is
// read. What the daemon sends unasked (WaitDone, NotifyThread) waits for room in the same line; a client that
// lets that grow beyond a bound loses its connection.
#pragma once

#include <cstddef>
#include <deque>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/unique_fd.h"
#include "control/host.h"
#include "control/messages.h"
#include "control/reactor.h"
#include "control/wire.h"
#include "ipc/channel.h"

namespace mqueuefs::control {

class Server;
class SysvSession;

/// Thread rule: the loop's. Owned by its server.
class Connection final : public ipc::Channel, public std::enable_shared_from_this<Connection> {
 public:
  Connection(Server& server, uint64_t id, UniqueFd socket, const ucred& peer, ipc::MemoryBudget& budget);
  ~Connection() override;

  /// Begins to watch the socket and the peer.
  Status start(UniqueFd pidfd);

  uint64_t id() const { return id_; }
  uid_t uid() const { return peer_.uid; }

  /// See Mapped.
  void send_mapping(const Mapped& mapping, UniqueFd memfd);

  /// The trace that this connection asked for, in place of an earlier one.
  void set_trace(std::unique_ptr<Trace> trace) { trace_ = std::move(trace); }
  /// One event of it. False: too much waits for its reader, nothing was sent.
  bool send_traced(const Traced& traced, std::span<const std::byte> payload);

  /// SIGEV_THREAD's message, see NotifyThread.
  void notify_thread(uint64_t value, uint32_t reason);

  /// Ends the connection: the channel is abandoned at once, the object goes later. Idempotent.
  void close();

 protected:
  void wait_done(int code) override;
  void wait_begun() override;
  bool died_without_reading() override;
  bool is_gone() const override;
  bool admit() override { return !is_gone(); }

 private:
  friend class SysvSession;  // answers for it

  struct Packet {
    Header header;
    std::vector<std::byte> body;
    UniqueFd fd;
  };

  void ready(uint32_t events);
  void receive_some();
  void handle(const ReceivedPacket& packet, std::span<const std::byte> body);
  void call_sysv(const ReceivedPacket& packet, std::span<const std::byte> body);
  SysvSession& sysv();
  Host& host();
  /// Takes all stopped threads out of their lines.
  void leave_stopped();
  bool is_adoption_next() const;
  void adopt(std::span<std::byte> buffer);
  Result<Caller> prove(const ReceivedPacket& packet);
  void send(Type type, int status, std::span<const std::byte> body, UniqueFd fd = UniqueFd(),
            std::span<const std::byte> tail = {});
  /// False: the client is gone, or does not read.
  bool send_sysv(Type type, int status, std::span<const std::byte> body, std::span<const std::byte> tail,
                 UniqueFd fd = UniqueFd());
  void send_queued();
  void update_events();

  // The answer to the request in progress.
  void reply(Type type, int status, std::span<const std::byte> body = {}, UniqueFd fd = UniqueFd());
  template <typename T>
  void reply_value(Type type, const Result<T>& result);
  DescriptorReply descriptor_reply(Type type, std::function<void()> on_success);

  void hello(std::span<const std::byte> body);
  void open_root(const Caller& caller, std::span<const std::byte> body);
  void mount(const Caller& caller, std::span<const std::byte> body);
  void remount(const Caller& caller, std::span<const std::byte> body);
  void list_namespaces(const Caller& caller, std::span<const std::byte> body);
  void list_queues(const Caller& caller, std::span<const std::byte> body);
  void set_limit(const Caller& caller, std::span<const std::byte> body);
  void stage_piece(std::span<const std::byte> body);
  void fetch_piece(std::span<const std::byte> body);
  void fetch_sysv_piece(const Fetch& request);
  void answer_cancel();

  Server& server_;
  const uint64_t id_;
  const UniqueFd socket_;
  const ucred peer_;
  bool closed_ = false;
  bool lost_ = false;       // a packet could not be sent: it will be closed
  bool reset_ = false;      // the client has closed without having read all
  bool answering_ = false;  // a request waits for its answer
  bool may_adopt_ = true;   // the next packet may bring a descriptor that is not for us
  std::unique_ptr<SysvSession> sysv_;  // made with the first call
  std::unique_ptr<Watch> watch_;
  std::unique_ptr<ProcessWatch> process_watch_;
  std::unique_ptr<Timer> deadline_;
  std::unique_ptr<Trace> trace_;
  size_t queued_bytes_ = 0;
  std::deque<Packet> queued_;  // not sent yet, for want of room
  bool wait_over_ = false;
  WaitDone last_done_{};  // of the latest wait, if it is over
};

}  // namespace mqueuefs::control
