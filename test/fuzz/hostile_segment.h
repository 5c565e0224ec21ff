// A segment that somebody writes nonsense into, and operations on it: each has to end, inside the segment.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "segment/shared_queue.h"

namespace mqueuefs::testing {

/// Between two pages that nobody may touch.
class HostileSegment {
 public:
  explicit HostileSegment(QueueAttributes attributes) : attributes_(attributes), size_(Format::of(attributes).size) {
    void* const at =
        mmap(nullptr, size_ + 2 * kGuard, PROT_NONE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    MQUEUEFS_CHECK(at != MAP_FAILED);
    base_ = static_cast<std::byte*>(at) + kGuard;
    MQUEUEFS_CHECK(mprotect(base_, size_, PROT_READ | PROT_WRITE) == 0);
    begin();
    image_.assign(base_, base_ + size_);
  }
  ~HostileSegment() { munmap(base_ - kGuard, size_ + 2 * kGuard); }
  HostileSegment(const HostileSegment&) = delete;
  HostileSegment& operator=(const HostileSegment&) = delete;

  SharedQueue queue() const { return SharedQueue(attributes_, base_); }
  std::byte* base() const { return base_; }
  size_t size() const { return size_; }
  void restore() { memcpy(base_, image_.data(), size_); }

  /// Where words are that anybody believes: most bytes of a segment are unused.
  size_t interesting(uint32_t number) const {
    const Format& format = queue_format_;
    const size_t starts[] = {offsetof(Header, state), offsetof(Header, free_slots), offsetof(Header, changed_s),
                             offsetof(Header, top),   format.leaves,                format.lists,
                             format.returned,         format.members,               format.waiters,
                             format.slot_table};
    const size_t lengths[] = {16, 16, 64, 16 + 16 * kMiddles, 64, 256, 64, 512, 320, 64 * 12};
    const size_t which = number % (sizeof(starts) / sizeof(starts[0]));
    return starts[which] + number / 16 % lengths[which] / 4 * 4;
  }

  /// One operation of any kind; its outcome does not matter.
  void operate(uint32_t choice) {
    const SharedQueue queue = this->queue();
    Aftermath after;
    uint64_t words[8] = {choice};
    const std::span<std::byte> buffer = std::as_writable_bytes(std::span(words));
    const Seat seat{choice / 32 % 3, choice / 128 % 2};
    const uint32_t priority = choice / 64 % 8 == 7 ? 9000 : choice / 64 % 8;
    const uint32_t waiter = choice / 64 % 5;
    switch (choice % 24) {
      case 0: case 1: case 2:
        static_cast<void>(queue.try_send(seat, priority, buffer.first(choice / 512 % 65), after));
        break;
      case 3: case 4: case 5:
        check_size(queue.try_receive(seat, room().first(kRooms[choice / 512 % 3]), after));
        break;
      case 6:
        static_cast<void>(queue.front(after));
        break;
      case 7:
        if (const auto index = queue.wait_to_receive(seat, choice / 512, kReceives, 1, after); index.ok()) {
          static_cast<void>(queue.fall_asleep(*index));
        }
        break;
      case 8:
        static_cast<void>(queue.wait_to_send(seat, priority, buffer, choice / 512, kSends, 1, after));
        break;
      case 9:
        static_cast<void>(queue.cancel_wait(waiter, after));
        break;
      case 10:
        check_size(queue.finish_receive(seat, waiter, room()));
        break;
      case 11:
        queue.finish_wait(seat, waiter);
        break;
      case 12:
        static_cast<void>(queue.handed_over(waiter));
        break;
      case 13:
        static_cast<void>(queue.give_back(seat, {priority, 64, 1 + choice / 512 % 50}, buffer, after));
        break;
      case 14:
        static_cast<void>(queue.reserve_place(after));
        break;
      case 15:
        static_cast<void>(queue.send_reserved(seat, priority, buffer, after));
        break;
      case 16:
        static_cast<void>(queue.drop_reserved(after));
        break;
      case 17:
        static_cast<void>(queue.bury(seat, 1 + choice / 512 % 4, after));
        break;
      case 18:
        static_cast<void>(queue.reclaim());
        break;
      case 19: {
        PeekPosition position{choice / 32 % 2 == 0 ? kPriorities : priority, choice / 512 % 64, choice / 4096};
        for (int looks = 0; looks < 8; ++looks) {
          if (!queue.peek(position, choice / 512 % 80, buffer, after)) break;
        }
        break;
      }
      case 20:
        static_cast<void>(queue.verify());
        break;
      case 21:
        static_cast<void>(queue.join(5 + choice / 512 % 3, 1));
        static_cast<void>(queue.payload_bytes());
        static_cast<void>(queue.waiters());
        queue.wake_served();
        break;
      case 22:
        static_cast<void>(queue.wait_for_place(seat, 1, 1, after));
        break;
      default:
        static_cast<void>(queue.change_flags(kPoll | kNotify, 0, after));
        queue.leave(6);
        break;
    }
  }

 private:
  /// More than a message may have: what is read beyond one is another's, in the segment or behind it.
  static constexpr size_t kRooms[] = {64, 8, 4096};
  static std::span<std::byte> room() {
    static std::byte bytes[4096];
    return bytes;
  }
  void check_size(const Result<MessageInfo>& received) const {
    MQUEUEFS_CHECK(!received || received->size <= attributes_.msgsize);
  }

  static constexpr size_t kGuard = 1 << 20;

  // A queue in which most kinds of things are.
  void begin() {
    const SharedQueue queue = this->queue();
    queue.initialize();
    Aftermath after;
    uint64_t words[8] = {};
    const auto message = std::as_bytes(std::span(words));
    for (uint32_t member = 0; member < 3; ++member) static_cast<void>(queue.join(member + 1, 1));
    const Seat owner{0, 0};
    for (const uint32_t priority : {5, 5, 3, 3, 70, 1}) static_cast<void>(queue.try_send(owner, priority, message, after));
    const auto taken = queue.try_receive(owner, std::as_writable_bytes(std::span(words)), after);
    if (taken.ok()) static_cast<void>(queue.give_back(owner, *taken, message, after));
    static_cast<void>(queue.try_send(owner, 5, message, after));
    static_cast<void>(queue.try_send(owner, 5, message, after));
    for (uint32_t rank = 0; rank < 2; ++rank) {
      static_cast<void>(queue.wait_to_send({1, 0}, 4, message, rank, kSends, 1, after));
    }
  }

  QueueAttributes attributes_;
  Format queue_format_ = Format::of(attributes_);
  size_t size_;
  std::byte* base_;
  std::vector<std::byte> image_;
};

}  // namespace mqueuefs::testing
