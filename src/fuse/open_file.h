// The open files of a session: what the kernel calls a file handle (fi->fh).
//
// A handle is a number and not an address, so that a successor of this daemon could be given the table, and
// so that a number that makes no sense is an error and not a wild pointer.
#pragma once

#include <fcntl.h>
#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <utility>

#include "ipc/queue_inode.h"

struct fuse_pollhandle;
extern "C" void fuse_pollhandle_destroy(struct fuse_pollhandle*);

namespace mqueuefs::fuse {

struct DestroyPollHandle {
  void operator()(fuse_pollhandle* handle) const { fuse_pollhandle_destroy(handle); }
};
using PollHandle = std::unique_ptr<fuse_pollhandle, DestroyPollHandle>;

/// One open file description of a queue. Access mode 3 is neither readable nor writable (doc/behaviour.md C3).
struct OpenFile {
  OpenFile(std::shared_ptr<ipc::QueueInode> opened, int open_flags)
      : queue(std::move(opened)),
        readable((open_flags & O_ACCMODE) == O_RDONLY || (open_flags & O_ACCMODE) == O_RDWR),
        writable((open_flags & O_ACCMODE) == O_WRONLY || (open_flags & O_ACCMODE) == O_RDWR) {}

  const std::shared_ptr<ipc::QueueInode> queue;
  const bool readable;
  const bool writable;
  bool only_for_mapping = false;  ///< see control::kOnlyForMapping
  pid_t registrant = 0;  ///< who registered a notification through it last; see Session
  PollHandle poll;       ///< who polls it wants to be told once
};

/// Thread rule: the loop's. Addresses of elements are stable.
class OpenFiles {
 public:
  /// The caller has called open_handle() on the queue.
  std::pair<uint64_t, OpenFile*> add(std::shared_ptr<ipc::QueueInode> queue, int open_flags) {
    const uint64_t number = next_++;
    return {number, &files_.try_emplace(number, std::move(queue), open_flags).first->second};
  }
  OpenFile* find(uint64_t number) {
    const auto found = files_.find(number);
    return found == files_.end() ? nullptr : &found->second;
  }
  void remove(uint64_t number) { files_.erase(number); }

  auto begin() { return files_.begin(); }
  auto end() { return files_.end(); }

 private:
  uint64_t next_ = 1;
  std::unordered_map<uint64_t, OpenFile> files_;
};

}  // namespace mqueuefs::fuse
