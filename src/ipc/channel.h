// A place on which a task waits for a queue, and through which one message at a time is on its way.
//
// Nobody sleeps inside a request of a front door. A task that must wait leaves its channel in the queue's
// wait list and sleeps elsewhere; what it waits for happens to the channel. The same holds a message that
// travels in pieces. So "who has this message?" always has one answer: the queue, or one channel.
//
//            stage()                 wait_to_send()
//    kIdle ----------> kStaging ----------------------> kSendWaiting -----> kIdle, wait_done(0)
//      |                                                     |
//      |  wait_to_receive()                                  +-- cancel(), end() -> kIdle
//      +-------------------> kReceiveWaiting --- hand-over ---> kAssigned, wait_done(0) -- finish_fetch() -> kIdle
//      |                           |     or, with the news, -----> kDelivered -- settle() -> kIdle
//      |                           +-- cancel(), end() -> kIdle     |              abandon(): unread: back to its place
//      +-- assign() (a message too long for one answer) ------------+-- abandon(): back to its place in the queue
//
// A front door whose callers can vanish unseen (seccomp/) serves in one step instead: offer() and admit() answer
// the caller first, and say whether there still was one; if not, the model goes on as if he had never waited.
//
// The front door's connection derives from this. When it goes, its waiter goes, an assigned message returns to
// its place, a staged or waiting one is dropped: it was never sent.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"
#include "ipc/memory_budget.h"
#include "ipc/task_info.h"
#include "segment/shared_queue.h"

namespace mqueuefs::ipc {

class QueueInode;

/// A message outside of its segment.
struct Message {
  MessageInfo info;
  std::vector<std::byte> payload;
};

/// How long, and how important, a wait is.
struct WaitRequest {
  int rank = 120;                      ///< TaskInfo::rank_of
  pid_t process = 0;                   ///< shown to administrators
  TaskId task = 0;                     ///< who sleeps, to ask whether he is stopped; 0: not to be asked about
  std::optional<int64_t> deadline_ns;  ///< CLOCK_REALTIME
  uint32_t inline_bytes = 0;           ///< a message of at most so many bytes may come with the news of its arrival
};

/// Thread rule: the loop's. Lifetime: a channel outlives its place in a wait list by construction, since
/// abandon() takes it out.
class Channel {
 public:
  enum class State { kIdle, kStaging, kSendWaiting, kReceiveWaiting, kAssigned, kDelivered };

  /// `process`: whose it is, for who looks at who waits.
  Channel(uid_t uid, MemoryBudget& budget, pid_t process = 0) : uid_(uid), process_(process), budget_(budget) {}
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;
  virtual ~Channel();

  pid_t process() const { return process_; }
  State state() const { return state_; }
  /// Since when it waits, CLOCK_MONOTONIC.
  int64_t waiting_since_ns() const { return waiting_since_ns_; }
  const WaitRequest& wait_request() const { return wait_request_; }

  /// Adds a piece of a message that is to be sent. A piece at offset 0 starts anew; others must follow on.
  /// EBUSY: the channel waits or holds a received message. EINVAL: pieces do not fit together.
  /// EMSGSIZE: longer than any message. ENOMEM: the user's ceiling.
  Status stage(uint32_t total, uint32_t offset, std::span<const std::byte> piece);
  /// The staged message, whole, or EINVAL. It stays until drop_staged() or wait_to_send.
  Result<std::span<const std::byte>> staged() const;
  void drop_staged();

  /// The message that was handed to this channel from `queue`. EINVAL: there is none, or of another queue.
  Result<const Message*> assigned(const QueueInode& queue) const;
  /// The message that was handed to this channel, from whichever queue, or null.
  const Message* assigned_or_null() const { return state_ == State::kAssigned ? &message_ : nullptr; }
  /// The caller has all of it: forgets the message.
  void finish_fetch();
  /// The caller does something with this channel again: then he has what was delivered.
  void settle() {
    if (state_ == State::kDelivered) become_idle();
  }

  /// Ends a wait. True: it was cancelled. False: there was none, or it has been served already (and wait_done() called).
  bool cancel();
  /// Ends a wait and says why (ETIMEDOUT, or the front door is gone). No-op if none.
  void end(int code);
  /// The task is gone: everything as the file comment says. Idempotent.
  void abandon();

 protected:
  /// The wait that this channel was in is over: 0 served, else an errno. May be called from deep inside the
  /// model: must do no more than note or send it.
  virtual void wait_done(int code) = 0;
  /// A wait has begun; the derived class arms its timer if there is a deadline.
  virtual void wait_begun() = 0;
  /// Whether the task is gone without having read what was delivered.
  virtual bool died_without_reading() { return false; }

  /// For wait_done(): the assigned message goes out with the news. It is kept until it is known to have been read,
  /// but does not keep its queue alive any more.
  void mark_delivered();

  /// Asked of who is next in the line: nobody waits there any more. It is ended (ESRCH) then, and passed over.
  virtual bool is_gone() const { return false; }
  /// A waiting receiver, out of its list by now, is offered `message` of `queue`. True: it is his, and the wait is
  /// over. False: nobody is there any more; `message` is unchanged and goes to the next. As is, the channel keeps
  /// it as its assigned message and is told wait_done(0). Must not call the model.
  virtual bool offer(const std::shared_ptr<QueueInode>& queue, Message& message);
  /// A waiting sender's message is about to enter the queue, where there is a place for it. False: nobody is there
  /// any more, and it does not. Else wait_done(0) follows. Must not call the model.
  virtual bool admit() { return true; }

 private:
  friend class QueueInode;  // the only one that puts channels into wait lists and serves them

  void begin_wait(State state, std::shared_ptr<QueueInode> queue, const WaitRequest& request);
  void take_assigned(std::shared_ptr<QueueInode> queue, Message message);
  void become_idle();
  Status hold(uint64_t bytes);

  const uid_t uid_;
  const pid_t process_;
  MemoryBudget& budget_;
  State state_ = State::kIdle;
  std::shared_ptr<QueueInode> queue_;  // where it waits, or where its assigned message came from
  WaitRequest wait_request_;
  int64_t waiting_since_ns_ = 0;
  std::optional<uint32_t> waiter_;  // its place in the line, which is in the segment; none: that line is full
  Message message_;          // staged, waiting to be sent, or assigned
  uint32_t staged_bytes_ = 0;
  uint64_t held_bytes_ = 0;  // charged to budget_
  Sender sender_;            // of a waiting send
};

}  // namespace mqueuefs::ipc
