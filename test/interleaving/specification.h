// What a queue does when one operation happens after the other; and whether what was seen of several at once can be
// explained so (linearizability): each operation at one moment between its call and its return.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

namespace mqueuefs::testing {

enum class Operation {
  kSend,         ///< priority, id -> errno
  kReceive,      ///< -> id, or errno
  kLook,         ///< the next message -> id, or errno
  kWaitReceive,  ///< rank, key -> errno
  kWaitSend,     ///< rank, key, priority, id -> errno
  kWaitPlace,    ///< rank, key -> errno
  kCancel,       ///< key -> 1: served
  kFinish,       ///< key -> id of what was handed over; 0 for a sender
  kGiveBack,     ///< id -> errno
  kReserve,      ///< -> errno
  kSendReserved, ///< priority, id -> errno
  kDropReserved,
  kBury,  ///< fiber
};

struct Call {
  Operation operation = Operation::kSend;
  uint32_t fiber = 0;
  uint32_t priority = 0;
  uint32_t rank = 0;
  uint64_t id = 0;    ///< of the message
  uint32_t key = 0;   ///< of the wait, unique within a history
  int error = 0;
  uint64_t result = 0;
  uint64_t began = 0;
  uint64_t ended = 0;  ///< 0: it never did, so it may have happened or not

  std::string text() const;
};

struct Specification {
  struct Message {
    uint32_t priority = 0;
    uint64_t sequence = 0;
    uint64_t id = 0;
  };
  struct Waiter {
    uint32_t key = 0;
    uint32_t fiber = 0;
    uint32_t rank = 0;
    bool sends = false;
    bool place = false;  ///< only the place is wanted, the message comes later
    bool served = false;
    Message message;
  };

  uint32_t maxmsg = 1;
  uint32_t reserved = 0;
  uint64_t clock = 0;
  std::vector<Message> messages;  ///< in the order of receipt
  std::vector<Message> taken;     ///< what may be given back
  std::vector<Waiter> waiters;    ///< in the order of arrival

  /// Whether `call` may happen now with that result; done if so. Of one that never ended, any result is right.
  bool happens(const Call& call);

 private:
  void insert(const Message& message);
  /// To who waits for it, or to the queue.
  void deliver(const Message& message);
  void admit();
  Waiter* best(bool sends);
  bool full() const { return messages.size() + reserved >= maxmsg; }
};

/// Whether some order of `calls` explains their results, beginning with `start`.
bool linearizable(const Specification& start, const std::vector<Call>& calls);

std::string text_of(const std::vector<Call>& calls);

}  // namespace mqueuefs::testing
