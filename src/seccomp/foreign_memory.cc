#include "seccomp/foreign_memory.h"

#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <climits>
#include <utility>

#include "base/check.h"

namespace mqueuefs::seccomp {
namespace {

using std::chrono::microseconds;

// How long the loop waits: long enough for a page that comes from a disk, and for a thread on a busy machine to get its turn.
constexpr microseconds kMostPatience{10'000};
constexpr microseconds kLeastPatience{1'000};
// In the long run no more than one part of so many of the loop's time is spent so, for all targets together, but for the
// least.
constexpr int kShare = 20;
// What it takes if nothing has to be waited for.
constexpr microseconds kUsual{200};

// Of the loop's thread.
class Allowance {
 public:
  microseconds patience() {
    const auto now = std::chrono::steady_clock::now();
    const auto earned = std::chrono::duration_cast<microseconds>(now - last_) / kShare;
    if (earned.count() > 0) {
      left_ = std::min(left_ + std::min(earned, kMostPatience), kMostPatience);
      last_ = now;
    }
    return std::max(left_, kLeastPatience);
  }
  void note(microseconds waited) { left_ -= std::min(left_, std::max(waited - kUsual, microseconds(0))); }

 private:
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
  microseconds left_ = kMostPatience;
};
Allowance allowance;

// Each may be kept away by one task.
constexpr size_t kMostWorkers = 4;
// Of all, those among them whose listener is gone.
constexpr int kMostThreads = 256;
std::atomic<int> threads{0};
constexpr size_t kStackBytes = 256 * 1024;

// Without a mutex, which whoever is woken would have to wait for again: there are two, and one has the turn.
using Turn = std::atomic<uint32_t>;
void sleep_while(Turn& turn, uint32_t value, microseconds most) {
  const timespec timeout{most.count() / 1'000'000, most.count() % 1'000'000 * 1000};
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&turn), FUTEX_WAIT_PRIVATE, value,
          most == microseconds::max() ? nullptr : &timeout, nullptr, 0);
}
void wake(Turn& turn) {
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&turn), FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
}

}  // namespace

Status read_memory(pid_t task, uint64_t address, std::span<std::byte> bytes) {
  size_t done = 0;
  while (done < bytes.size()) {
    const iovec local{bytes.data() + done, bytes.size() - done};
    const iovec remote{reinterpret_cast<void*>(address + done), bytes.size() - done};
    const ssize_t got = process_vm_readv(task, &local, 1, &remote, 1, 0);
    if (got <= 0) return Error{EFAULT, "process_vm_readv"};
    done += static_cast<size_t>(got);
  }
  return {};
}

Status write_memory(pid_t task, std::span<const MemoryPiece> pieces) {
  std::array<iovec, 2> local;
  std::array<iovec, 2> remote;
  MQUEUEFS_CHECK(pieces.size() <= local.size());
  size_t count = 0;
  size_t left = 0;
  for (const MemoryPiece& piece : pieces) {
    if (piece.bytes.empty()) continue;
    local[count] = {const_cast<std::byte*>(piece.bytes.data()), piece.bytes.size()};
    remote[count++] = {reinterpret_cast<void*>(piece.address), piece.bytes.size()};
    left += piece.bytes.size();
  }
  if (left == 0) return {};
  const ssize_t put = process_vm_writev(task, local.data(), count, remote.data(), count, 0);
  if (put != static_cast<ssize_t>(left)) return Error{EFAULT, "process_vm_writev"};
  return {};
}

// Tells the loop that a worker is back. The last one to hold it may be a worker.
struct ForeignMemory::Bell {
  UniqueFd fd{eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  void ring() const {
    const uint64_t one = 1;
    static_cast<void>(::write(fd.get(), &one, sizeof one));
  }
};

struct ForeignMemory::Worker {
  enum : uint32_t {
    kIdle,     // the loop's turn, as in kDone and kBack
    kAsked,    // the thread's
    kDone,
    kGivenUp,  // the thread's, and the loop has not waited for it
    kBack,
    kEnd,
  };
  Turn turn{kIdle};
  std::function<Status()> job;  // of who has the turn
  Status result;
  pid_t task = 0;  // the loop's: whose memory keeps the thread away
  std::shared_ptr<const Bell> bell;

  void work() {
    for (;;) {
      const uint32_t now = turn.load();
      if (now == kEnd) return;
      // It may be given up before it is begun.
      if (now != kAsked && now != kGivenUp) {
        sleep_while(turn, now, microseconds::max());
        continue;
      }
      result = job();
      job = nullptr;
      uint32_t expected = kAsked;
      if (turn.compare_exchange_strong(expected, kDone)) {
        wake(turn);
      } else if (expected == kGivenUp && turn.compare_exchange_strong(expected, kBack)) {
        bell->ring();
      }
    }
  }

