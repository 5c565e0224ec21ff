// A queue of messages in memory that any number of processes change at once, none of which can be relied upon.
//
// The algorithm: one 16-byte word (state.h) decides, memory follows. Every operation reads the state, prepares, and
// changes the state with one compare-and-swap; that change is the moment at which it happens (it is linearizable
// there). What the change asks to be done besides is told by the state itself, and whoever comes next does it first
// (settle.cc). So nobody ever holds anything: a process that is killed, stopped, or interrupted by its own signal
// handler at any instruction leaves a state that the next one completes.
//
//  - The list of the highest priority is in the state. To send to it or to receive from it is one change and
//    nothing to complete: almost all operations are that. Its links are written after the change; a reader that finds
//    one missing, or written by somebody who was late, follows the links of the other direction (next_of).
//  - The other lists are in memory, with the version of their last change. A helper that is late finds a version that
//    is not older than its own, or its compare-and-swap fails.
//  - Who waits is in a table; that he does, and that he no longer does, is a change of the state as well. So a
//    message is handed to a waiter, or a blocked sender's message admitted, by one decision.
//  - A slot belongs to the free list, to the queue, to a waiter, or to the member that names it in his Level. He names
//    it before he takes it: what nobody alive names and what is nowhere else was a dead one's (reclaim.cc).
//
// Why not otherwise: a lock can't be taken by a handler that interrupts its owner, is held by the dead, and to block
// signals costs more than the message; a robust mutex keeps list pointers in the shared memory, by which one process
// makes another write where it likes. One word with a bit for each slot is a little faster and ends at 64 messages.
// Deciding in one word and applying every change to lists in memory costs two more locked instructions a message.
//
// The memory is input: each value is read once and checked before it is an index or a length; a contradiction marks
// the queue dead (EUCLEAN), each loop is bounded. What a process that writes nonsense can do is to make this queue
// useless, and nothing else.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "base/check.h"
#include "base/hot.h"
#include "base/result.h"
#include "segment/attributes.h"
#include "segment/format.h"
#include "segment/state.h"

namespace mqueuefs {

/// A message without its payload. Higher priority first, then lower sequence first, is the order of receipt.
struct MessageInfo {
  uint32_t priority = 0;
  uint32_t size = 0;      ///< bytes
  uint64_t sequence = 0;  ///< order of arrival in this queue
};

/// Where a walk over the queue stands; see SharedQueue::peek.
struct PeekPosition {
  uint32_t priority = kPriorities;  ///< kPriorities: before the first message
  uint64_t sequence = 0;
  uint32_t slot_hint = 0;  ///< lets the walk go on in O(1); never trusted
};

/// Who works on a queue: a member (join()) and how many of its thread's signal handlers are on top of each other.
/// No two operations use one seat at a time.
struct Seat {
  uint32_t member = 0;
  uint32_t level = 0;
};

/// What the caller of an operation has to do after it, also after one that failed.
struct Aftermath {
  bool woke_nobody = false;      ///< a waiter that was served and seemed asleep was not: perhaps its process is gone
  bool tell_owner = false;       ///< who polls, or waits through the segment's owner, is to be told by him
  bool used_notification = false;  ///< the message was the first in an empty queue: the owner notifies
};

/// What became of a wait.
enum class Wait { kGoesOn, kServed, kCancelled };

/// A mapped segment. Does not own the mapping. Cheap to copy; immutable after construction.
///
/// Thread rule: any thread of any process, and signal handlers, with a seat for each. Nothing blocks, and nothing
/// allocates. Async-signal-safe. Everywhere EUCLEAN: the memory contradicts itself; it is marked dead.
class SharedQueue {
 public:
  SharedQueue(QueueAttributes attributes, std::byte* base)
      : base_(base), format_(Format::of(attributes)), attributes_(attributes) {}

  QueueAttributes attributes() const { return attributes_; }
  /// By value: it outlives the queue object, which is often a temporary one.
  Format format() const { return format_; }

  // --- members ---

  /// A seat's member for this thread: the one it has, else a free one. `thread` is not 0 and unique within
  /// `incarnation`, a number that the segment's owner has given to this process. EAGAIN: all are taken.
  Result<uint32_t> join(uint32_t incarnation, uint32_t thread) const;
  /// The same in place of a thread of the same process that does not exist any more, as `gone` says. EAGAIN: none.
  Result<uint32_t> inherit(uint32_t incarnation, uint32_t thread, bool (*gone)(uint32_t thread)) const;

  // --- messages ---

  /// Appends a message behind those of its priority, or hands it to who waits for one. EINVAL: priority out of range.
  /// EMSGSIZE: longer than msgsize. EAGAIN: maxmsg messages are there. ENOMEM: all slots are in somebody's hands.
  Status try_send(Seat seat, uint32_t priority, std::span<const std::byte> payload, Aftermath& after) const;

