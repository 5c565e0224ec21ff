// One queue: its inode, its messages, who waits for it, who wants to be told.
//
// All rules about sending and receiving are here, in the order of doc/behaviour.md E; the front doors translate only.
//
// The messages, and the line of those who wait, are in the segment (segment/shared_queue.h), where processes that map
// the queue send and receive without asking. What they can't do themselves is done here when they tell us (told()), at
// the next call, or, since they may die before they tell, within a second (catch_up()): to notify, to wake who polls,
// and to serve the channels, each of which is a waiter in that line. A channel that waits to send stands in it for a
// place; its message stays with it until the place is there.
#pragma once

#include <cstdint>
#include <functional>
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
#include "ipc/queue_activity.h"
#include "ipc/task_info.h"
#include "segment/shared_queue.h"

namespace mqueuefs::ipc {

class Superblock;

/// A process that maps a queue. Destroyed when it does so no longer.
class MappingProcess {
 public:
  virtual ~MappingProcess() = default;
  /// Whether the address space that has the mapping still exists.
  virtual bool alive() = 0;
  virtual pid_t process() const = 0;
};

inline constexpr int64_t kQueueFileSize = 80;  ///< FILENT_SIZE of ipc/mqueue.c, doc/behaviour.md B1

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
  /// The times are those of the last look: see refresh().
  const FileAttributes& file() const { return file_; }
  /// Brings the times up to date with what mapping processes did.
  void refresh();
  int64_t file_size() const { return file_size_; }
  const QueueAttributes& attributes() const { return attributes_; }
  void set_attributes(const AttributeChange& change);
  /// A non-empty read, or mq_setattr: atime and ctime (doc/behaviour.md B11).
  void touch() { stamp(kAtime | kCtime); }

  /// Open handles, and calls that wait, keep an unlinked queue, its messages and its charge (doc/behaviour.md B9, D4). ESTALE: the queue has
  /// ended (unlinked and all handles closed) and is kept only because the kernel still knows the inode.
  Status open_handle();
  void close_handle();
  uint32_t open_handles() const { return open_handles_; }

  /// Some process has closed a descriptor of this queue, the last one or not. As long as the count stays the same
  /// every descriptor of it is what it was.
  void note_descriptor_closed() { descriptor_closes_++; }
  uint64_t descriptor_closes() const { return descriptor_closes_; }

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
  /// `receiver` is told to who traces.
  Result<MessageInfo> try_receive(uint64_t buffer_size, std::span<std::byte> buffer, Channel* channel,
                                  TaskId receiver = 0);

  /// The same for a caller who may wait: no value means that `channel` is in the wait list.
  /// Additional error: ETIMEDOUT.
  Result<std::optional<MessageInfo>> receive(uint64_t buffer_size, std::span<std::byte> buffer,
                                             Channel& channel, const WaitRequest& request);

  // --- in two phases, for callers who may vanish while they are answered (seccomp/) ---

  /// Answers the sender: true if he was still there.
  using AnswerSender = std::function<bool()>;
  /// Hands the message to the receiver: true if he was still there and has it.
  using AnswerReceiver = std::function<bool(const MessageInfo&, std::span<const std::byte>)>;

  /// try_send, whose place is reserved before `answer` is called, and used only if that returns true. False: it
  /// did not; nothing was sent. Errors: try_send's; `answer` was not called then. `answer` must not call the model.
  Result<bool> send_if(uint32_t priority, std::span<const std::byte> payload, const Sender& sender,
                       const AnswerSender& answer);
  /// try_receive of a whole message, which goes back to its place unless `answer` returns true. False: it did not.
  /// Errors: try_receive's. `answer` must not call the model.
  Result<bool> receive_if(uint64_t buffer_size, const AnswerReceiver& answer, TaskId receiver = 0);
  /// Waits, if that is still what has to be done: after EAGAIN from the two above. EAGAIN: it is not, try again.
  /// ETIMEDOUT; ENOMEM, EBUSY.
  Status wait_to_send_if(uint32_t priority, std::span<const std::byte> payload, const Sender& sender, Channel& channel,
                         const WaitRequest& request);
  Status wait_to_receive_if(Channel& channel, const WaitRequest& request);

