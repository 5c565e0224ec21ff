// A queue, the fibers that work on it, and what they saw.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "scheduler.h"
#include "segment/shared_queue.h"
#include "specification.h"

namespace mqueuefs::testing {

/// How the fibers of a scenario reach the queue: each call is written down. Their seat is that of the current fiber
/// and, in a signal handler, the next level.
class World {
 public:
  World(uint32_t maxmsg, uint32_t fibers);
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  /// What was done until now is the beginning of each run.
  void begin_here();
  /// Runs once, and says what was wrong with it; empty: nothing. With `verifies`, also looks at every list.
  std::string run(const Schedule& schedule, const std::vector<Scheduler::Body>& bodies,
                  const Scheduler::Body& handler, bool verifies);
  Scheduler& scheduler() { return scheduler_; }
  /// Whether pages were touched that begin_here() does not know.
  bool stayed_in_snapshot() const;

  // --- what fibers do ---
  bool send(uint32_t priority, uint64_t id);
  /// 0: nothing there.
  uint64_t receive();
  void look();
  void peek();
  /// Waits until it is handed one, and gives up when nobody else can go on.
  uint64_t wait_and_receive(uint32_t rank, bool sleeps = false);
  /// The same, but leaves the line at once.
  uint64_t wait_and_cancel(uint32_t rank);
  bool wait_and_send(uint32_t rank, uint32_t priority, uint64_t id, bool sleeps = false);
  bool wait_and_cancel_send(uint32_t rank, uint32_t priority, uint64_t id);
  void give_back(uint64_t id);
  bool reserve();
  /// The same, but waits for it.
  bool wait_and_reserve(uint32_t rank);
  void send_reserved(uint32_t priority, uint64_t id);
  void drop_reserved();
  void reclaim();
  void bury_dead();

 private:
  struct Page {
    size_t offset;
    std::vector<std::byte> content;
  };

  Seat seat() const;
  size_t begin(Operation operation, uint32_t priority = 0, uint64_t id = 0);
  void end(size_t call, int error, uint64_t result = 0);
  uint64_t finish_receive(uint32_t waiter, uint32_t key);
  void restore();
  std::string slots_accounted_for() const;
  void bury(uint32_t fiber);

  uint32_t fibers_;
  Scheduler scheduler_;
  std::byte* base_;
  SharedQueue queue_;
  std::vector<Page> pages_;
  std::vector<Call> calls_;
  std::vector<MessageInfo> infos_;  ///< of messages taken, by id
  Specification start_;
  std::string trouble_;
  uint32_t keys_ = 0;
  uint64_t setup_clock_ = 0;
  bool running_ = false;
  std::vector<bool> buried_;
};

}  // namespace mqueuefs::testing