  /// Takes the oldest message of the highest priority into `buffer`. EAGAIN: the queue is empty. EMSGSIZE: `buffer` is
  /// shorter than that message; nothing is taken.
  Result<MessageInfo> try_receive(Seat seat, std::span<std::byte> buffer, Aftermath& after) const;

  /// The message that try_receive would take. EAGAIN: none.
  Result<MessageInfo> front(Aftermath& after) const;

  // --- waiting ---
  // start, then wait_state until it says kServed; or cancel_wait, which may find that it was served. Then finish.

  /// Stands in the line for a message. EAGAIN: there is one, do not wait. EBUSY: no waiter is free.
  /// `role` kReceives, perhaps with kThroughOwner.
  Result<uint32_t> wait_to_receive(Seat seat, uint32_t rank, uint32_t role, uint32_t process, Aftermath& after) const;
  /// Stands in the line with a message. EAGAIN: there is room, do not wait. EBUSY, and as try_send.
  Result<uint32_t> wait_to_send(Seat seat, uint32_t priority, std::span<const std::byte> payload, uint32_t rank,
                                uint32_t role, uint32_t process, Aftermath& after) const;
  /// Stands in the line for a place, for the segment's owner, who has the message: kServed means that a place is kept
  /// as reserve_place() does. EAGAIN: there is room, do not wait. EBUSY.
  Result<uint32_t> wait_for_place(Seat seat, uint32_t rank, uint32_t process, Aftermath& after) const;
  Wait wait_state(uint32_t waiter) const;
  /// The word to sleep on, and what it has to be for that. False: do not sleep, look.
  bool fall_asleep(uint32_t waiter) const;
  uint32_t* futex_of(uint32_t waiter) const;
  static constexpr uint32_t kAsleepValue = static_cast<uint32_t>(WaiterState::kAsleep);
  /// Leaves the line: kCancelled, or kServed.
  Result<Wait> cancel_wait(uint32_t waiter, Aftermath& after) const;
  /// After kServed: the message that was handed over. EMSGSIZE: `buffer` is shorter; nothing is taken.
  Result<MessageInfo> finish_receive(Seat seat, uint32_t waiter, std::span<std::byte> buffer) const;
  /// The same message, not taken yet.
  Result<MessageInfo> handed_over(uint32_t waiter) const;
  /// After kServed, in place of finish_receive: the message goes back to its place. As give_back().
  Status give_back_handed(Seat seat, uint32_t waiter, Aftermath& after) const;
  /// After kServed of a sender, or kCancelled of anybody.
  void finish_wait(Seat seat, uint32_t waiter) const;

  /// Wakes every served waiter that sleeps: who woke them may have died before he could.
  void wake_served() const;

  /// A look without taking part, for who waits for the one or the other to change: may be wrong by the next moment.
  uint32_t places_taken() const;

  // --- for the segment's owner: one thread of one process ---

  /// Puts a message that was taken (or handed over) back to its place: before every message of its priority with a
  /// higher sequence. May exceed maxmsg by kReturned messages. EAGAIN: those are used up too.
  Status give_back(Seat seat, const MessageInfo& info, std::span<const std::byte> payload, Aftermath& after) const;
  /// The same with a message that is in a slot of its own.
  Status give_back_slot(Seat seat, uint32_t slot, Aftermath& after) const;

  /// Keeps a place for a message to come, as if it were there; EAGAIN: full. Then one of the other two.
  Status reserve_place(Aftermath& after) const;
  /// The owner's wait_for_place() was served.
  void take_granted_place() const;
  Status send_reserved(Seat seat, uint32_t priority, std::span<const std::byte> payload, Aftermath& after) const;
  /// As send_reserved(), into a place that was granted to one who waited: as his admission it uses up no notification
  /// and is nothing new for who polls (pipelined_receive of ipc/mqueue.c).
  Status send_granted(Seat seat, uint32_t priority, std::span<const std::byte> payload, Aftermath& after) const;
  Status drop_reserved(Aftermath& after) const;

  /// Sets or clears kNotify or kPoll.
  Status change_flags(uint32_t set, uint32_t clear, Aftermath& after) const;
  /// The settled state.
  Result<State> look(Aftermath& after) const;
  /// Queued messages. 0 if dead.
  uint32_t messages() const;
  /// The same in a state that look() has returned: never one too few while a waiting sender is being admitted.
  uint32_t messages(const State& state) const;
  /// Their bytes. Who dies between a message and its count makes it wrong until reclaim().
  uint64_t payload_bytes() const;
  /// Messages sent so far, those included that were handed to waiting receivers. Who dies between a message and its
  /// count is missed.
  uint64_t messages_sent() const;
  /// CLOCK_REALTIME seconds at which the oldest message was written, looking at the first of each of the
  /// `most_priorities` highest priorities that have messages; 0: there is none. A message that was given back counts
  /// from then on.
  int64_t oldest_sent_s(uint32_t most_priorities, Aftermath& after) const;
  /// The owner is to be told of each message by who maps the queue, or no more.
  void set_traced(bool traced) const;
  bool is_traced() const { return load(header().traced) != 0; }
  bool dead() const;
  void mark_dead() const;
  /// CLOCK_REALTIME of the last send or receive since this was asked last; 0: none.
  int64_t take_change_s() const;

