// One FUSE connection: a superblock of the kernel's that shows an ipc::Superblock, or a tree of text.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"
#include "fuse/text_tree.h"
#include "ipc/held_queue.h"
#include "ipc/superblock.h"

namespace mqueuefs::fuse {

/// What the front door needs from the rest of the daemon. None of these blocks.
class Services {
 public:
  virtual ~Services() = default;

  /// The control connection that calls itself `id`, or null.
  virtual ipc::Channel* find_channel(uint64_t id) = 0;

  /// What `task` announced for the file that it is creating as `name` (DESIGN: the client announces just
  /// before). Whatever it had announced is dropped, matching or not.
  virtual std::optional<ipc::AnnouncedCreation> take_announcement(ipc::TaskId task, std::string_view name) = 0;

  /// Whether what `task` unlinks under `name` may have to come back: then note_unlinked() follows.
  virtual bool is_undoable(ipc::TaskId task, std::string_view name) = 0;
  virtual void note_unlinked(ipc::TaskId task, std::shared_ptr<ipc::HeldQueue> queue) = 0;

  /// A queue could not be created: for the log, if that was for a limit.
  virtual void note_refused_creation(ipc::Superblock& superblock, const ipc::Creator& creator, const Error& error) = 0;

  /// Whether `task` may unlink `name`, rights apart: EBUSY, ENOENT if it wanted to do so only with a queue that nobody
  /// holds.
  virtual Status check_unlink(ipc::TaskId task, ipc::Superblock& superblock, std::string_view name) = 0;

  /// Lets the connection `channel`, if that is the caller's own, hear of each message. ENOTCONN, EPERM: as
  /// send_mapping; EMFILE: the queue has as many tracers as it may; ENOMEM.
  virtual Status start_trace(uint64_t channel, ipc::TaskId caller, ipc::QueueInode& queue, uint32_t payload_bytes) = 0;

  /// To be asked before a superblock is: makes sure that a namespace whose last task is gone is freed. EOVERFLOW:
  /// the user namespace that owns it has no name for the creator's ids (doc/behaviour.md C5).
  virtual Status check_creation(ipc::Superblock& superblock, const ipc::Creator& creator) = 0;

  /// Sends what it needs to map `queue` to the connection `channel`, if that is the caller's own. ENOTCONN: there is no
  /// such connection; EPERM: it is another's; ESRCH, and as QueueInode::map_for.
  virtual Status send_mapping(uint64_t channel, ipc::TaskId caller, ipc::QueueInode& queue) = 0;

  /// Where a notification for `process` will go. `channel` is the control connection named for SIGEV_THREAD.
  virtual std::unique_ptr<ipc::NotificationTarget> make_notification_target(pid_t process, int type,
                                                                            int signo, uint64_t value,
                                                                            uint64_t channel) = 0;
};

/// Of the libfuse that is loaded: "3.14.0".
std::string library_version();

/// Whether the kernel may keep names, attributes and the directory without asking: only where no other
/// session shows the same superblock.
enum class Caching { kOn, kOff };

struct SessionCounters {
  uint64_t requests = 0;  ///< of any kind
  uint64_t lookups = 0;
  uint64_t getattrs = 0;
};

/// Thread rule: the loop's. Owns /dev/fuse and the open handles of its kernel superblock; when the connection
/// ends (unmounted everywhere, or umount -f) all of them are closed as if by their owners.
class Session {
 public:
  /// `fuse_device` is a /dev/fuse that is mounted already. EMFILE, ENOMEM, or what libfuse makes of it (EIO).
  static Result<std::unique_ptr<Session>> create(UniqueFd fuse_device,
                                                 std::shared_ptr<ipc::Superblock> superblock,
                                                 Services& services, Caching caching);
  /// The same for text.
  static Result<std::unique_ptr<Session>> create(UniqueFd fuse_device, std::unique_ptr<TextTree> tree);
  virtual ~Session() = default;

  /// To be polled for input; non-blocking.
  virtual int device() const = 0;

  /// Answers the next request, if there is one. Never blocks. False: the kernel's superblock has ended;
  /// destroy the session.
  virtual bool process() = 0;

  /// The queue that the kernel knows by this inode (what st_ino says), or null.
  virtual std::shared_ptr<ipc::QueueInode> find_queue(uint64_t) { return nullptr; }
  virtual SessionCounters counters() const = 0;
};

}  // namespace mqueuefs::fuse
