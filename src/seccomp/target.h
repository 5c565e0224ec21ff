// A look at the task behind a notification: its memory, its descriptors. Nothing is fetched from it.
//
// Everything found here was written by the target, or by a thread that shares its memory and changes it between
// two looks: it is read once and the copy is used. The task may have ended, and its number be another's: what was
// *read* is proved by an answer that is accepted afterwards (Listener::answer); before something is *written* the notification
// is looked at once more.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "ipc/queue_inode.h"
#include "seccomp/foreign_memory.h"
#include "seccomp/host.h"
#include "seccomp/listener.h"

namespace mqueuefs::seccomp {

/// What /proc says of a descriptor of a task. See proc(5).
struct TargetFile {
  uint32_t device_major = 0;
  uint32_t device_minor = 0;
  uint64_t inode = 0;
  bool readable = false;
  bool writable = false;
};

/// Thread rule: the loop's. One for each listener.
class Targets {
 public:
  /// `again` serves a call anew.
  Targets(control::Reactor& reactor, Host& host, std::shared_ptr<const Listener> listener,
          std::function<void(const Notification&)> again);

  /// What file() and flags() have found before, while it is certain to hold: closing any descriptor of a queue is
  /// told to its file system before close(2) returns. Null: look. The answer tells whether the task is the one that
  /// was looked at (answer(), write(): kStranger).
  std::shared_ptr<ipc::QueueInode> remembered(const Notification& from, int descriptor, TargetFile& file);
  void remember(const Notification& from, int descriptor, const TargetFile& file,
                const std::shared_ptr<ipc::QueueInode>& queue);
  /// The task that is known by the caller's number has ended: this is another.
  bool is_stranger(const Notification& from) { return look_at(from) == Presence::kStranger; }
  /// From now on answer() and write() know this very task. ESRCH: it is gone.
  Status meet(const Notification& from);
  /// Where in its program the caller is: asleep in the call.
  struct Position {
    uint64_t stack = 0;
    uint64_t instruction = 0;  ///< behind that of the call

    bool operator==(const Position&) const = default;
  };
  /// ESRCH: it is gone, or does not sleep.
  Result<Position> position(const Notification& from);
  /// Forgets all about the task.
  void forget(pid_t task) { known_.erase(task); }

  /// EBADF: no such descriptor, or the task is gone. Sends no request to a file system.
  Result<TargetFile> file(const Notification& from, int descriptor);
  /// The open file description's flags, O_NONBLOCK among them. EBADF.
  Result<int> flags(const Notification& from, int descriptor);

  /// Reads all of `bytes`. EFAULT: see fail().
  Status read(const Notification& from, uint64_t address, std::span<std::byte> bytes);
  template <typename T>
  Result<T> read_value(const Notification& from, uint64_t address) {
    T value;
    const Status got = read(from, address, std::as_writable_bytes(std::span(&value, 1)));
    if (!got) return got.error();
    return value;
  }
  /// A string of less than `limit` bytes. EFAULT; ENAMETOOLONG: no end within `limit`.
  Result<std::string> read_string(const Notification& from, uint64_t address, size_t limit);

  using Piece = MemoryPiece;
  /// EFAULT: not all of it could be written; ENOENT: the caller has gone, and nothing was; ESTALE: it is another
  /// task than the one that was known by its number.
  Status write(const Notification& from, std::span<const Piece> pieces);

  /// The call returns `value`. ENOENT: nobody is there to take that, or not for long (answer_surely: so are those answered
  /// who were interrupted in the last minute); ESTALE: as with write().
  Status answer(const Notification& from, int64_t value);
  /// Both.
  Status write_and_answer(const Notification& from, std::span<const Piece> pieces, int64_t value);

  /// The call fails with `error`. If that is EFAULT because its memory takes long to come it does not, but is served anew
  /// when that is there. False: so it is, or nobody waits for it any more.
  bool fail(const Notification& from, int error);

  /// What read() or write() of this call said last was that.
  bool is_late(const Notification& from) const { return held_up_ == from.id; }

  /// A signal has interrupted a call of the task.
  void note_interrupted(pid_t task);

 private:
  struct Remembered {
    int descriptor = -1;
    TargetFile file;
    std::weak_ptr<ipc::QueueInode> queue;
    uint64_t closes = 0;
  };
  struct Known {
    UniqueFd directory;    // /proc/TASK
    UniqueFd descriptors;  // its `fd`
    UniqueFd state;        // its `syscall`
    std::array<Remembered, 4> files;
    size_t next = 0;
    std::optional<int64_t> interrupted_ns;  // by the monotonic clock
    bool is_trusted = false;
    int64_t trusted_until_ns = 0;  // then it is asked again
  };
  enum class Presence {
    kAsleep,    // in its system call
    kAwake,     // on its way there, or back
    kStranger,  // the task that was known by this number has ended
    kGone,      // nobody waits for the call any more
    kUnknown,   // we may not look
  };
  /// Descriptors that are of this very task for ever, whatever its number comes to mean. ESRCH.
  Result<Known*> known(pid_t task);
  Presence look_at(const Notification& from);
  bool was_interrupted(pid_t task) const;
  /// Who could harm the daemon in simpler ways than by memory that never comes.
  bool is_trusted(pid_t task);
  Status note_held_up(const Notification& from, Status access);
  void memory_is_back();

  Host& host_;
  const std::shared_ptr<const Listener> shared_listener_;  // threads may need it a moment longer
  const Listener& listener_;
  const std::function<void(const Notification&)> again_;
  std::unordered_map<pid_t, Known> known_;
  ForeignMemory memory_;
  std::optional<uint64_t> held_up_;      // the call whose memory was EBUSY last
  std::vector<Notification> to_come_;  // those that wait for it
};

}  // namespace mqueuefs::seccomp
