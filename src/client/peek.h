// Looking at a queue's messages without taking or waking anything.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/result.h"
#include "control/queue_ioctl.h"

namespace mqueuefs::client {

struct PeekedMessage {
  uint32_t priority = 0;
  uint64_t sequence = 0;
  size_t size = 0;
};

/// Goes through the messages in the order in which they would be received. What is sent or taken meanwhile may be
/// missed or seen, but no message is shown twice or in part.
class PeekIterator {
 public:
  /// `queue` is a descriptor open for reading; not owned.
  explicit PeekIterator(int queue) : queue_(queue) {}

  /// The next message, its payload in `buffer`, which has the queue's msgsize. False: that was all.
  /// Never blocks. Errors: EBADF; EMSGSIZE: `buffer` is too small; EUCLEAN: the queue is damaged.
  Result<bool> next(PeekedMessage& message, std::span<std::byte> buffer);

 private:
  static constexpr size_t kPayloadBytes = (control::kMaxIoctlBytes - sizeof(control::PeekHeader)) / 8 * 8;

  Status ask(uint32_t offset);
  Result<control::PeekEntry> take_entry();
  Result<bool> fetch_rest(const control::PeekEntry& entry, std::span<std::byte> buffer);

  int queue_;
  bool at_end_ = false;
  uint32_t entries_left_ = 0;
  size_t read_at_ = 0;
  control::PeekHeader position_{};  // the daemon's
  struct {
    control::PeekHeader header;
    alignas(8) std::byte payload[kPayloadBytes];
  } argument_;
};

}  // namespace mqueuefs::client
