// A process dies after each single instruction of what it does on a queue, or is interrupted there by its own signal
// handler, which uses the same queue: always the queue is whole, and holds what it held with the operation done or not.
//
// One victim is stopped after each instruction. The test then does what is done when it is dead, puts the memory back to
// what it was, and lets it do the next one. A few are really killed; with MQUEUEFS_TEST_EFFORT=2, one at each instruction.

#include <sched.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <optional>
#include <set>
#include <vector>

#include "segment_test_support.h"

namespace mqueuefs::testing {
namespace {

constexpr uint32_t kOwner = 1;
constexpr uint32_t kVictim = 2;
constexpr uint32_t kBystander = 3;

using Contents = std::vector<uint64_t>;

/// What the victim tells before it dies.
struct Report {
  std::atomic<uint32_t> finished;
  std::atomic<uint32_t> handled;
  std::atomic<uint64_t> sent;  ///< sums of the ids
  std::atomic<uint64_t> received;
};

struct World {
  SharedQueue queue;
  Seat owner;
  Seat victim;        ///< the victim's two threads
  Seat other_victim;
  Seat bystander;
  std::optional<uint32_t> receiver;  ///< of the bystander
  std::optional<uint32_t> sender;
  Report* report;

  void send(Seat seat, uint32_t priority, uint64_t id) const {
    Aftermath after;
    if (testing::send(queue, seat, priority, id, after)) report->sent.fetch_add(id);
  }
  uint64_t receive(Seat seat) const {
    Aftermath after;
    return testing::receive(queue, seat, after);
  }
};

struct Scenario {
  const char* name;
  uint32_t maxmsg;
  std::function<void(World&)> before;
  std::function<void(const World&)> victim;
  /// What may be there when the victim was killed, in the order of receipt; first 1000 + what the bystander was given.
  std::set<Contents> may_hold;
};

void wait_and_receive(const World& world, Seat seat, const std::function<void()>& meanwhile) {
  Aftermath after;
  const auto waiter = world.queue.wait_to_receive(seat, 1, kReceives, 0, after);
  if (!waiter) return;
  static_cast<void>(world.queue.fall_asleep(*waiter));
  meanwhile();
  const auto ended = world.queue.cancel_wait(*waiter, after);
  if (ended.ok() && *ended == Wait::kServed) {
    uint64_t id = 0;
    if (world.queue.finish_receive(seat, *waiter, bytes_of(id)).ok()) world.report->received.fetch_add(id);
  } else {
    world.queue.finish_wait(seat, *waiter);
  }
}

void wait_and_send(const World& world, Seat seat, uint32_t priority, uint64_t id,
                   const std::function<void()>& meanwhile) {
  Aftermath after;
  const auto waiter = world.queue.wait_to_send(seat, priority, bytes_of(id), 1, kSends, 0, after);
  if (!waiter) return;
  meanwhile();
  const auto ended = world.queue.cancel_wait(*waiter, after);
  if (ended.ok() && *ended == Wait::kServed) world.report->sent.fetch_add(id);
  world.queue.finish_wait(seat, *waiter);
}

std::vector<Scenario> scenarios() {
  const auto nothing = [](World&) {};
  const auto sends = [](uint32_t priority) {
    return [priority](const World& world) { world.send(world.victim, priority, 9); };
  };
  const auto receives = [](const World& world) { world.report->received.fetch_add(world.receive(world.victim)); };
  const auto two_queued = [](World& world) { world.send(world.owner, 5, 1), world.send(world.owner, 3, 2); };
  const auto line_queued = [](World& world) {
    for (uint64_t id = 1; id <= 3; ++id) world.send(world.owner, 5, id);
  };
  const auto receiver_waits = [](World& world) {
    Aftermath after;
    world.receiver = world.queue.wait_to_receive(world.bystander, 1, kReceives, 0, after).value();
    static_cast<void>(world.queue.fall_asleep(*world.receiver));
  };
  const auto sender_waits = [](World& world) {
    Aftermath after;
    world.send(world.owner, 5, 1);
    uint64_t id = 2;
    world.sender = world.queue.wait_to_send(world.bystander, 5, bytes_of(id), 1, kSends, 0, after).value();
  };
  const auto stale_index = [](World& world) {
    for (uint32_t priority = 10; priority < 20; ++priority) world.send(world.owner, priority, priority);
    for (uint32_t priority = 10; priority < 20; ++priority) world.report->received.fetch_add(world.receive(world.owner));
    world.send(world.owner, 3, 1), world.send(world.owner, 30, 2);
  };
  return {
      {"the first message", 4, nothing, sends(5), {{}, {9}}},
      {"behind others", 8, line_queued, sends(5), {{1, 2, 3}, {1, 2, 3, 9}}},
      {"a new top", 4, two_queued, sends(7), {{1, 2}, {9, 1, 2}}},
      {"a list below", 4, two_queued, sends(3), {{1, 2}, {1, 2, 9}}},
      {"a new list below", 4, two_queued, sends(1), {{1, 2}, {1, 2, 9}}},
      {"to who waits", 4, receiver_waits, sends(5), {{}, {1009}}},
      {"the only message", 4, [](World& world) { world.send(world.owner, 5, 1); }, receives, {{1}, {}}},
      {"the first of a line", 8, line_queued, receives, {{1, 2, 3}, {2, 3}}},
      {"the last of the top", 4, two_queued, receives, {{1, 2}, {2}}},
      {"behind stale bits", 12, stale_index, receives, {{2, 1}, {1}}},
      {"a place for who waits", 1, sender_waits, receives, {{1}, {2}}},
      {"a wait that ends", 4, nothing, [](const World& world) { wait_and_receive(world, world.victim, [] {}); }, {{}}},
      {"a wait that is served", 4, nothing,
       [](const World& world) {
         wait_and_receive(world, world.victim, [&] { world.send(world.other_victim, 5, 9); });
       },
       {{}, {9}}},
      {"a sender's wait that ends", 1, [](World& world) { world.send(world.owner, 5, 1); },
       [](const World& world) { wait_and_send(world, world.victim, 5, 9, [] {}); },
       {{1}}},
      {"a sender's wait that is served", 1, [](World& world) { world.send(world.owner, 5, 1); },
       [](const World& world) {
         wait_and_send(world, world.victim, 5, 9,
                       [&] { world.report->received.fetch_add(world.receive(world.other_victim)); });
       },
       {{1}, {9}, {}}},
  };
}

const World* handler_world = nullptr;

// Sends and receives as a program's handler might.
void on_signal(int) {
  Seat seat = handler_world->victim;
  seat.level = 1;
  handler_world->send(seat, 6, 100);
  handler_world->report->received.fetch_add(handler_world->receive(seat));
  handler_world->report->handled.store(1);
}

/// The victim's registers and the part of its stack that it is working on.
class Snapshot {
 public:
  explicit Snapshot(pid_t victim) : victim_(victim) {
    MQUEUEFS_CHECK(ptrace(PTRACE_GETREGS, victim_, nullptr, &registers_) == 0);
    MQUEUEFS_CHECK(ptrace(PTRACE_GETFPREGS, victim_, nullptr, &vectors_) == 0);
    MQUEUEFS_CHECK(process_vm_readv(victim_, &here_, 1, &there(), 1, 0) == sizeof(stack_));
  }
  void restore() {
    MQUEUEFS_CHECK(process_vm_writev(victim_, &here_, 1, &there(), 1, 0) == sizeof(stack_));
    registers_.orig_rax = static_cast<unsigned long long>(-1);  // no system call is restarted
    MQUEUEFS_CHECK(ptrace(PTRACE_SETREGS, victim_, nullptr, &registers_) == 0);
    MQUEUEFS_CHECK(ptrace(PTRACE_SETFPREGS, victim_, nullptr, &vectors_) == 0);
  }

