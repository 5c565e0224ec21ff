#include "ipc/mapped_segments.h"

#include <utility>

namespace mqueuefs::ipc {

Result<SharedQueue> SegmentSlot::use(const QueueAttributes& attributes, uint64_t version) {
  if (segment_ && bytes_ != 0) {
    if (place_ != mapped_.slots_.begin()) mapped_.slots_.splice(mapped_.slots_.begin(), mapped_.slots_, place_);
    return segment_->queue();
  }
  const uint64_t needed = Format::of(attributes).size;
  while (!mapped_.slots_.empty() &&
         (mapped_.slots_.size() >= mapped_.most_mapped_ || mapped_.bytes_ + needed > mapped_.most_bytes_)) {
    SegmentSlot& oldest = *mapped_.slots_.back();
    oldest.segment_->unmap();
    oldest.forget_mapping();
  }
  if (segment_) {
    if (const Status mapped = segment_->map(); !mapped) return mapped.error();
  } else {
    auto made = SegmentMemory::create(attributes, version);
    if (!made) return made.error();
    segment_.emplace(std::move(*made));
  }
  mapped_.slots_.push_front(this);
  place_ = mapped_.slots_.begin();
  bytes_ = needed;
  mapped_.bytes_ += needed;
  return segment_->queue();
}

void SegmentSlot::drop() {
  forget_mapping();
  segment_.reset();
}

void SegmentSlot::forget_mapping() {
  if (bytes_ == 0) return;
  mapped_.slots_.erase(place_);
  mapped_.bytes_ -= bytes_;
  bytes_ = 0;
}

}  // namespace mqueuefs::ipc
