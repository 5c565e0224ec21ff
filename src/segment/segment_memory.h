// The memory of one queue: a sealed memfd and its mapping.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/result.h"
#include "base/unique_fd.h"
#include "segment/attributes.h"
#include "segment/shared_queue.h"

namespace mqueuefs {

/// Resource type: owns the memfd and, while mapped, the mapping. Thread rule: one thread at a time; what queue()
/// returns may be used by all while it is mapped.
class SegmentMemory {
 public:
  /// Makes the memfd (sealed against any change of size) for an empty queue and maps it. Costs only the pages that it
  /// touches, whatever the attributes. Messages are numbered from `version` on. EINVAL: attributes out of range.
  /// ENOMEM, EMFILE, ENFILE: as memfd_create(2) and mmap(2).
  static Result<SegmentMemory> create(QueueAttributes attributes, uint64_t version = 0);

  /// Takes over a memfd that another process, or an earlier daemon, made. EUCLEAN: not such a segment, or not with these
  /// attributes, or not sealed, or dead. Does not look at the messages: see SharedQueue::verify().
  static Result<SegmentMemory> attach(UniqueFd memfd, QueueAttributes attributes);

  SegmentMemory(SegmentMemory&& other) noexcept;
  SegmentMemory& operator=(SegmentMemory&& other) noexcept;
  ~SegmentMemory();

  /// Gives the address space back; the memfd and the messages stay. No-op if not mapped.
  void unmap();
  /// Maps again after unmap(). No-op if mapped. ENOMEM: as mmap(2).
  Status map();
  bool mapped() const { return base_ != nullptr; }

  /// While mapped.
  SharedQueue queue() const { return SharedQueue(attributes_, base_); }
  std::byte* base() const { return base_; }
  /// The mapping stays, and is the caller's now; the memfd is closed.
  std::byte* release();

  int memfd() const { return memfd_.get(); }
  QueueAttributes attributes() const { return attributes_; }
  uint64_t size() const { return Format::of(attributes_).size; }

  /// Bytes of memory that the memfd occupies now (fstat's st_blocks).
  uint64_t memory_bytes() const;

 private:
  SegmentMemory(UniqueFd memfd, QueueAttributes attributes);

  UniqueFd memfd_;
  // Private copies: what the memory says about its own size is never believed.
  QueueAttributes attributes_;
  std::byte* base_ = nullptr;
};

}  // namespace mqueuefs
