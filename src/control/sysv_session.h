// The System V calls of one connection: from bytes to the model and back, and the waiter that the connection is.
//
// A call is proved by its packet's credentials alone: process, effective user and group are those of who connected. Where
// the thread is, is looked up once in a while (SysvCall::moves); what else its rights depend on is read when a rule asks,
// and counts only if the task's effective user is still the same.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "control/sysv_host.h"
#include "control/sysv_messages.h"
#include "control/wire.h"
#include "ipc/sysv/sysv_ipc.h"

namespace mqueuefs::control {

class Connection;

/// Thread rule: the loop's. Owned by its connection; end() is called before it goes.
class SysvSession final : public ipc::sysv::Waiter {
 public:
  SysvSession(Connection& connection, SysvHost& host) : connection_(connection), host_(host) {}

  /// Answers, now. `caller` is proved but for his thread, whose number is `tid` as he says it.
  void call(Caller caller, int32_t tid, std::span<const std::byte> body);
  void administer(Caller caller, int32_t tid, std::span<const std::byte> body);

  /// Ends the wait of a thread that is stopped: the kernel has it in no line.
  void leave_if_stopped();

  /// Of a message that goes in pieces; null: there is none.
  const std::vector<std::byte>* pieces() const { return pieces_.empty() ? nullptr : &pieces_; }
  void finish_pieces() { pieces_ = {}; }

 protected:
  bool offer(int code, const ipc::sysv::Received* received) override;

 private:
  using Body = std::span<const std::byte>;
  struct Known {
    int32_t tid = 0;
    uint32_t moves = 0;
    int64_t looked_ns = 0;
    ipc::TaskId thread = 0;
    SysvPlace place;
    std::shared_ptr<const UserView> users;
  };
  // What an administrator was found to be allowed. It is believed for a moment, so that who changes many ids is not
  // looked through for each.
  struct Target {
    int32_t tid = 0;
    SysvAccess access{};
    std::string name;
    int64_t looked_ns = 0;
    ipc::TaskId thread = 0;
    SysvPlace place;
  };
  // What a call has: looked up, not asked yet.
  struct Call {
    const SysvCall& head;
    Body body;
    ipc::sysv::Caller caller;
    ipc::IpcNamespace& where;
    ipc::sysv::SysvIpc& ipc;
    const UserView& users;
  };

  Result<Target*> aim(const Caller& caller, int32_t tid, std::string_view name, SysvAccess access);
  Result<Known*> look(const Caller& caller, int32_t tid, uint32_t moves, std::string_view name);
  void dispatch(Call& call);

  void message_send(Call& call);
  void message_receive(Call& call);
  void message_control(Call& call);
  void semaphores_operate(Call& call);
  void semaphores_control(Call& call);
  void memory_attach(Call& call);
  void memory_control(Call& call);

  void answer(int status, int64_t value = 0, Body out = {}, int64_t type = 0, UniqueFd fd = UniqueFd());
  template <typename T>
  void answer_result(const Result<T>& result);
  void answer_outcome(const Call& call, const Result<ipc::sysv::Outcome>& outcome, bool would_wait, int if_stopped);
  bool deliver(Type packet, const ipc::sysv::Received& received);
  Result<ipc::sysv::PermissionChange> change_from(const Call& call, SysvSet& set) const;
  static SysvPermissions show(const ipc::sysv::Permissions& permissions, const UserView& users);
  static SysvStat show(const ipc::sysv::MessageQueueStatus& status, const UserView& users);
  static SysvStat show(const ipc::sysv::SemaphoreArrayStatus& status, const UserView& users);
  static SysvStat show(const ipc::sysv::SharedMemoryStatus& status, const UserView& users);
  Status permute(const SysvAdmin& request, Body pairs, ipc::sysv::ObjectTable& table);
  std::vector<std::byte> list(const SysvAdmin& request, ipc::IpcNamespace& where, ipc::TaskId reader) const;

  Connection& connection_;
  SysvHost& host_;
  std::array<Known, 4> known_{};
  size_t next_known_ = 0;
  Target target_;
  std::unique_ptr<ipc::sysv::CallerRights> rights_;  // of the call that is being made, or waits
  std::pair<ipc::TaskId, uint64_t> rights_for_{};    // the thread, and the namespace's id
  std::vector<std::byte> pieces_;
  std::unique_ptr<Sleeper> sleeper_;  // of `sleeping_thread_`
  ipc::TaskId sleeping_thread_ = 0;
  int if_stopped_ = 0;  // what a thread that was stopped in its wait is told
};

}  // namespace mqueuefs::control
