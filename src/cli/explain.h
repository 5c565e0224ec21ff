// Why an operation failed, in one line: what was tried, on which queue, which limit or rule and its value, and the
// errno's name. All of that is decided here, from facts that the commands gather; nothing here asks anybody.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/result.h"
#include "control/messages.h"

namespace mqueuefs::cli {

/// "No such file or directory (ENOENT)".
std::string describe_errno(int code);

/// What was tried: a verb, and on what.
struct Attempt {
  std::string verb;            ///< "create", "list" ...
  std::string queue;           ///< as it was given; empty: not about one queue
  std::string namespace_name;  ///< empty: the caller's own

  /// "create /q in namespace X"
  std::string text() const;
};

/// For what is not special to one command: connections, namespaces, names, rights.
std::string explain(const Attempt& attempt, Error error);

/// What decides whether a queue can be created (doc/behaviour.md C5).
struct CreateFacts {
  int64_t maxmsg = 0;
  int64_t msgsize = 0;
  std::optional<control::LimitsReply> limits;  ///< of the namespace, if they could be asked for
  uint64_t rlimit_msgqueue = 0;                ///< bytes, RLIM_INFINITY: none
};
std::string explain_create(const Attempt& attempt, Error error, const CreateFacts& facts);

/// What decides whether a message can be sent or received.
struct TransferFacts {
  uint64_t size = 0;  ///< of the message to be sent
  int64_t priority = 0;
  uint32_t maxmsg = 0;   ///< of the queue; 0: not known
  uint32_t msgsize = 0;
  std::string timeout;  ///< as it was given
};
std::string explain_send(const Attempt& attempt, Error error, const TransferFacts& facts);
std::string explain_receive(const Attempt& attempt, Error error, const TransferFacts& facts);

/// RLIMIT_MSGQUEUE's charge for a queue (doc/behaviour.md D2), bytes; the largest number if it overflows.
uint64_t charge_of_queue(int64_t maxmsg, int64_t msgsize);

}  // namespace mqueuefs::cli
