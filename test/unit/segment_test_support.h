// A queue in shared memory of a test's own, between two pages that nobody may touch.
#pragma once

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>

#include "segment/shared_queue.h"

namespace mqueuefs::testing {

/// How much longer than usual the tests run: MQUEUEFS_TEST_EFFORT, for runs of hours.
inline uint32_t effort() {
  const char* text = getenv("MQUEUEFS_TEST_EFFORT");
  const int number = text != nullptr ? atoi(text) : 1;
  return number < 1 ? 1 : static_cast<uint32_t>(number);
}

class TestSegment {
 public:
  explicit TestSegment(QueueAttributes attributes) : attributes_(attributes), size_(Format::of(attributes).size) {
    void* const at =
        mmap(nullptr, size_ + 2 * kGuard, PROT_NONE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    MQUEUEFS_CHECK(at != MAP_FAILED);
    base_ = static_cast<std::byte*>(at) + kGuard;
    MQUEUEFS_CHECK(mprotect(base_, size_, PROT_READ | PROT_WRITE) == 0);
    queue().initialize();
  }
  ~TestSegment() { munmap(base_ - kGuard, size_ + 2 * kGuard); }
  TestSegment(const TestSegment&) = delete;
  TestSegment& operator=(const TestSegment&) = delete;

  SharedQueue queue() const { return SharedQueue(attributes_, base_); }
  std::byte* base() const { return base_; }
  size_t size() const { return size_; }
  /// Makes it an empty queue again.
  void clear() {
    MQUEUEFS_CHECK(madvise(base_, size_, MADV_REMOVE) == 0);
    queue().initialize();
  }

 private:
  static constexpr size_t kGuard = 1 << 20;
  QueueAttributes attributes_;
  size_t size_;
  std::byte* base_;
};

/// Messages of these tests are one number.
inline Status send(const SharedQueue& queue, Seat seat, uint32_t priority, uint64_t id, Aftermath& after) {
  return queue.try_send(seat, priority, std::as_bytes(std::span(&id, 1)), after);
}
/// 0: none.
inline uint64_t receive(const SharedQueue& queue, Seat seat, Aftermath& after) {
  uint64_t id = 0;
  const auto info = queue.try_receive(seat, std::as_writable_bytes(std::span(&id, 1)), after);
  return info.ok() ? id : 0;
}
inline std::span<std::byte> bytes_of(uint64_t& id) { return std::as_writable_bytes(std::span(&id, 1)); }

}  // namespace mqueuefs::testing
