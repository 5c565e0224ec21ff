#include "client/peek.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

namespace mqueuefs::client {
namespace {

constexpr size_t padded(size_t size) { return (size + 7) / 8 * 8; }

}  // namespace

// Asks for what follows `position_`, or, with an offset, for the rest of the message there.
Status PeekIterator::ask(uint32_t offset) {
  constexpr auto kBytes = static_cast<uint32_t>(sizeof(control::PeekHeader) + kPayloadBytes);
  static_assert(kBytes == sizeof argument_ || sizeof argument_ - kBytes < 8);
  for (;;) {
    argument_.header = position_;
    argument_.header.offset = offset;
    argument_.header.entries = 0;
    if (ioctl(queue_, control::queue_ioctl(control::QueueIoctl::kPeek, kBytes), &argument_) >= 0) break;
    if (errno == ENOTTY) return Error{EBADF, "peek"};
    if (errno != EINTR) return last_error("peek");
  }
  position_ = argument_.header;
  entries_left_ = argument_.header.entries;
  read_at_ = 0;
  return {};
}

// The next entry of the answer; its payload is at `read_at_` then.
Result<control::PeekEntry> PeekIterator::take_entry() {
  control::PeekEntry entry;
  if (kPayloadBytes - read_at_ < sizeof entry) return Error{EPROTO, "peek"};
  memcpy(&entry, argument_.payload + read_at_, sizeof entry);
  read_at_ += sizeof entry;
  if (entry.size > entry.total || entry.size > kPayloadBytes - read_at_) return Error{EPROTO, "peek"};
  --entries_left_;
  return entry;
}

// False: the message has been taken before all of it was copied.
Result<bool> PeekIterator::fetch_rest(const control::PeekEntry& entry, std::span<std::byte> buffer) {
  for (uint32_t got = entry.size; got < entry.total;) {
    const control::PeekHeader before = position_;
    if (const Status asked = ask(got); !asked) return asked.error();
    if (entries_left_ == 0) return false;
    const auto rest = take_entry();
    if (!rest) return rest.error();
    if (rest->sequence != entry.sequence || rest->total != entry.total) {
      // Of another message we have no beginning: ask for that one again.
      position_ = before;
      entries_left_ = 0;
      return false;
    }
    if (rest->size == 0 || rest->size > entry.total - got) return Error{EPROTO, "peek"};
    memcpy(buffer.data() + got, argument_.payload + read_at_, rest->size);
    read_at_ += padded(rest->size);
    got += rest->size;
  }
  return true;
}

Result<bool> PeekIterator::next(PeekedMessage& message, std::span<std::byte> buffer) {
  while (!at_end_) {
    if (entries_left_ == 0) {
      if (const Status asked = ask(0); !asked) return asked.error();
      at_end_ = entries_left_ == 0;
      continue;
    }
    const auto entry = take_entry();
    if (!entry) return entry.error();
    if (entry->total > buffer.size()) return Error{EMSGSIZE, "peek"};
    memcpy(buffer.data(), argument_.payload + read_at_, entry->size);
    read_at_ += padded(entry->size);
    const auto whole = fetch_rest(*entry, buffer);
    if (!whole) return whole.error();
    if (!*whole) continue;
    message = {entry->priority, entry->sequence, entry->total};
    return true;
  }
  return false;
}

}  // namespace mqueuefs::client
