// Which segments are mapped: at most so many at a time, the least recently used ones go.
//
// vm.max_map_count (65,530 by default) bounds the mappings of a process, and a large queue's takes much
// address space; a daemon with very many queues must not fail because of either.
#pragma once

#include <cstdint>
#include <list>
#include <optional>

#include "segment/segment_memory.h"

namespace mqueuefs::ipc {

class SegmentSlot;

/// The list of mapped segments in order of use. Must outlive its slots.
class MappedSegments {
 public:
  explicit MappedSegments(uint32_t most_mapped = 32000, uint64_t most_bytes = uint64_t{32} << 40)
      : most_mapped_(most_mapped), most_bytes_(most_bytes) {}
  uint32_t mapped() const { return static_cast<uint32_t>(slots_.size()); }

 private:
  friend class SegmentSlot;
  const uint32_t most_mapped_;
  const uint64_t most_bytes_;
  uint64_t bytes_ = 0;
  std::list<SegmentSlot*> slots_;  // front: used last
};

/// A place for one queue's segment, which knows whether it is mapped.
class SegmentSlot {
 public:
  explicit SegmentSlot(MappedSegments& mapped) : mapped_(mapped) {}
  SegmentSlot(const SegmentSlot&) = delete;
  SegmentSlot& operator=(const SegmentSlot&) = delete;
  ~SegmentSlot() { drop(); }

  bool made() const { return segment_.has_value(); }
  /// The segment, made if need be (messages are numbered from `version` on), mapped, and marked as used now. Valid until
  /// another one is used. Errors: as SegmentMemory::create and map.
  Result<SharedQueue> use(const QueueAttributes& attributes, uint64_t version);
  /// Once made.
  const SegmentMemory& memory() const { return *segment_; }
  /// Closes the memfd and forgets the messages in it.
  void drop();

 private:
  void forget_mapping();

  MappedSegments& mapped_;
  std::optional<SegmentMemory> segment_;
  std::list<SegmentSlot*>::iterator place_;
  uint64_t bytes_ = 0;  // of address space; 0: not mapped
};

}  // namespace mqueuefs::ipc
