// A call that waits: msgsnd for room, msgrcv for a message, semop for its semaphores.
//
// Nobody sleeps inside a request of a front door. Who must wait leaves a waiter in the object and sleeps elsewhere (see
// ipc/channel.h, which is the same for POSIX queues); the model then makes it one offer:
//
//   kIdle -- msgsnd, msgrcv, semop say kWaiting --> kWaiting -- offer() --> kIdle
//                                                      +----- cancel(), end() --> kIdle
//
// An offer that says false has not happened: the caller is gone, and the next one in the line is served.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "ipc/memory_budget.h"
#include "ipc/sysv/caller.h"

namespace mqueuefs::ipc::sysv {

/// Bytes on a user's account in a MemoryBudget. Moves with what they pay for.
class Charge {
 public:
  Charge() = default;
  Charge(Charge&& other) noexcept { *this = std::move(other); }
  Charge& operator=(Charge&& other) noexcept;
  ~Charge() { release(); }

  /// ENOMEM: the user's ceiling.
  static Result<Charge> reserve(MemoryBudget& budget, uid_t uid, uint64_t bytes);
  /// The same without the ceiling, for what comes to a user unasked.
  static Charge take(MemoryBudget& budget, uid_t uid, uint64_t bytes);
  /// From now on `uid` pays, who is not asked whether he can.
  void move_to(uid_t uid);
  uid_t uid() const { return uid_; }
  void release();

 private:
  Charge(MemoryBudget& budget, uid_t uid, uint64_t bytes) : budget_(&budget), uid_(uid), bytes_(bytes) {}

  MemoryBudget* budget_ = nullptr;
  uid_t uid_ = 0;
  uint64_t bytes_ = 0;
};

/// A message of a message queue.
struct TypedMessage {
  int64_t type = 0;
  std::vector<std::byte> payload;
  Charge charge;
};

/// What a receiver gets: `message`, which is his to move from if he takes it, of whose payload he sees `size_bytes`
/// (fewer than there are with MSG_NOERROR).
struct Received {
  TypedMessage& message;
  size_t size_bytes = 0;
};

enum class Outcome { kDone, kWaiting };

/// Thread rule: the loop's. A front door derives from it, one a connection or blocked system call, and calls cancel()
/// or end() before it is destroyed.
class Waiter {
 public:
  Waiter() = default;
  Waiter(const Waiter&) = delete;
  Waiter& operator=(const Waiter&) = delete;
  virtual ~Waiter();

  bool is_waiting() const { return place_ != nullptr; }
  /// Ends the wait as if the call had never been made (a signal, a timeout, the caller's end). False: there was none, or
  /// offer() has been called.
  bool cancel();
  /// Ends the wait and offers `code` (an errno); no-op if there is none.
  void end(int code);

 protected:
  /// The wait is over, and it is not in the line any more. `code` 0: the call succeeds. `received`: of a msgrcv that
  /// does, else null. Else an errno: EIDRM removed, and the namespace's end; EACCES (msgsnd, msgrcv: the permissions
  /// were changed); E2BIG (msgrcv); EAGAIN, ERANGE (semop). True: the caller has it. False: he is gone; what was
  /// offered has not happened (is asked of success only). Must not call the model, nor destroy a waiter.
  virtual bool offer(int code, const Received* received) = 0;

 private:
  friend class WaitPlace;
  class WaitPlace* place_ = nullptr;
};

/// Where a waiter waits: the object's side of it. Destroyed when the wait ends.
class WaitPlace {
 public:
  WaitPlace(Waiter& waiter, const Caller& caller);
  WaitPlace(const WaitPlace&) = delete;
  WaitPlace& operator=(const WaitPlace&) = delete;
  virtual ~WaitPlace() { detach(); }

  const Caller& caller() const { return caller_; }
  bool offer(int code, const Received* received = nullptr);

 protected:
  /// Takes itself out of the object's line, which destroys it.
  virtual void leave() = 0;

 private:
  friend class Waiter;
  void detach();

  Waiter* waiter_;
  const Caller caller_;
};

}  // namespace mqueuefs::ipc::sysv
