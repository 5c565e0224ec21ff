// Connections that calls borrow: a few are kept between calls, so that not each makes its own.
//
// Model: a call that needs a connection (most do not) takes an idle one out of a fixed table with one
// compare-and-swap, or makes one, and puts it back when it is done. No lock: a signal handler that interrupts a
// call simply takes another one. The table is in memory that is empty in a forked child (MADV_WIPEONFORK), with or
// without fork handlers: the daemon knows a connection as its maker's and refuses the child. Who shares our memory
// but is another process (vfork) makes one for each call.
//
// A program may close any descriptor and use its number again. So what is kept is compared with the socket that
// it was before each use, and forgotten, not closed, if it is another.
#pragma once

#include <optional>

#include "base/result.h"
#include "client/connection.h"
#include "client/transfer.h"

namespace mqueuefs::client {

/// What to execute if no daemon answers: $MQUEUEFS_PROGRAM (not for set-uid programs) or the installed one.
const char* daemon_program();

/// One call's connection. Thread rule: the call's thread. Async-signal-safe but for starting a daemon.
class Lease final : public Lender {
 public:
  explicit Lease(StartDaemon start = StartDaemon::kIfNone) : start_(start) {}
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;
  ~Lease() { give_back(); }

  /// Errors: of Connection::connect.
  Result<Connection*> connection() override;
  Result<Connection*> renewed() override;

  /// True if it was kept from an earlier call, so that the daemon may be gone since.
  bool was_idle() const { return was_idle_; }

  /// Ends the connection, with what its channel holds.
  void drop();

 private:
  Result<Connection*> make_new();
  void give_back();

  const StartDaemon start_;
  std::optional<Connection> connection_;
  ucred own_{};  // who the thread is during this call
  int slot_ = -1;
  bool was_idle_ = false;
};

}  // namespace mqueuefs::client
