// Processes with several threads work on one queue and are killed, one after the other, wherever they are. Each writes
// down what it is about to do and what it has done: nothing else may be in doubt.

#include <linux/futex.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <random>
#include <thread>
#include <vector>

#include "segment_test_support.h"

namespace mqueuefs::testing {
namespace {

constexpr uint32_t kProcesses = 4;
constexpr uint32_t kThreads = 2;
constexpr uint64_t kIds = 1 << 22;
constexpr uint32_t kOwnerIncarnation = 1;

struct Board {
  struct alignas(64) Thread {
    std::atomic<uint64_t> sending;  ///< the id, while it sends
    std::atomic<uint32_t> receiving;
    std::atomic<uint64_t> operations;
  };
  std::atomic<uint64_t> next_id;
  Thread threads[kProcesses][kThreads];
  std::atomic<uint8_t> sent[kIds];  ///< 1: perhaps; 2: certainly
  std::atomic<uint8_t> received[kIds];
};

class Worker {
 public:
  Worker(const SharedQueue& queue, Board& board, uint32_t process, uint32_t thread, uint32_t incarnation)
      : queue_(queue), board_(board), mine_(board.threads[process][thread]), random_(incarnation * 31 + thread) {
    const auto member = queue.join(incarnation, thread + 1);
    if (!member) _exit(3);
    seat_ = {*member, 0};
  }

  [[noreturn]] void work() {
    for (;;) {
      if (random_() % 2 == 0) {
        send_one();
      } else {
        receive_one();
      }
      mine_.operations.fetch_add(1);
    }
  }

 private:
  Wait sleep(uint32_t waiter) {
    Aftermath after;
    for (int looks = 0; looks < 2; ++looks) {
      if (queue_.wait_state(waiter) != Wait::kGoesOn) return Wait::kServed;
      const timespec moment{0, 300'000};
      if (queue_.fall_asleep(waiter)) {
        syscall(SYS_futex, queue_.futex_of(waiter), FUTEX_WAIT, SharedQueue::kAsleepValue, &moment, nullptr, 0);
      }
    }
    const auto ended = queue_.cancel_wait(waiter, after);
    if (!ended) _exit(4);
    return *ended;
  }

  void send_one() {
    Aftermath after;
    uint64_t id = board_.next_id.fetch_add(1);
    if (id >= kIds) _exit(0);
    const uint32_t priority = random_() % 6;
    board_.sent[id] = 1;
    mine_.sending = id;
    bool done = false;
    if (random_() % 4 != 0) {
      const Status sent = queue_.try_send(seat_, priority, bytes_of(id), after);
      if (!sent && sent.code() != EAGAIN) _exit(5);
      done = sent.ok();
    } else {
      const auto waiter = queue_.wait_to_send(seat_, priority, bytes_of(id), random_() % 2, kSends, 0, after);
      if (!waiter && waiter.code() != EAGAIN) _exit(6);
      if (waiter.ok()) {
        done = sleep(*waiter) == Wait::kServed;
        queue_.finish_wait(seat_, *waiter);
      }
    }
    board_.sent[id] = done ? 2 : 0;
    mine_.sending = 0;
  }

  void receive_one() {
    Aftermath after;
    uint64_t id = 0;
    mine_.receiving = 1;
    if (random_() % 4 != 0) {
      const auto info = queue_.try_receive(seat_, bytes_of(id), after);
      if (!info && info.code() != EAGAIN) _exit(7);
    } else {
      const auto waiter = queue_.wait_to_receive(seat_, random_() % 2, kReceives, 0, after);
      if (!waiter && waiter.code() != EAGAIN) _exit(8);
      if (waiter.ok() && sleep(*waiter) == Wait::kServed) {
        if (!queue_.finish_receive(seat_, *waiter, bytes_of(id))) _exit(9);
      } else if (waiter.ok()) {
        queue_.finish_wait(seat_, *waiter);
      }
    }
    if (id != 0) board_.received[id].fetch_add(1);
    mine_.receiving = 0;
  }

  SharedQueue queue_;
  Board& board_;
  Board::Thread& mine_;
  Seat seat_;
  std::mt19937 random_;
};

class SegmentKill : public ::testing::Test {
 protected:
  SegmentKill()
      : segment_({10, 8}),
        queue_(segment_.queue()),
        owner_{queue_.join(kOwnerIncarnation, 1).value(), 0},
        board_(static_cast<Board*>(mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE,
                                        MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0))) {
    board_->next_id = 1;
  }
  ~SegmentKill() override {
    for (uint32_t process = 0; process < kProcesses; ++process) {
      if (pids_[process] > 0) kill(pids_[process], SIGKILL), waitpid(pids_[process], nullptr, 0);
    }
    munmap(board_, sizeof(Board));
  }