  /// Whether `incarnation` has members.
  bool has_members(uint32_t incarnation) const;
  /// Gives up this process's members: it will not use the queue any more.
  void leave(uint32_t incarnation) const;
  /// Ends everything that members of `incarnation` were doing: they are gone. Waits are cancelled, what was handed to
  /// them and not yet begun to be copied is given back. EAGAIN: there was no place for all of that; again later.
  Status bury(Seat seat, uint32_t incarnation, Aftermath& after) const;
  /// Frees slots that are nobody's, and counts the bytes anew when nobody is just changing them. EAGAIN: too much is going
  /// on to tell; later. Returns how many.
  Result<uint32_t> reclaim() const;

  /// Copies the message that follows `position` in the order of receipt, without taking it, and advances `position`.
  /// `buffer` gets payload bytes from `offset` on, as many as fit. EAGAIN: no more messages. EBUSY: others change the
  /// queue faster than it can be read. EINVAL: the position's priority is out of range.
  /// A message that was sent or put back before the position meanwhile is not seen; one that was taken is skipped.
  Result<MessageInfo> peek(PeekPosition& position, uint32_t offset, std::span<std::byte> buffer,
                           Aftermath& after) const;

  struct WaiterView {
    uint32_t receivers = 0;
    uint32_t senders = 0;
    uint32_t first_process = 0;
  };
  WaiterView waiters() const;

  struct WaiterInfo {
    uint32_t incarnation = 0;
    uint32_t process = 0;  ///< as its owner numbers it
    bool receives = false;
    int64_t since_ns = 0;  ///< CLOCK_REALTIME
  };
  /// Those who wait now, in no order, as many as fit. Returns how many.
  uint32_t list_waiters(std::span<WaiterInfo> waiters) const;

  /// Waits that are over, served or not.
  struct WaitTimes {
    uint64_t waits[kWaitBuckets] = {};  ///< see Header::waits
    uint64_t total_ns = 0;
  };
  WaitTimes wait_times() const;

  /// Checks every invariant of the format; for a queue in which nobody works now. O(slots used so far).
  Status verify() const;

  /// Writes what makes memory of zeros a segment. The last word written is the magic number. Messages are numbered from
  /// `version` on.
  void initialize(uint64_t version = 0) const;
  /// Whether the header says what was asked for.
  Status check_identity() const;

 private:
  enum class Applied { kYes, kMoved, kBroken };
  struct Claim;

  template <typename T>
  T* at(uint64_t offset) const {
    return reinterpret_cast<T*>(base_ + offset);
  }
  Header& header() const { return *at<Header>(0); }
  TaggedWord& leaf(uint32_t index) const { return at<TaggedWord>(format_.leaves)[index % kLeaves]; }
  List& list(uint32_t priority) const { return at<List>(format_.lists)[priority % kPriorities]; }
  TaggedWord& returned(uint32_t index) const { return at<TaggedWord>(format_.returned)[index % kReturned]; }
  Member& member(uint32_t index) const { return at<Member>(format_.members)[index % kMembers]; }
  Waiter& waiter(uint32_t index) const { return at<Waiter>(format_.waiters)[index % kWaiters]; }
  Level& level(Seat seat) const { return member(seat.member).levels[seat.level % kLevels]; }
  bool is_slot(uint32_t slot) const { return slot - 1 < format_.slots; }
  // The assertions are the second wall, so that a forgotten check is an abort and never an access outside.
  Slot& slot(uint32_t index) const {
    MQUEUEFS_CHECK(is_slot(index));
    return at<Slot>(format_.slot_table)[index - 1];
  }
  /// payload_stride bytes.
  std::byte* payload(uint32_t index) const {
    MQUEUEFS_CHECK(is_slot(index));
    return base_ + format_.payloads + uint64_t{index - 1} * format_.payload_stride;
  }

