// One listener: all calls of all the threads that carry its filter, answered from the loop.
//
// What can be answered at once is (calls.cc); a call that has to wait becomes a BlockedCall; what needs the
// target's own rights, or could block, is done and answered by a helper process (Host). Every change has two
// phases: what is going to be changed is reserved; the call is answered; if the answer was taken the change is
// made, else nothing has happened: no signal, and no death, makes a message be sent twice or be lost.
//
// System V calls are sysv_calls.h's. A call on a descriptor that is none of ours goes on to the kernel: its own queues stay usable.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "control/reactor.h"
#include "seccomp/blocked_call.h"
#include "seccomp/host.h"
#include "seccomp/listener.h"
#include "seccomp/sysv_calls.h"
#include "seccomp/target.h"

namespace mqueuefs::seccomp {

/// Thread rule: the loop's.
class Session : public std::enable_shared_from_this<Session> {
 public:
  /// `namespace_name`: where mq_open goes; empty: the calling task's own. `ended` is called, later, when nobody
  /// carries the filter any more.
  Session(control::Reactor& reactor, Host& host, UniqueFd listener, std::string namespace_name,
          std::function<void()> ended);
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  ~Session();

  /// Begins to serve. Errors: those of epoll_ctl(2).
  Status start();

  size_t blocked_count() const { return blocked_.size() + sysv_->blocked_count(); }

 private:
  struct OpenQueue {
    std::shared_ptr<ipc::QueueInode> queue;
    TargetFile file;
  };

  void ready(uint32_t events);
  void serve(const Notification& call);
  /// The number has come to mean another task than the one that was known by it.
  void serve_anew(const Notification& call) {
    targets_.forget(call.task);
    serve(call);
  }
  void fail(const Notification& call, int error);
  void closed_meanwhile(const Notification& call);
  void end();

  void open(const Notification& call);
  void unlink(const Notification& call);
  void timed_send(const Notification& call);
  void timed_receive(const Notification& call);
  void notify(const Notification& call);
  void notify_by_thread(const Notification& call, int descriptor);
  void register_notification(const Notification& call, int descriptor, ipc::Registration registration);
  void get_set_attributes(const Notification& call);
  void mount(const Notification& call);
  void open_context(const Notification& call);

  /// The queue behind the call's descriptor; null: none of ours, the kernel has answered.
  std::shared_ptr<ipc::QueueInode> queue_or_go_on(const Notification& call, TargetFile& file);
  Result<std::optional<int64_t>> deadline_of(const Notification& call, uint64_t address);
  ipc::WaitRequest wait_request(const Notification& call, const std::optional<int64_t>& deadline_ns);
  BlockedCall& block(const Notification& call, const ReceiveBuffer& buffer);
  /// `again`: it has to be looked at anew.
  void call_over(uint64_t id, bool again = false);
  void drop_stale_calls();
  HelperCall helper_call(const Notification& call) const;

  control::Reactor& reactor_;
  Host& host_;
  const std::shared_ptr<Listener> shared_listener_;  // helper processes may need it a moment longer
  Listener& listener_;
  Targets targets_;
  const std::string namespace_name_;
  const std::shared_ptr<SysvCalls> sysv_;
  const std::function<void()> ended_;
  std::unique_ptr<control::Watch> watch_;
  std::unique_ptr<control::Timer> look_timer_;
  std::unordered_map<uint64_t, std::unique_ptr<BlockedCall>> blocked_;  // by notification
  std::unordered_map<pid_t, uint64_t> blocked_of_task_;                 // a thread makes one call at a time
  std::vector<std::unique_ptr<BlockedCall>> over_;                      // to be destroyed
  std::vector<std::byte> payload_;                                      // of the call being served
};

}  // namespace mqueuefs::seccomp
