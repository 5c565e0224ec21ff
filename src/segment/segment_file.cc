// The life of a segment: the memfd, its seals, the mapping, and what is accepted from others.

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>

#include <algorithm>
#include <utility>

#include "segment/queue_segment.h"
#include "segment/slot_pool.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U  // Linux 6.3
#endif

namespace mqueuefs {
namespace {

constexpr uint64_t kTrimAboveBytes = uint64_t{256} * 1024;  // an empty queue holding more is trimmed
constexpr uint64_t kRetainedBytes = uint64_t{64} * 1024;    // of payload memory; less, so that it is worth it
constexpr int64_t kTrimIntervalNs = 1'000'000'000;
constexpr int kSizeSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
constexpr decltype(std::declval<struct statfs>().f_type) kTmpfsMagic = 0x01021994;

Result<UniqueFd> make_memfd() {
  // Shown in /proc/PID/maps and fd. Kernels before 6.3 answer EINVAL to a flag that they don't know.
  int fd = memfd_create("mqueuefs-queue", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
  if (fd < 0 && errno == EINVAL) fd = memfd_create("mqueuefs-queue", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0) return last_error("memfd_create");
  return UniqueFd(fd);
}

// Whether touching the mapping of `fd` can never be a SIGBUS because of its maker: its size is right and
// sealed, and its pages are ordinary ones (a hugetlb memfd faults when the pool runs dry).
bool is_sealed_memory(int fd, uint64_t size) {
  const int seals = fcntl(fd, F_GET_SEALS);
  if (seals < 0 || (seals & kSizeSeals) != kSizeSeals) return false;
  struct statfs file_system {};
  if (fstatfs(fd, &file_system) != 0 || file_system.f_type != kTmpfsMagic) return false;
  struct stat status {};
  if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) return false;
  return static_cast<uint64_t>(status.st_size) == size;
}

// A write seal or a read-only descriptor would show as EPERM or EACCES of mmap.
bool is_writable_memory(int fd) {
  const int seals = fcntl(fd, F_GET_SEALS);
  constexpr int kFutureWrite = 0x0010;  // F_SEAL_FUTURE_WRITE, Linux 5.1
  return (seals & (F_SEAL_WRITE | kFutureWrite)) == 0 && (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDWR;
}

// Both page-aligned. If it fails the memory just stays.
void punch_out(int fd, uint64_t begin, uint64_t end) {
  if (begin >= end) return;
  static_cast<void>(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(begin),
                              static_cast<off_t>(end - begin)));
}

}  // namespace

QueueSegment::QueueSegment(UniqueFd memfd, QueueAttributes attributes)
    : memfd_(std::move(memfd)), attributes_(attributes), layout_(Layout::of(attributes)) {}

QueueSegment::QueueSegment(QueueSegment&& other) noexcept
    : memfd_(std::move(other.memfd_)),
      attributes_(other.attributes_),
      layout_(other.layout_),
      base_(std::exchange(other.base_, nullptr)),
      received_bytes_(other.received_bytes_),
      trimmed_at_ns_(other.trimmed_at_ns_),
      dead_(other.dead_) {}

QueueSegment& QueueSegment::operator=(QueueSegment&& other) noexcept {
  if (this == &other) return *this;
  unmap();
  memfd_ = std::move(other.memfd_);
  attributes_ = other.attributes_;
  layout_ = other.layout_;
  base_ = std::exchange(other.base_, nullptr);
  received_bytes_ = other.received_bytes_;
  trimmed_at_ns_ = other.trimmed_at_ns_;
  dead_ = other.dead_;
  return *this;
}

QueueSegment::~QueueSegment() {
  unmap();
}

Result<QueueSegment> QueueSegment::create(QueueAttributes attributes) {
  if (!Layout::in_range(attributes)) return Error{EINVAL, "segment: attributes"};
  Result<UniqueFd> memfd = make_memfd();
  if (!memfd) return memfd.error();
  QueueSegment segment(std::move(*memfd), attributes);
  const Layout& layout = segment.layout_;
  if (ftruncate(segment.memfd(), static_cast<off_t>(layout.size)) != 0) return last_error("ftruncate");
  if (fcntl(segment.memfd(), F_ADD_SEALS, kSizeSeals) != 0) return last_error("F_ADD_SEALS");
  if (Status mapped = segment.map(); !mapped) return mapped.error();

  Header& header = segment.view().header();
  store(header.version, kSegmentVersion);
  store(header.maxmsg, attributes.maxmsg);
  store(header.msgsize, attributes.msgsize);
  store(header.slots, layout.slots);
  store(header.priorities, kPriorities);
  store(header.payload_stride, layout.payload_stride);
  store(header.leaf_offset, layout.leaf_offset);
  store(header.priority_offset, layout.priority_offset);
  store(header.slot_offset, layout.slot_offset);
  store(header.payload_offset, layout.payload_offset);
  store(header.size, layout.size);
  // Last: who dies on the way leaves something that nobody takes for a segment.
  header.magic.store(kSegmentMagic, std::memory_order_release);
  return segment;
}

Result<QueueSegment> QueueSegment::attach(UniqueFd memfd, QueueAttributes attributes) {
  if (!Layout::in_range(attributes)) return Error{EUCLEAN, "segment: attributes"};
  if (!is_sealed_memory(memfd.get(), Layout::of(attributes).size))
    return Error{EUCLEAN, "segment: not sealed memory"};
  if (!is_writable_memory(memfd.get())) return Error{EUCLEAN, "segment: not writable"};
  QueueSegment segment(std::move(memfd), attributes);
  if (Status mapped = segment.map(); !mapped) return mapped.error();
  if (Status identity = segment.check_identity(); !identity) return identity.error();
  if (segment.dead()) return Error{EUCLEAN, "segment: dead"};
  return segment;
}

Status QueueSegment::check_identity() const {
  const Header& header = view().header();
  const bool same =
      header.magic.load(std::memory_order_acquire) == kSegmentMagic &&
      load_once(header.version) == kSegmentVersion && load_once(header.maxmsg) == attributes_.maxmsg &&
      load_once(header.msgsize) == attributes_.msgsize && load_once(header.slots) == layout_.slots &&
      load_once(header.priorities) == kPriorities &&
      load_once(header.payload_stride) == layout_.payload_stride &&
      load_once(header.leaf_offset) == layout_.leaf_offset &&
      load_once(header.priority_offset) == layout_.priority_offset &&
      load_once(header.slot_offset) == layout_.slot_offset &&
      load_once(header.payload_offset) == layout_.payload_offset && load_once(header.size) == layout_.size;
  if (!same) return Error{EUCLEAN, "segment: identity"};
  return {};
}

void QueueSegment::unmap() {
  if (base_ == nullptr) return;
  MQUEUEFS_CHECK(munmap(base_, layout_.size) == 0);
  base_ = nullptr;
}

Status QueueSegment::map() {
  if (base_ != nullptr) return {};
  if (layout_.size > SIZE_MAX) return Error{ENOMEM, "mmap"};
  void* const address = mmap(nullptr, layout_.size, PROT_READ | PROT_WRITE, MAP_SHARED, memfd_.get(), 0);
  if (address == MAP_FAILED) return last_error("mmap");
  base_ = static_cast<std::byte*>(address);
  return {};
}

bool QueueSegment::mapped() const {
  return base_ != nullptr;
}
int QueueSegment::memfd() const {
  return memfd_.get();
}
QueueAttributes QueueSegment::attributes() const {
  return attributes_;
}

uint64_t QueueSegment::memory_bytes() const {
  struct stat status {};
  MQUEUEFS_CHECK(fstat(memfd_.get(), &status) == 0);
  return static_cast<uint64_t>(status.st_blocks) * 512;
}

// The queue just became empty, and enough was received to make a look at what the file holds worth while.
//
// A page that comes back costs some microseconds (fault, zeroing), as much as ten messages. So a queue that
// fills and drains all the time is trimmed once a second only, and the owner's timer sees to the last time.
void QueueSegment::trim_if_due() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  const int64_t now_ns = now.tv_sec * 1'000'000'000LL + now.tv_nsec;
  if (trimmed_at_ns_ != 0 && now_ns - trimmed_at_ns_ < kTrimIntervalNs) return;
  if (trim()) trimmed_at_ns_ = now_ns;
}

bool QueueSegment::trim() {
  if (messages() != 0 || dead()) return false;
  received_bytes_ = 0;
  if (memory_bytes() <= kTrimAboveBytes) return false;
  SlotPool(view()).reset();
  const uint64_t retained_slots = std::max<uint64_t>(kRetainedBytes / layout_.payload_stride, 1);
  const uint64_t retained_cells =
      (retained_slots * sizeof(SlotCell) + kSegmentPage - 1) / kSegmentPage * kSegmentPage;
  punch_out(memfd_.get(), layout_.priority_offset, layout_.slot_offset);
  punch_out(memfd_.get(), layout_.slot_offset + retained_cells, layout_.payload_offset);
  punch_out(memfd_.get(), layout_.payload_offset + kRetainedBytes, layout_.size);
  return true;
}

}  // namespace mqueuefs
