// One queue's messages in a sealed memfd.
//
// Format, invariants and the algorithm: man/mqueuefs-segment.5 and layout.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/result.h"
#include "base/unique_fd.h"
#include "segment/attributes.h"
#include "segment/layout.h"
#include "segment/segment_view.h"

namespace mqueuefs {

/// A message without its payload. Higher priority first, then lower sequence first, is the order of receipt.
struct MessageInfo {
  uint32_t priority = 0;
  uint32_t size = 0;      ///< bytes
  uint64_t sequence = 0;  ///< order of arrival in this queue, from 1
};

/// Where a walk over the queue stands; see QueueSegment::peek.
struct PeekPosition {
  uint32_t priority = kPriorities;  ///< kPriorities: before the first message
  uint64_t sequence = 0;
  uint32_t slot_hint = 0;  ///< lets the walk go on in O(1); never trusted
};

/// A queue of messages in shared memory: stores, orders, checks; decides nothing about waiting or rights.
///
/// Thread rule: one thread at a time. Resource type: owns the memfd and, while mapped, the mapping.
/// The contents are input: every function validates what it reads and answers EUCLEAN, after marking the
/// segment dead for all its users, when the memory contradicts itself. None blocks. While not mapped, only
/// map(), memfd(), attributes() and memory_bytes() may be called.
///
/// If the process dies inside an operation the segment may contradict itself, and then its next user finds it
/// so.
class QueueSegment {
 public:
  /// Makes the memfd (sealed against any change of size) for an empty queue and maps it.
  /// Costs only the pages that it touches, whatever the attributes. EINVAL: attributes out of range.
  /// ENOMEM, EMFILE, ENFILE: as memfd_create(2) and mmap(2).
  static Result<QueueSegment> create(QueueAttributes attributes);

  /// Takes over a memfd that another process, or an earlier daemon, made. EUCLEAN: not such a segment, or
  /// not with these attributes, or not sealed, or dead. Does not look at the messages: see verify().
  static Result<QueueSegment> attach(UniqueFd memfd, QueueAttributes attributes);

  QueueSegment(QueueSegment&& other) noexcept;
  QueueSegment& operator=(QueueSegment&& other) noexcept;
  ~QueueSegment();

  /// Gives the address space back; the memfd and the messages stay. No-op if not mapped.
  void unmap();
  /// Maps again after unmap(). No-op if mapped. ENOMEM: as mmap(2).
  Status map();
  bool mapped() const;

  int memfd() const;
  QueueAttributes attributes() const;

  /// Queued messages and the sum of their payload bytes. 0 if the segment is dead. Needs the mapping.
  uint32_t messages() const;
  uint64_t payload_bytes() const;

  /// Appends a message behind those of its priority. Never blocks.
  /// EINVAL: priority out of range. EMSGSIZE: longer than msgsize. EAGAIN: maxmsg messages are there.
  Result<MessageInfo> try_send(uint32_t priority, std::span<const std::byte> payload);

  /// Uses up a sequence number for a message that never enters the queue (a hand-over to a waiter).
  /// 0: the segment is dead.
  uint64_t take_sequence();

  /// The message that try_receive would take. EAGAIN: none.
  Result<MessageInfo> front() const;

  /// Takes the oldest message of the highest priority into `buffer`. Never blocks.
  /// EAGAIN: the queue is empty. EMSGSIZE: `buffer` is shorter than that message; nothing is taken.
  Result<MessageInfo> try_receive(std::span<std::byte> buffer);

  /// Puts a message that was taken (or handed over) back to its place: before every message of its priority
  /// with a higher sequence. May exceed maxmsg by kSpareSlots messages. Also fills an empty queue with the
  /// messages of another one, sequences included: later ones are numbered from the highest on. O(1) at either
  /// end of its priority, otherwise O(older messages of that priority). EAGAIN: the spare slots are used up
  /// too. EMSGSIZE: longer than msgsize. EINVAL: such a message is there, or priority or sequence are out of
  /// range, or the size is not the payload's.
  Status put_back(const MessageInfo& info, std::span<const std::byte> payload);

  /// Copies the message that follows `position` in the order of receipt, without taking it, and advances
  /// `position`. `buffer` gets payload bytes from `offset` on, as many as fit. EAGAIN: no more messages.
  /// EINVAL: the position's priority is out of range.
  /// O(1) for a walk over a queue that does not change. A message that was sent or put back before the
  /// position meanwhile is not seen; one that was taken meanwhile is skipped.
  Result<MessageInfo> peek(PeekPosition& position, uint32_t offset, std::span<std::byte> buffer) const;

  /// Checks every invariant of the format. O(messages, and slots used so far). EUCLEAN: one does not hold.
  Status verify() const;

  /// Bytes of memory that the memfd occupies now (fstat's st_blocks).
  uint64_t memory_bytes() const;

  /// Gives the memory that an empty queue does not need back to the system. True: it was more than 256 KiB,
  /// and less than 128 KiB is left. A no-op if messages are there. Needs the mapping. try_receive does the
  /// same when the queue becomes empty, but not within a second after the last time: an owner of many queues
  /// calls this for those that stay empty.
  bool trim();

 private:
  struct Message;  // a checked copy of a slot's words
  struct Place {   // between which slots of a list a message belongs; kNoSlot: at that end
    uint32_t previous = kNoSlot;
    uint32_t next = kNoSlot;
  };

  QueueSegment(UniqueFd memfd, QueueAttributes attributes);

  SegmentView view() const { return SegmentView(layout_, base_); }
  Status check_identity() const;
  bool dead() const;
  Error fail(Error error) const;
  Result<Message> read_message(uint32_t slot, uint32_t priority) const;
  Result<Message> first_message() const;
  Result<Message> message_after(const PeekPosition& position) const;
  Result<Message> head_of(uint32_t priority) const;
  Result<Message> first_below(uint32_t priority) const;
  Result<Place> place_of(const MessageInfo& info) const;
  Status insert(const MessageInfo& info, Place place, std::span<const std::byte> payload);
  Status remove_head(const Message& message);
  Status verify_contents() const;
  void trim_if_due();

  UniqueFd memfd_;
  // Private copies: what the memory says about its own size is never believed.
  QueueAttributes attributes_;
  Layout layout_;
  std::byte* base_ = nullptr;
  uint64_t received_bytes_ = 0;  // since the last look at how much memory is held; see trim()
  int64_t trimmed_at_ns_ = 0;    // CLOCK_MONOTONIC, 0: never
  mutable bool dead_ = false;
};

}  // namespace mqueuefs