  void start(uint32_t process) {
    incarnations_[process] = ++incarnation_;
    pids_[process] = fork();
    if (pids_[process] != 0) return;
    for (uint32_t thread = 1; thread < kThreads; ++thread) {
      std::thread([this, process, thread] { Worker(queue_, *board_, process, thread, incarnation_).work(); }).detach();
    }
    Worker(queue_, *board_, process, 0, incarnation_).work();
  }

  void end(uint32_t process) {
    Aftermath after;
    kill(pids_[process], SIGKILL);
    int status = 0;
    ASSERT_EQ(waitpid(pids_[process], &status, 0), pids_[process]);
    pids_[process] = 0;
    ASSERT_TRUE(WIFSIGNALED(status)) << "it found something wrong: " << WEXITSTATUS(status);
    for (Board::Thread& thread : board_->threads[process]) {
      if (thread.receiving.exchange(0) != 0) ++receives_in_doubt_;
      if (thread.sending.exchange(0) != 0) ++sends_in_doubt_;
      operations_ += thread.operations.exchange(0);
    }
    ASSERT_TRUE(queue_.bury(owner_, incarnations_[process], after).ok());
    const auto reclaimed = queue_.reclaim();
    ASSERT_TRUE(reclaimed.ok() || reclaimed.code() == EAGAIN);
    if (reclaimed.ok()) slots_found_ += *reclaimed;
  }

  TestSegment segment_;
  SharedQueue queue_;
  Seat owner_;
  Board* board_;
  uint32_t incarnation_ = kOwnerIncarnation;
  uint32_t incarnations_[kProcesses] = {};
  pid_t pids_[kProcesses] = {};
  uint32_t receives_in_doubt_ = 0;
  uint32_t sends_in_doubt_ = 0;
  uint32_t slots_found_ = 0;
  uint64_t operations_ = 0;
};

TEST_F(SegmentKill, AtMostWhatTheKilledWereDoingIsInDoubt) {
  std::mt19937 random(1);
  for (uint32_t process = 0; process < kProcesses; ++process) start(process);
  const uint32_t kills = 400 * effort();
  for (uint32_t killed = 0; killed < kills && board_->next_id < kIds - 100'000; ++killed) {
    usleep(random() % 2000);
    const auto process = static_cast<uint32_t>(random() % kProcesses);
    end(process);
    if (HasFatalFailure()) return;
    start(process);
  }
  for (uint32_t process = 0; process < kProcesses; ++process) end(process);
  ASSERT_TRUE(queue_.reclaim().ok());
  const Status verified = queue_.verify();
  ASSERT_TRUE(verified.ok()) << verified.error().step;
  EXPECT_EQ(queue_.waiters().receivers + queue_.waiters().senders, 0U);
  EXPECT_EQ(queue_.payload_bytes(), 8 * queue_.messages());
  Aftermath after;
  while (const uint64_t id = receive(queue_, owner_, after)) board_->received[id].fetch_add(1);
  EXPECT_EQ(queue_.reclaim().value(), 0U);

  uint32_t lost = 0;
  uint64_t messages = 0;
  const uint64_t ids = std::min(board_->next_id.load(), kIds);
  for (uint64_t id = 1; id < ids; ++id) {
    const uint8_t sent = board_->sent[id];
    const uint8_t received = board_->received[id];
    ASSERT_LE(received, 1) << "message " << id << " came twice";
    ASSERT_FALSE(received == 1 && sent == 0) << "message " << id << " was not sent";
    if (sent == 2 && received == 0) ++lost;
    messages += received;
  }
  EXPECT_LE(lost, receives_in_doubt_);
  EXPECT_GT(messages, 100U);
  RecordProperty("kills", static_cast<int>(kills));
  printf("%u kills, %lu operations, %lu messages; in doubt: %u sends, %u receives, of which %u took one; %u slots found\n",
         kills, static_cast<unsigned long>(operations_), static_cast<unsigned long>(messages), sends_in_doubt_,
         receives_in_doubt_, lost, slots_found_);
}

}  // namespace
}  // namespace mqueuefs::testing
