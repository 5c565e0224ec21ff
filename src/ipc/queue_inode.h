// One queue: its inode, its messages, who waits for it, who wants to be told.
//
// All rules about sending and receiving are here, in the order of SPEC E; the front doors translate only.
// Invariants: receivers wait only at an empty queue, senders only at a full one; so a message that arrives
// while somebody waits for one goes straight to him and is never seen as queued (ipc/mqueue.c:pipelined_send).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "ipc/channel.h"
#include "ipc/file_attributes.h"
#include "ipc/mapped_segments.h"
#include "ipc/notification.h"
#include "ipc/task_info.h"
#include "segment/queue_segment.h"

namespace mqueuefs::ipc {

class Superblock;

inline constexpr int64_t kQueueFileSize = 80;  ///< FILENT_SIZE of ipc/mqueue.c, SPEC B1

/// What the status line and the lists show.
struct QueueStatus {
  uint64_t qsize = 0;        ///< payload bytes
  int notify_type = 0;       ///< as the kernel prints it: 0 if nobody is registered
  int notify_signo = 0;
  pid_t notify_process = 0;  ///< in the daemon's pid namespace; 0: nobody
  bool registered = false;
  uint32_t waiting_senders = 0;
  uint32_t waiting_receivers = 0;
  pid_t first_waiter = 0;
};

/// How the queue was left by a call that may have to wait.
enum class Outcome { kDone, kWaiting };

/// Thread rule: the loop's. Shared by its superblock (while it has a name) and the front doors' handles.
class QueueInode : public std::enable_shared_from_this<QueueInode> {
 public:
  /// Made by Superblock::create only.
  QueueInode(Superblock& superblock, uint64_t inode, std::string name, const QueueAttributes& attributes,
             const FileAttributes& file, uid_t charged_uid, uint64_t charge_bytes);
  QueueInode(const QueueInode&) = delete;
  QueueInode& operator=(const QueueInode&) = delete;
  ~QueueInode();

  // --- the file ---
  uint64_t inode() const { return inode_; }
  const std::string& name() const { return name_; }  ///< its last one, once unlinked
  bool linked() const { return linked_; }
  const FileAttributes& file() const { return file_; }
  int64_t file_size() const { return file_size_; }
  const QueueAttributes& attributes() const { return attributes_; }
  void set_attributes(const AttributeChange& change);
  /// A non-empty read, or mq_setattr: atime and ctime (SPEC B11).
  void touch() { stamp(kAtime | kCtime); }

  /// Open handles, and calls that wait, keep an unlinked queue, its messages and its charge (SPEC B9, D4). ESTALE: the queue has
  /// ended (unlinked and all handles closed) and is kept only because the kernel still knows the inode.
  Status open_handle();
  void close_handle();
  uint32_t open_handles() const { return open_handles_; }

  // --- messages ---
  uint32_t curmsgs();  ///< queued messages
  uint64_t qsize();    ///< their payload bytes
  bool dead() const { return dead_; }

  /// mq_send(3) for a caller who may not wait. Errors, in this order: EINVAL priority; EMSGSIZE; EAGAIN
  /// full; ENOMEM; EUCLEAN the segment is dead.
  Status try_send(uint32_t priority, std::span<const std::byte> payload, const Sender& sender);

  /// The same for a caller who may: kWaiting means that the message is in `channel`, which is in the wait
  /// list. Additional errors: EBUSY: the channel is in use. ETIMEDOUT: full and the deadline has passed.
  Result<Outcome> send(uint32_t priority, std::span<const std::byte> payload, const Sender& sender,
                       Channel& channel, const WaitRequest& request);
  /// The same with the message that was staged in `channel`.
  Result<Outcome> send_staged(uint32_t priority, const Sender& sender, Channel& channel,
                              const std::optional<WaitRequest>& request);

  /// mq_receive(3) for a caller who may not wait. `buffer_size` is what the caller has; the payload goes into
  /// `buffer`, or, if it does not fit there, to `channel` as its assigned message (the returned size is then
  /// greater than buffer.size()). Errors: EMSGSIZE buffer_size < msgsize; EAGAIN empty; EINVAL: the message
  /// does not fit and there is no channel; EBUSY: the channel is in use; EUCLEAN.
  Result<MessageInfo> try_receive(uint64_t buffer_size, std::span<std::byte> buffer, Channel* channel);

  /// The same for a caller who may wait: no value means that `channel` is in the wait list.
  /// Additional error: ETIMEDOUT.
  Result<std::optional<MessageInfo>> receive(uint64_t buffer_size, std::span<std::byte> buffer,
                                             Channel& channel, const WaitRequest& request);

  /// Walks over the messages without taking any; see QueueSegment::peek.
  Result<MessageInfo> peek(PeekPosition& position, uint32_t offset, std::span<std::byte> buffer);

  /// A message that its receiver never got goes back to its place, or to who waits for one now.
  void give_back(Message message);

  // --- poll(2) ---
  bool readable();  ///< curmsgs > 0
  bool writable();  ///< curmsgs < maxmsg

  // --- mq_notify(3) ---
  /// EBUSY: somebody is registered. EINVAL: type or signo (checked by notification_type_ok).
  Status register_notification(Registration registration);
  /// Removes the registration of `process`, if it is that one's (SPEC F3). Stamps the times only then.
  void unregister_notification(pid_t process);
  /// `process` closed a descriptor of this queue or ended: its registration goes (SPEC F7).
  void process_closed(pid_t process);
  bool has_registration() const { return registration_.has_value(); }

  QueueStatus status();

 private:
  friend class Channel;     // leaves wait lists, keeps the queue in use
  friend class Superblock;  // unlinks, and ends queues with itself

  using WaitList = std::multimap<int, Channel*>;  // by rank; equal ranks keep their order of arrival

  Result<QueueSegment*> segment();
  Status check_send(uint32_t priority, size_t size);
  Status deliver(uint32_t priority, std::span<const std::byte> payload, const Sender& sender);
  Result<Outcome> wait_to_send(uint32_t priority, const Sender& sender, Channel& channel,
                               const WaitRequest& request);
  void hand_over(Message message);
  void let_stopped_go(WaitList& list);
  Result<MessageInfo> front();
  Result<Message> take_front();
  void message_left();
  void admit_one_sender();
  void restore_stranded();
  void fire_notification(const Sender& sender);
  void stamp(unsigned times);
  void readiness_changed();
  bool drop_registration(pid_t process);
  void leave_wait_list(Channel& channel);
  void unlink();
  void superblock_gone();
  void end_if_unused();
  void end();
  Error note(Error error);

  Superblock* superblock_;  // null once the superblock is gone (a handle can outlive it by moments)
  const uint64_t inode_;
  std::string name_;
  const QueueAttributes attributes_;
  FileAttributes file_;
  int64_t file_size_ = kQueueFileSize;
  bool linked_ = true;
  bool ended_ = false;
  bool dead_ = false;
  uint32_t open_handles_ = 0;
  uint32_t in_use_ = 0;  // channels that wait here or hold a message of this queue
  const uid_t charged_uid_;
  const uint64_t charge_bytes_;

  SegmentSlot segment_;            // made with the first message
  std::vector<Message> stranded_;  // given back when not even a spare slot was free; sorted, next one last
  WaitList receivers_;
  WaitList senders_;
  std::optional<Registration> registration_;
};

/// SIGEV_SIGNAL with a signo of 0 to 64, SIGEV_NONE, SIGEV_THREAD; else EINVAL (SPEC F2).
Status notification_type_ok(int type, int signo);

}  // namespace mqueuefs::ipc