  // False: not yet.
  bool wait(microseconds most) {
    const auto end = std::chrono::steady_clock::now() + most;
    while (turn.load() == kAsked) {
      const auto left = std::chrono::duration_cast<microseconds>(end - std::chrono::steady_clock::now());
      uint32_t expected = kAsked;
      if (left.count() <= 0 && turn.compare_exchange_strong(expected, kGivenUp)) return false;
      if (left.count() > 0) sleep_while(turn, kAsked, left);
    }
    return true;
  }
};

ForeignMemory::ForeignMemory(control::Reactor& reactor, std::function<void()> back)
    : reactor_(reactor), back_(std::move(back)) {}

// Nobody can be waited for here: who is away ends when he is back.
ForeignMemory::~ForeignMemory() {
  for (const auto& worker : workers_) {
    worker->turn.store(Worker::kEnd);
    wake(worker->turn);
  }
}

Status ForeignMemory::read(pid_t task, uint64_t address, std::span<std::byte> bytes) {
  const auto copy = std::make_shared<std::vector<std::byte>>(bytes.size());
  const Status got = run(task, [task, address, copy] { return read_memory(task, address, *copy); });
  if (got) std::ranges::copy(*copy, bytes.begin());
  return got;
}

Status ForeignMemory::write(pid_t task, std::span<const MemoryPiece> pieces, std::function<bool()> is_there) {
  struct Copy {
    std::vector<std::vector<std::byte>> bytes;
    std::vector<MemoryPiece> pieces;
  };
  const auto copy = std::make_shared<Copy>();
  for (const MemoryPiece& piece : pieces) {
    copy->bytes.emplace_back(piece.bytes.begin(), piece.bytes.end());
    copy->pieces.push_back({piece.address, copy->bytes.back()});
  }
  return run(task, [task, copy, is_there = std::move(is_there)]() -> Status {
    if (!is_there()) return Error{ENOENT, "task"};
    return write_memory(task, copy->pieces);
  });
}

Status ForeignMemory::run(pid_t task, std::function<Status()> job) {
  const bool is_away = std::ranges::any_of(workers_, [task](const auto& worker) { return worker->task == task; });
  const auto worker = is_away ? nullptr : idle_worker();
  if (worker == nullptr) return Error{workers_.empty() ? EFAULT : EBUSY, "memory"};
  worker->job = std::move(job);
  worker->turn.store(Worker::kAsked);
  wake(worker->turn);
  const auto begun = std::chrono::steady_clock::now();
  const bool is_done = worker->wait(allowance.patience());
  allowance.note(std::chrono::duration_cast<microseconds>(std::chrono::steady_clock::now() - begun));
  if (is_done) return worker->result;
  worker->task = task;
  return Error{EBUSY, "memory"};
}

std::shared_ptr<ForeignMemory::Worker> ForeignMemory::idle_worker() {
  for (const auto& worker : workers_) {
    if (worker->task == 0) return worker;
  }
  if (workers_.size() >= kMostWorkers || threads.load() >= kMostThreads) return nullptr;
  if (bell_ == nullptr) {
    auto bell = std::make_shared<Bell>();
    auto watch = bell->fd ? reactor_.watch(bell->fd.get(), EPOLLIN, [this](uint32_t) { collect(); })
                          : Result<std::unique_ptr<control::Watch>>(last_error("eventfd"));
    if (!watch) return nullptr;
    bell_ = std::move(bell);
    watch_ = std::move(*watch);
  }
  auto worker = std::make_shared<Worker>();
  worker->bell = bell_;
  // Signals are the loop's.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_attr_setstacksize(&attributes, kStackBytes);
  auto passed = std::make_unique<std::shared_ptr<Worker>>(worker);
  pthread_t thread;
  const int failed = pthread_create(
      &thread, &attributes,
      [](void* given) -> void* {
        const std::unique_ptr<std::shared_ptr<Worker>> own(static_cast<std::shared_ptr<Worker>*>(given));
        (*own)->work();
        threads.fetch_sub(1);
        return nullptr;
      },
      passed.get());
  pthread_attr_destroy(&attributes);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (failed != 0) return nullptr;
  threads.fetch_add(1);
  static_cast<void>(passed.release());
  workers_.push_back(worker);
  return worker;
}

void ForeignMemory::collect() {
  uint64_t rung = 0;
  static_cast<void>(::read(bell_->fd.get(), &rung, sizeof rung));
  for (const auto& worker : workers_) {
    if (worker->turn.load() == Worker::kBack) worker->task = 0;
  }
  back_();
}

}  // namespace mqueuefs::seccomp