 private:
  const iovec& there() {
    there_ = {reinterpret_cast<void*>(registers_.rsp - 128), sizeof(stack_)};
    return there_;
  }

  pid_t victim_;
  user_regs_struct registers_;
  user_fpregs_struct vectors_;
  std::byte stack_[4096];
  iovec here_{stack_, sizeof(stack_)};
  iovec there_{};
};

class SegmentSingleStep : public ::testing::TestWithParam<Scenario> {
 protected:
  SegmentSingleStep()
      : segment_({GetParam().maxmsg, 8}),
        report_(static_cast<Report*>(
            mmap(nullptr, sizeof(Report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0))) {}
  ~SegmentSingleStep() override {
    kill_victim();
    munmap(report_, sizeof(Report));
  }

  World begin() {
    segment_.clear();
    const SharedQueue queue = segment_.queue();
    World world{queue,
                {queue.join(kOwner, 1).value(), 0},
                {queue.join(kVictim, 1).value(), 0},
                {queue.join(kVictim, 2).value(), 0},
                {queue.join(kBystander, 1).value(), 0},
                std::nullopt,
                std::nullopt,
                report_};
    report_->finished = report_->handled = 0;
    report_->sent = report_->received = 0;
    GetParam().before(world);
    if (world.sender) report_->sent.fetch_add(2);
    return world;
  }

  /// A victim that is about to begin.
  void start(const World& world) {
    victim_ = fork();
    if (victim_ == 0) {
      handler_world = &world;
      signal(SIGUSR1, on_signal);
      ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
      raise(SIGSTOP);
      GetParam().victim(world);
      report_->finished = 1;
      raise(SIGSTOP);
      _exit(0);
    }
    int status = 0;
    ASSERT_EQ(waitpid(victim_, &status, 0), victim_);
  }

  /// False: it has finished.
  bool step() {
    int status = 0;
    MQUEUEFS_CHECK(ptrace(PTRACE_SINGLESTEP, victim_, nullptr, nullptr) == 0);
    MQUEUEFS_CHECK(waitpid(victim_, &status, 0) == victim_ && WIFSTOPPED(status));
    return report_->finished.load(std::memory_order_relaxed) == 0;
  }

  void kill_victim() {
    if (victim_ <= 0) return;
    kill(victim_, SIGKILL);
    while (waitpid(victim_, nullptr, 0) != victim_) {
    }
    victim_ = -1;
  }

  /// What is there; takes it.
  Contents contents(World& world) {
    Contents all;
    Aftermath after;
    const auto receiver = world.receiver;
    if (receiver && world.queue.cancel_wait(*receiver, after).value() == Wait::kServed) {
      uint64_t id = 0;
      if (world.queue.finish_receive(world.bystander, *receiver, bytes_of(id)).ok()) all.push_back(1000 + id);
    } else if (receiver) {
      world.queue.finish_wait(world.bystander, *receiver);
    }
    if (world.sender) {
      if (world.queue.cancel_wait(*world.sender, after).value() != Wait::kServed) report_->sent.fetch_sub(2);
      world.queue.finish_wait(world.bystander, *world.sender);
    }
    while (const uint64_t id = world.receive(world.owner)) all.push_back(id);
    return all;
  }

  void expect_whole_after_death(World& world) {
    Aftermath after;
    ASSERT_TRUE(world.queue.bury(world.owner, kVictim, after).ok());
    ASSERT_TRUE(world.queue.reclaim().ok());
    const Status verified = world.queue.verify();
    ASSERT_TRUE(verified.ok()) << verified.error().step;
    ASSERT_EQ(world.queue.payload_bytes(), 8 * world.queue.messages());
    const Contents found = contents(world);
    ASSERT_TRUE(GetParam().may_hold.contains(found)) << ::testing::PrintToString(found);
    // It works on.
    world.send(world.owner, 1, 77);
    ASSERT_EQ(world.receive(world.bystander), 77U);
    ASSERT_EQ(world.queue.reclaim().value(), 0U);
    ASSERT_FALSE(world.queue.dead());
  }

  struct Memory {
    std::vector<std::byte> bytes;
    uint64_t sent;
    uint64_t received;
  };
  // The pages that a few messages touch.
  std::vector<std::byte*> pages() const {
    const Format format = segment_.queue().format();
    std::vector<std::byte*> all;
    for (const uint64_t offset : {uint64_t{0}, format.leaves, format.leaves + 4096, format.lists, format.returned,
                                  format.members, format.waiters, format.slot_table, format.payloads}) {
      all.push_back(segment_.base() + offset / 4096 * 4096);
    }
    return all;
  }
  void save(Memory& memory) const {
    memory.bytes.clear();
    for (std::byte* page : pages()) memory.bytes.insert(memory.bytes.end(), page, page + 4096);
    memory.sent = report_->sent;
    memory.received = report_->received;
  }
  void put_back(const Memory& memory) const {
    size_t at = 0;
    for (std::byte* page : pages()) memcpy(page, &memory.bytes[4096 * at++], 4096);
    report_->sent = memory.sent;
    report_->received = memory.received;
    report_->finished = report_->handled = 0;
  }

  TestSegment segment_;
  Report* report_;
  pid_t victim_ = -1;
};

TEST_P(SegmentSingleStep, DeathAtAnyInstructionLeavesTheQueueWhole) {
  World world = begin();
  start(world);
  Memory memory;
  uint32_t steps = 0;
  for (; step(); ++steps) {
    SCOPED_TRACE("after instruction " + std::to_string(steps));
    save(memory);
    expect_whole_after_death(world);
    if (HasFatalFailure()) return;
    put_back(memory);
  }
  kill_victim();
  EXPECT_GT(steps, 50U);
  RecordProperty("instructions", static_cast<int>(steps));

  const uint32_t stride = effort() > 1 ? 1 : steps / 4;
  for (uint32_t last = stride / 2; last < steps; last += stride) {
    SCOPED_TRACE("killed after instruction " + std::to_string(last));
    World other = begin();
    start(other);
    for (uint32_t done = 0; done < last && step(); ++done) {
    }
    kill_victim();
    expect_whole_after_death(other);
    if (HasFatalFailure()) return;
  }
}

TEST_P(SegmentSingleStep, AHandlerAtAnyInstructionMaySendAndReceive) {
  World world = begin();
  start(world);
  Memory memory;
  for (uint32_t steps = 0; step(); ++steps) {
    SCOPED_TRACE("after instruction " + std::to_string(steps));
    save(memory);
    Snapshot snapshot(victim_);
    ASSERT_EQ(ptrace(PTRACE_CONT, victim_, nullptr, SIGUSR1), 0);
    int status = 0;
    ASSERT_EQ(waitpid(victim_, &status, 0), victim_);
    ASSERT_TRUE(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP) << status;
    ASSERT_EQ(report_->finished, 1U);
    ASSERT_EQ(report_->handled, 1U);
    const Status verified = world.queue.verify();
    ASSERT_TRUE(verified.ok()) << verified.error().step;
    ASSERT_EQ(world.queue.payload_bytes(), 8 * world.queue.messages());
    ASSERT_EQ(world.queue.reclaim().value(), 0U);
    uint64_t received = report_->received;
    for (const uint64_t id : contents(world)) received += id % 1000;
    ASSERT_EQ(received, report_->sent);
    ASSERT_FALSE(world.queue.dead());
    put_back(memory);
    snapshot.restore();
  }
}

std::string name_of(const ::testing::TestParamInfo<Scenario>& scenario) {
  std::string name;
  bool up = true;
  for (const char* at = scenario.param.name; *at != 0; ++at) {
    if (isalpha(*at) == 0) {
      up = true;
    } else {
      name += up ? static_cast<char>(toupper(*at)) : *at;
      up = false;
    }
  }
  return name;
}

INSTANTIATE_TEST_SUITE_P(All, SegmentSingleStep, ::testing::ValuesIn(scenarios()), name_of);

}  // namespace
}  // namespace mqueuefs::testing
