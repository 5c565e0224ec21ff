// What the tests of the segment share: text messages, and a second look at the memory behind the queue's
// back.
#pragma once

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstddef>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "segment/queue_segment.h"

namespace mqueuefs::testing {

inline std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

inline QueueSegment make_queue(uint32_t maxmsg, uint32_t msgsize) {
  Result<QueueSegment> queue = QueueSegment::create({maxmsg, msgsize});
  MQUEUEFS_CHECK(queue.ok());
  return std::move(*queue);
}

inline Result<MessageInfo> send(QueueSegment& queue, uint32_t priority, std::string_view text) {
  return queue.try_send(priority, bytes_of(text));
}

/// The next message as "priority:text", or the errno's name.
inline std::string receive(QueueSegment& queue) {
  std::vector<std::byte> buffer(queue.attributes().msgsize);
  const Result<MessageInfo> info = queue.try_receive(buffer);
  if (!info) return strerrorname_np(info.code());
  return std::to_string(info->priority) + ":" +
         std::string(reinterpret_cast<char*>(buffer.data()), info->size);
}

/// The same for the message behind `position`.
inline std::string peek(const QueueSegment& queue, PeekPosition& position) {
  std::vector<std::byte> buffer(queue.attributes().msgsize);
  const Result<MessageInfo> info = queue.peek(position, 0, buffer);
  if (!info) return strerrorname_np(info.code());
  return std::to_string(info->priority) + ":" +
         std::string(reinterpret_cast<char*>(buffer.data()), info->size);
}

/// A mapping of the same memory, as a hostile peer would have it.
class Intruder {
 public:
  explicit Intruder(const QueueSegment& queue)
      : layout_(Layout::of(queue.attributes())),
        base_(static_cast<std::byte*>(
            mmap(nullptr, layout_.size, PROT_READ | PROT_WRITE, MAP_SHARED, queue.memfd(), 0))) {
    MQUEUEFS_CHECK(static_cast<void*>(base_) != MAP_FAILED);
  }
  ~Intruder() { munmap(base_, layout_.size); }
  Intruder(const Intruder&) = delete;
  Intruder& operator=(const Intruder&) = delete;

  SegmentView view() const { return SegmentView(layout_, base_); }
  const Layout& layout() const { return layout_; }
  std::byte* base() const { return base_; }

 private:
  Layout layout_;
  std::byte* base_;
};

}  // namespace mqueuefs::testing
