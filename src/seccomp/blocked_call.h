// A call that waits for its queue: the channel (ipc/channel.h) of a thread whose notification is unanswered.
//
// A signal makes the notification vanish without a word; a handler with SA_RESTART brings it again as a new one. So
// nobody is served before he has been answered, and the answer was taken: offer() and admit() do that in one step.
// One who has vanished stays in the wait list, where he harms nobody, until he is offered something, comes with
// another call, or is looked at (is_gone).
#pragma once

#include <functional>
#include <memory>

#include "control/reactor.h"
#include "ipc/channel.h"
#include "seccomp/listener.h"
#include "seccomp/target.h"

namespace mqueuefs::seccomp {

/// Where a received message goes.
struct ReceiveBuffer {
  uint64_t address = 0;
  uint64_t priority_address = 0;  ///< 0: not wanted
};

/// Writes the message and answers the receive. ENOENT: he is not there any more; ESTALE: as Targets::answer; EFAULT:
/// his buffer is bad. In each case the message is not his.
Status answer_receive(Targets& targets, const Notification& call, const ReceiveBuffer& buffer, const MessageInfo& info,
                      std::span<const std::byte> payload);

/// Thread rule: the loop's. Owned by its session.
class BlockedCall final : public ipc::Channel {
 public:
  /// `over` is called once, maybe from deep inside the model: the owner may destroy this later, not in it. True: it
  /// was not answered, and has to be served again.
  BlockedCall(const Listener& listener, Targets& targets, control::Reactor& reactor, const Notification& call,
              const ReceiveBuffer& buffer, uid_t uid, ipc::MemoryBudget& budget, std::function<void(bool)> over);
  ~BlockedCall() override;

  const Notification& call() const { return call_; }
  bool is_gone() const override { return !listener_.is_valid(call_.id); }

 protected:
  void wait_done(int code) override;
  void wait_begun() override;
  bool offer(const std::shared_ptr<ipc::QueueInode>& queue, ipc::Message& message) override;
  bool admit() override;

 private:
  const Listener& listener_;
  Targets& targets_;
  control::Reactor& reactor_;
  const Notification call_;
  const ReceiveBuffer buffer_;
  const std::function<void(bool)> over_;
  std::unique_ptr<control::Timer> deadline_;
  bool answered_ = false;
};

}  // namespace mqueuefs::seccomp