  /// Walks over the messages without taking any; see SharedQueue::peek.
  Result<MessageInfo> peek(PeekPosition& position, uint32_t offset, std::span<std::byte> buffer);

  /// A message that its receiver never got goes back to its place, or to who waits for one now.
  void give_back(Message message);

  // --- poll(2) ---
  bool readable();  ///< curmsgs > 0
  bool writable();  ///< curmsgs < maxmsg
  /// Somebody polls: readiness_changed() is called at the next send or receive, by whomever.
  void poll();

  // --- processes that map the queue ---
  /// What a process needs to map it: `process` is kept until the mapping is gone. EUCLEAN; EAGAIN: too many.
  struct Mapping {
    uint32_t incarnation = 0;
    int memfd = -1;  ///< the queue's own
  };
  Result<Mapping> map_for(std::unique_ptr<MappingProcess> process);
  /// `process`, for whom `incarnation` was made, has not got the memory or can't map it.
  void could_not_map(uint32_t incarnation, pid_t process);
  bool is_mapped() const { return !mapping_.empty(); }
  /// A process that maps the queue did what concerns others than those who map it.
  void told(bool used_notification, const Sender& sender);
  /// Ends what processes that mapped the queue and are gone were doing: what was handed to them goes back to its place.
  void reap_mapping_processes();
  /// The same for what nobody told, and for mapping processes that are gone. To be called now and then while is_mapped().
  void catch_up();

  // --- mq_notify(3) ---
  /// EBUSY: somebody is registered. EINVAL: type or signo (checked by notification_type_ok).
  Status register_notification(Registration registration);
  /// Removes the registration of `process`, if it is that one's (doc/behaviour.md F3). Stamps the times only then.
  void unregister_notification(pid_t process);
  /// `process` closed a descriptor of this queue, ended, or executed another program: its registration goes (doc/behaviour.md F7).
  void process_closed(pid_t process);
  bool has_registration() const { return registration_.has_value(); }
  /// Whose it is; 0: nobody's.
  pid_t registered_process() const { return registration_ ? registration_->process : 0; }

  QueueStatus status();

  // --- for who watches: queue_activity.cc ---
  QueueActivity activity();
  /// Those who have waited longest first.
  std::vector<BlockedCall> blocked(size_t most);
  /// HeldBy. 0: nobody has to do with the queue any more. Looks into /proc for the creator.
  uint32_t held_by();
  /// Who made it, in the daemon's pid namespace; 0: not known.
  pid_t creator() const { return creator_; }
  int64_t created_s() const { return created_s_; }
  /// `boottime_ns`: now, CLOCK_BOOTTIME.
  void set_creator(pid_t process, int64_t boottime_ns);
  /// While there is a tracer processes that map the queue tell of each message (told_message), which makes them slower.
  void add_tracer(QueueTracer& tracer);
  void remove_tracer(QueueTracer& tracer);
  size_t tracer_count() const { return tracers_.size(); }
  void told_message(const TracedMessage& message);

  /// Memory that the messages occupy.
  uint64_t memory_bytes() const { return segment_.made() ? segment_.memory().memory_bytes() : 0; }

 private:
  friend class Channel;     // leaves wait lists, keeps the queue in use
  friend class Superblock;  // unlinks, and ends queues with itself

  enum class Line { kReceivers, kSenders };

  // The daemon is the segment's owner, its first member, and one thread.
  static constexpr uint32_t kOwnIncarnation = 1;
  static constexpr uint32_t kOwnThread = 1;
  static constexpr Seat kOwnSeat{0, 0};

  /// While one lives the queue does not end, and its segment stays mapped, whatever is called back meanwhile. What holds a
  /// view of the segment over a call that may serve, cancel or close pins the queue first.
  class Pin {
   public:
    explicit Pin(QueueInode& queue) : queue_(queue.shared_from_this()) { queue_->in_use_++; }
    Pin(const Pin&) = delete;
    Pin& operator=(const Pin&) = delete;
    ~Pin() {
      queue_->in_use_--;
      queue_->end_if_unused();
    }

