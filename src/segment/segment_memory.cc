// The life of a segment's memory: the memfd, its seals, the mapping, and what is accepted from others.
#include "segment/segment_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <utility>

#include "base/check.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U  // Linux 6.3
#endif

namespace mqueuefs {
namespace {

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

}  // namespace

SegmentMemory::SegmentMemory(UniqueFd memfd, QueueAttributes attributes)
    : memfd_(std::move(memfd)), attributes_(attributes) {}

SegmentMemory::SegmentMemory(SegmentMemory&& other) noexcept
    : memfd_(std::move(other.memfd_)),
      attributes_(other.attributes_),
      base_(std::exchange(other.base_, nullptr)) {}

SegmentMemory& SegmentMemory::operator=(SegmentMemory&& other) noexcept {
  if (this == &other) return *this;
  unmap();
  memfd_ = std::move(other.memfd_);
  attributes_ = other.attributes_;
  base_ = std::exchange(other.base_, nullptr);
  return *this;
}

SegmentMemory::~SegmentMemory() { unmap(); }

Result<SegmentMemory> SegmentMemory::create(QueueAttributes attributes, uint64_t version) {
  if (!Format::in_range(attributes)) return Error{EINVAL, "segment: attributes"};
  Result<UniqueFd> memfd = make_memfd();
  if (!memfd) return memfd.error();
  SegmentMemory memory(std::move(*memfd), attributes);
  if (ftruncate(memory.memfd(), static_cast<off_t>(memory.size())) != 0) return last_error("ftruncate");
  if (fcntl(memory.memfd(), F_ADD_SEALS, kSizeSeals) != 0) return last_error("F_ADD_SEALS");
  if (const Status mapped = memory.map(); !mapped) return mapped.error();
  memory.queue().initialize(version);
  return memory;
}

Result<SegmentMemory> SegmentMemory::attach(UniqueFd memfd, QueueAttributes attributes) {
  if (!Format::in_range(attributes)) return Error{EUCLEAN, "segment: attributes"};
  if (!is_sealed_memory(memfd.get(), Format::of(attributes).size)) {
    return Error{EUCLEAN, "segment: not sealed memory"};
  }
  if (!is_writable_memory(memfd.get())) return Error{EUCLEAN, "segment: not writable"};
  SegmentMemory memory(std::move(memfd), attributes);
  if (const Status mapped = memory.map(); !mapped) return mapped.error();
  if (const Status identity = memory.queue().check_identity(); !identity) return identity.error();
  if (memory.queue().dead()) return Error{EUCLEAN, "segment: dead"};
  return memory;
}

void SegmentMemory::unmap() {
  if (base_ == nullptr) return;
  MQUEUEFS_CHECK(munmap(base_, size()) == 0);
  base_ = nullptr;
}

Status SegmentMemory::map() {
  if (base_ != nullptr) return {};
  if (size() > SIZE_MAX) return Error{ENOMEM, "mmap"};
  void* const address = mmap(nullptr, size(), PROT_READ | PROT_WRITE, MAP_SHARED, memfd_.get(), 0);
  if (address == MAP_FAILED) return last_error("mmap");
  base_ = static_cast<std::byte*>(address);
  return {};
}

std::byte* SegmentMemory::release() {
  memfd_.reset();
  return std::exchange(base_, nullptr);
}

uint64_t SegmentMemory::memory_bytes() const {
  struct stat status {};
  MQUEUEFS_CHECK(fstat(memfd_.get(), &status) == 0);
  return static_cast<uint64_t>(status.st_blocks) * 512;
}

}  // namespace mqueuefs