  // settle.cc
  MQUEUEFS_HOT Result<State> settled(Aftermath& after) const;
  MQUEUEFS_HOT Status settled(State& state, Aftermath& after) const;
  MQUEUEFS_HOT bool is_settled(const State& state) const;
  MQUEUEFS_COLD Result<State> settle(State state, Aftermath& after) const;
  Applied apply(State state, Aftermath& after) const;
  Applied apply_admission(State state, Aftermath& after) const;
  Applied apply_hand(State state, Aftermath& after) const;
  Applied apply_spill(State state) const;
  Applied apply_append(State state) const;
  Applied contradiction(State state) const;
  MQUEUEFS_HOT bool still(const State& state) const;
  MQUEUEFS_HOT bool decide(const State& before, State& next) const;
  Status admit(State state) const;
  void serve(uint32_t waiter, uint64_t version, uint32_t slot, Aftermath& after) const;
  std::optional<uint32_t> best_waiter(uint32_t role) const;
  MQUEUEFS_COLD Error broken(const char* what) const;
  MQUEUEFS_COLD Error moved_or(State state, const char* what) const;

  // index.cc
  void index_insert(uint32_t priority) const;
  std::optional<uint32_t> leaf_below(uint32_t leaf) const;
  Result<uint32_t> highest_below(uint32_t bound, State state) const;
  void apply_clean(uint32_t leaf, uint64_t version) const;
  Status verify_index() const;

  // slots.cc
  MQUEUEFS_HOT Status claim(Level& level, uint32_t& slot) const;
  MQUEUEFS_COLD Result<uint32_t> claim_free(Level& level) const;
  MQUEUEFS_HOT void keep(Level& level, uint32_t slot) const;
  void free_slot(uint32_t slot) const;

  // send.cc, receive.cc, wait.cc
  enum class Place { kNew, kReserved, kGranted };
  MQUEUEFS_HOT Status check_message(uint32_t priority, size_t size) const;
  MQUEUEFS_HOT Slot& fill(uint32_t slot, uint32_t priority, std::span<const std::byte> payload,
                         uint64_t now_s) const;
  static uint64_t now_s();
  MQUEUEFS_HOT Status send_from(Seat seat, uint32_t priority, std::span<const std::byte> payload, Place place,
                   Aftermath& after) const;
  MQUEUEFS_HOT Status send_slot(State state, Level& level, Slot& sent, uint32_t index, uint32_t priority, uint32_t size,
                                uint64_t now_s, Place place, Aftermath& after) const;
  enum class HandOver { kNobody, kDone, kMoved, kBroken };
  MQUEUEFS_COLD HandOver hand_over(Level& level, State state, uint32_t slot, uint64_t now_s, Place place,
                                   Aftermath& after) const;
  MQUEUEFS_HOT Status place_in_list(const State& state, Slot& sent, uint32_t index, uint32_t priority, State& next) const;
  MQUEUEFS_HOT Status next_of(const State& state, uint32_t slot, uint32_t& following) const;
  MQUEUEFS_COLD Result<uint32_t> recover_next(State state, uint32_t slot) const;
  struct Best;
  MQUEUEFS_HOT Status best_message(const State& state, Best& best) const;
  MQUEUEFS_COLD Result<Best> best_of_returned(State state, uint32_t top) const;
  MQUEUEFS_HOT Status take_out(const State& state, const Best& best, State& next) const;
  Result<State> take_lower_list(State state, State next) const;
  Result<uint32_t> take_waiter(Seat seat, uint32_t rank, uint32_t role, uint32_t process) const;
  void free_waiter(uint32_t waiter) const;
  bool begin_wait(uint32_t waiter, State state, uint32_t flag, Aftermath& after) const;
  MQUEUEFS_HOT MessageInfo info_of(uint32_t slot) const;
  MQUEUEFS_HOT MessageInfo copy_out(uint32_t slot, std::span<std::byte> buffer) const;
  MQUEUEFS_HOT void note_change(uint64_t now_s) const;
  void count_wait(uint32_t waiter) const;
  Result<uint32_t> slot_after(const State& state, const PeekPosition& position, uint64_t& patience) const;
  Result<uint32_t> list_after(const State& state, const PeekPosition& position, uint64_t& patience) const;
  void retire(Member& gone) const;
  bool bury_waiter(Seat seat, uint32_t index, Aftermath& after) const;
  uint32_t following(const State& state, uint32_t index, uint32_t tail, uint64_t& patience) const;
  /// How many links a walk over everything may follow.
  uint64_t walk_patience() const { return uint64_t{64} * format_.slots; }
  struct SlotSet;
  struct Queued;
  struct InHand;
  Status mark_lists(const State& state, Queued& queued) const;
  Status mark_list(const State& state, uint32_t head, uint32_t tail, Queued& queued) const;
  Status mark_free(SlotSet& seen) const;
  void mark_in_hand(InHand& hands) const;
  uint32_t granted_places() const;
  uint64_t counted_bytes() const;

  std::byte* base_;
  Format format_;
  QueueAttributes attributes_;
};

}  // namespace mqueuefs