   private:
    const std::shared_ptr<QueueInode> queue_;
  };

  Result<SharedQueue> segment();
  void drop_segment();
  Status check_send(uint32_t priority, size_t size);
  Status deliver(uint32_t priority, std::span<const std::byte> payload, const Sender& sender);
  Result<MessageInfo> receive_longer(const SharedQueue& queue, std::span<std::byte> buffer, Channel* channel,
                                     Aftermath& after);
  Result<Message> take_front(const SharedQueue& queue, Aftermath& after);
  void restore(Message message);
  void restore_stranded();
  Result<Outcome> wait_to_send(uint32_t priority, const Sender& sender, Channel& channel,
                               const WaitRequest& request);
  Status stand_in_line(Channel& channel, Line line);
  bool leave_line(Channel& channel);
  void let_stopped_go(Line line);
  Channel* first_of(Line line) const;
  void settle(const SharedQueue& queue, const Aftermath& after, const Sender& sender);
  void look_for_changes(const SharedQueue& queue, const Sender* sender);
  void look_for_changes_now();
  void arm_notification();
  void trim_if_due();
  void serve_channels(const SharedQueue& queue);
  void serve(const SharedQueue& queue, Channel& channel);
  void serve_waiter(const SharedQueue& queue, Channel& channel, const std::shared_ptr<QueueInode>& self);
  void end_waits(int code);
  void bury(uint32_t incarnation);
  void fire_if_nobody_tells(const SharedQueue& queue);
  void mapping_has_ended();
  void shed_memory();
  void look_at_mapping_processes(const std::function<bool(const MappingProcess&)>& suspected);
  void fire_notification(const Sender& sender);
  void stamp(unsigned times);
  void readiness_changed();
  bool drop_registration(pid_t process);
  void unlink();
  void relink();
  void superblock_gone();
  static void add_counts(const SharedQueue& queue, QueueActivity& activity);
  void forget_segment(const SharedQueue& queue, uint64_t version);
  void mark_traced();
  void trace(const TracedMessage& message);
  void trace(TracedOperation operation, TaskId task, uint32_t priority, std::span<const std::byte> payload);
  void note_end();
  void end_if_unused();
  bool is_waited_for_in_memory();
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
  std::shared_ptr<QueueInode> kept_;  // this, while nobody else has it and a process waits in its memory
  bool dead_ = false;
  uint32_t open_handles_ = 0;
  uint64_t descriptor_closes_ = 0;
  uint32_t in_use_ = 0;  // channels that wait here or hold a message of this queue
  const uid_t charged_uid_;
  const uint64_t charge_bytes_;

  SegmentSlot segment_;            // made with the first message
  uint64_t last_version_ = 0;      // of the segment that was dropped
  int64_t made_at_ns_ = 0;         // when the present one was made, CLOCK_MONOTONIC
  std::vector<Message> stranded_;  // given back when there was no room even for that
  std::vector<Channel*> waiting_;  // in order of arrival
  bool polled_ = false;            // kPoll is set in the segment, or will be when there is one
  std::map<uint32_t, std::unique_ptr<MappingProcess>> mapping_;  // by incarnation
  bool reaping_ = false;
  bool needs_reclaim_ = false;     // somebody died with slots in his hands
  bool unfired_ = false;           // a notification was found used up by somebody who has not told yet
  std::optional<Registration> registration_;
  QueueActivity past_;         // of the segments that were dropped
  uint64_t most_received_ = 0;
  pid_t creator_ = 0;
  int64_t created_at_ns_ = 0;  // CLOCK_BOOTTIME
  const int64_t created_s_;    // CLOCK_REALTIME
  std::vector<QueueTracer*> tracers_;
};

/// SIGEV_SIGNAL with a signo of 0 to 64, SIGEV_NONE, SIGEV_THREAD; else EINVAL (doc/behaviour.md F2).
Status notification_type_ok(int type, int signo);

}  // namespace mqueuefs::ipc
