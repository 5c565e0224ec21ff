// What every function of the C interface does around its work.
#pragma once

#include <pthread.h>

#include <cerrno>

#include "base/result.h"
#include "client/pool.h"

namespace mqueuefs::client {

/// Around one call: the program's errno stays as it is unless the call fails, and the thread can't be cancelled
/// inside, except where it sleeps.
class Call {
 public:
  Call() : saved_errno_(errno) { pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state_); }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;
  ~Call() {
    pthread_setcancelstate(cancel_state_, nullptr);
    errno = saved_errno_;
  }

  /// -1, with this errno once the call is over.
  int fail(int code) {
    saved_errno_ = code;
    return -1;
  }
  int finish(const Status& status) { return status ? 0 : fail(status.code()); }
  bool may_be_cancelled() const { return cancel_state_ == PTHREAD_CANCEL_ENABLE; }

 private:
  int saved_errno_;
  int cancel_state_ = PTHREAD_CANCEL_ENABLE;
};

/// A lease for a call that may sleep: cancelling the thread there ends the connection, and with it the wait.
class SleepLease final : public Lender {
 public:
  explicit SleepLease(const Call& call) : cancellable_(call.may_be_cancelled()) {}
  Result<Connection*> connection() override { return prepare(lease_.connection()); }
  Result<Connection*> renewed() override { return prepare(lease_.renewed()); }

 private:
  Result<Connection*> prepare(Result<Connection*> connection);

  Lease lease_;
  const bool cancellable_;
};

/// What a failure to reach a daemon is to a program that knows only message queues: ENOSYS, said once on standard
/// error. That the caller has no descriptor or memory left (EMFILE, ENFILE, ENOMEM, ENOBUFS) stays what it is.
int errno_without_daemon(int code);

}  // namespace mqueuefs::client
