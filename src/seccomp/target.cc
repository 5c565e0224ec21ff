#include "seccomp/target.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

#include "seccomp/sure_answer.h"

namespace mqueuefs::seccomp {
namespace {

constexpr size_t kMostKnown = 2048;
constexpr size_t kPageBytes = 4096;  // the smallest there is
constexpr int64_t kLately_ns = 60'000'000'000;
constexpr int64_t kTrusted_ns = 1'000'000'000;

int64_t now_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

// A number in /proc/TASK/fdinfo/FD. See proc(5).
Result<uint64_t> info(int task_directory, int descriptor, const char* key, int base) {
  char path[32];
  snprintf(path, sizeof path, "fdinfo/%d", descriptor);
  const UniqueFd file(openat(task_directory, path, O_RDONLY | O_CLOEXEC));
  char text[512] = {};
  if (!file || read(file.get(), text, sizeof text - 1) <= 0) return Error{EBADF, "descriptor"};
  const char* field = strstr(text, key);
  if (field == nullptr) return Error{EBADF, "fdinfo"};
  return strtoull(field + strlen(key), nullptr, base);
}

}  // namespace

Targets::Targets(control::Reactor& reactor, Host& host, std::shared_ptr<const Listener> listener,
                 std::function<void(const Notification&)> again)
    : host_(host),
      shared_listener_(std::move(listener)),
      listener_(*shared_listener_),
      again_(std::move(again)),
      memory_(reactor, [this] { memory_is_back(); }) {}

Result<Targets::Known*> Targets::known(pid_t task) {
  const auto found = known_.find(task);
  if (found != known_.end()) return &found->second;
  if (task <= 0) return Error{ESRCH, "not visible"};
  if (known_.size() >= kMostKnown) known_.clear();
  char path[32];
  snprintf(path, sizeof path, "/proc/%d", task);
  Known opened;
  opened.directory = UniqueFd(open(path, O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!opened.directory) return Error{ESRCH, "open /proc/PID"};
  opened.descriptors = UniqueFd(openat(opened.directory.get(), "fd", O_PATH | O_DIRECTORY | O_CLOEXEC));
  opened.state = UniqueFd(openat(opened.directory.get(), "syscall", O_RDONLY | O_CLOEXEC));
  return &known_.emplace(task, std::move(opened)).first->second;
}

void Targets::note_interrupted(pid_t task) {
  if (const auto at = known(task)) (*at)->interrupted_ns = now_ns();
}

bool Targets::was_interrupted(pid_t task) const {
  const auto at = known_.find(task);
  return at != known_.end() && at->second.interrupted_ns && now_ns() - *at->second.interrupted_ns < kLately_ns;
}

// Only of a task that waits for us: what /proc has of one that is just executing another program may take as long to read
// as a descriptor that is closed by that takes to close.
Targets::Presence Targets::look_at(const Notification& from) {
  if (!listener_.is_valid(from.id)) return Presence::kGone;
  const auto at = known_.find(from.task);
  if (at == known_.end() || !at->second.state) return Presence::kUnknown;
  char text[16] = {};
  if (pread(at->second.state.get(), text, sizeof text - 1, 0) <= 0)
    return errno == ESRCH ? Presence::kStranger : Presence::kUnknown;
  return strncmp(text, "running", 7) == 0 ? Presence::kAwake : Presence::kAsleep;
}

Status Targets::meet(const Notification& from) {
  if (look_at(from) == Presence::kStranger) forget(from.task);
  const auto task = known(from.task);
  return task ? Status() : Status(task.error());
}

// proc(5): the number, six arguments, stack pointer, instruction.
Result<Targets::Position> Targets::position(const Notification& from) {
  const auto task = known(from.task);
  if (!task) return task.error();
  char text[256] = {};
  if (!(*task)->state || pread((*task)->state.get(), text, sizeof text - 1, 0) <= 0) return last_error("syscall");
  const char* const at = strstr(text, "0x");
  if (at == nullptr) return Error{ESRCH, "not asleep"};
  char* end = const_cast<char*>(at);
  for (int argument = 0; argument < 6; ++argument) strtoull(end, &end, 16);
  Position position;
  position.stack = strtoull(end, &end, 16);
  position.instruction = strtoull(end, &end, 16);
  return position;
}

std::shared_ptr<ipc::QueueInode> Targets::remembered(const Notification& from, int descriptor, TargetFile& file) {
  const auto at = known_.find(from.task);
  if (at == known_.end() || !at->second.state) return nullptr;
  for (const Remembered& one : at->second.files) {
    if (one.descriptor != descriptor) continue;
    auto queue = one.queue.lock();
    if (queue == nullptr || queue->descriptor_closes() != one.closes) return nullptr;
    file = one.file;
    return queue;
  }
  return nullptr;
}

void Targets::remember(const Notification& from, int descriptor, const TargetFile& file,
                       const std::shared_ptr<ipc::QueueInode>& queue) {
  const auto at = known_.find(from.task);
  // What the number means is certain only while its task waits for us.
  if (at == known_.end() || !listener_.is_valid(from.id)) return;
  Known& task = at->second;
  Remembered* place = &task.files[task.next];
  for (Remembered& one : task.files) {
    if (one.descriptor == descriptor) place = &one;
  }
  if (place == &task.files[task.next]) task.next = (task.next + 1) % task.files.size();
  *place = {descriptor, file, queue, queue->descriptor_closes()};
}

Result<TargetFile> Targets::file(const Notification& from, int descriptor) {
  char path[16];
  snprintf(path, sizeof path, "%d", descriptor);
  // The second time anew: the directory may be that of an earlier task of the same number.
  for (int attempt = 0; descriptor >= 0 && attempt < 2; ++attempt) {
    const auto task = known(from.task);
    if (!task) break;
    const int at = (*task)->descriptors.get();
    struct statx link {};
    struct statx file {};
    // The link's permissions are the open modes (proc(5)).
    if (statx(at, path, AT_SYMLINK_NOFOLLOW | AT_STATX_DONT_SYNC, STATX_MODE, &link) == 0) {
      TargetFile found;
      found.readable = (link.stx_mode & S_IRUSR) != 0;
      found.writable = (link.stx_mode & S_IWUSR) != 0;
      if (statx(at, path, AT_STATX_DONT_SYNC, STATX_INO, &file) == 0) {
        found.inode = file.stx_ino;
      } else if (errno == EACCES && statx(at, path, AT_STATX_DONT_SYNC, 0, &file) == 0) {
        // A FUSE file system of a user namespace that does not admit us tells the device only.
        const auto inode = info((*task)->directory.get(), descriptor, "ino:", 10);
        if (!inode) return inode.error();
        found.inode = *inode;
      } else {
        return Error{EBADF, "descriptor"};
      }
      found.device_major = file.stx_dev_major;
      found.device_minor = file.stx_dev_minor;
      return found;
    }
    forget(from.task);
  }
  return Error{EBADF, "descriptor"};
}

Result<int> Targets::flags(const Notification& from, int descriptor) {
  const auto task = known(from.task);
  if (!task) return Error{EBADF, "descriptor"};
  const auto flags = info((*task)->directory.get(), descriptor, "flags:", 8);
  if (!flags) return flags.error();
  return static_cast<int>(*flags);
}

bool Targets::is_trusted(pid_t task) {
  const auto at = known(task);
  if (!at) return false;
  const int64_t now = now_ns();
  if (now >= (*at)->trusted_until_ns) {
    (*at)->trusted_until_ns = now + kTrusted_ns;
    (*at)->is_trusted = host_.is_administrator(task);
  }
  return (*at)->is_trusted;
}

Status Targets::note_held_up(const Notification& from, Status access) {
  if (access.code() != EBUSY) return access;
  held_up_ = from.id;
  return Error{EFAULT, "memory"};
}

Status Targets::read(const Notification& from, uint64_t address, std::span<std::byte> bytes) {
  held_up_.reset();
  if (bytes.empty()) return {};
  if (is_trusted(from.task)) return read_memory(from.task, address, bytes);
  return note_held_up(from, memory_.read(from.task, address, bytes));
}

bool Targets::fail(const Notification& from, int error) {
  if (error != EFAULT || held_up_ != from.id) return listener_.fail(from.id, error);
  held_up_.reset();
  // A task makes one call at a time: of an earlier one a signal has made an end.
  std::erase_if(to_come_, [&from](const Notification& earlier) { return earlier.task == from.task; });
  to_come_.push_back(from);
  return false;
}

void Targets::memory_is_back() {
  for (const Notification& call : std::exchange(to_come_, {})) {
    if (listener_.is_valid(call.id)) again_(call);
  }
}

Result<std::string> Targets::read_string(const Notification& from, uint64_t address, size_t limit) {
  std::string text;
  while (text.size() < limit) {
    // Not over the end of a page, behind which there may be nothing.
    std::array<char, 256> piece;
    const uint64_t at = address + text.size();
    const size_t size = std::min({limit - text.size(), piece.size(), kPageBytes - at % kPageBytes});
    if (const Status got = read(from, at, std::as_writable_bytes(std::span(piece).first(size))); !got) {
      return got.error();
    }
    const size_t length = strnlen(piece.data(), size);
    text.append(piece.data(), length);
    if (length < size) return text;
  }
  return Error{ENAMETOOLONG, "string"};
}

Status Targets::write(const Notification& from, std::span<const Piece> pieces) {
  // Whose number it is: the caller's still, while he waits.
  held_up_.reset();
  const Presence presence = look_at(from);
  if (presence == Presence::kStranger) return Error{ESTALE, "task"};
  if (presence == Presence::kGone) return Error{ENOENT, "notification"};
  if (is_trusted(from.task)) return write_memory(from.task, pieces);
  const auto is_there = [listener = shared_listener_, id = from.id] { return listener->is_valid(id); };
  return note_held_up(from, memory_.write(from.task, pieces, is_there));
}

Status Targets::answer(const Notification& from, int64_t value) {
  const Presence presence = look_at(from);
  if (presence == Presence::kStranger) return Error{ESTALE, "task"};
  if (presence == Presence::kGone) {
    note_interrupted(from.task);
    return Error{ENOENT, "notification"};
  }
  // Being sure costs more than all the rest. A task that was never interrupted, and sleeps, will hardly be so in the next
  // microsecond.
  const bool is_sure = presence != Presence::kAsleep || was_interrupted(from.task)
                           ? answer_surely(listener_, from.id, from.task, value)
                           : listener_.answer(from.id, value, 0);
  if (is_sure) return {};
  note_interrupted(from.task);
  return Error{ENOENT, "notification"};
}

Status Targets::write_and_answer(const Notification& from, std::span<const Piece> pieces, int64_t value) {
  const Status written = write(from, pieces);
  return written ? answer(from, value) : written;
}

}  // namespace mqueuefs::seccomp
