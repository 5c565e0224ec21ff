// A contender's process for one row, and the processes that it works with.
//
// The row's body runs in a forked process: it sets up, then does a batch each time it is asked to, and says how
// long that took. So contenders can be asked in turns, and none shares a process with another.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "sandbox.h"

namespace mqueuefs::bench {

/// What a batch took.
struct Batch {
  int64_t total_ns = 0;
  int64_t operations = 0;
  std::vector<uint32_t> each_ns;  ///< of single operations, if the row times them
};

/// In the worker: does one batch.
using BatchFunction = std::function<Batch()>;

class Worker {
 public:
  /// `setup` runs in the new process. An empty function: this contender can't do this row.
  static Worker start(const std::function<BatchFunction()>& setup);

  bool able() const { return able_; }
  Batch run();

 private:
  Worker(Child child, int ask, int answer) : child_(std::move(child)), ask_(ask), answer_(answer) {}
  // As the destructor of child_: the process ends with this object.
  struct Descriptor {
    explicit Descriptor(int number) : fd(number) {}
    Descriptor(Descriptor&& other) noexcept : fd(other.fd) { other.fd = -1; }
    ~Descriptor();
    int fd;
  };

  Child child_;
  Descriptor ask_;
  Descriptor answer_;
  bool able_ = false;
};

/// Further processes of a row: each does its part of a batch when told to.
class Peers {
 public:
  Peers();
  /// Starts `count` processes; each runs `setup` once, then the function that it returned for each batch.
  void start(int count, const std::function<std::function<void()>()>& setup);
  /// All of them begin.
  void go();
  /// Waits until all of them are done.
  void wait();
  /// Waits until all of them sleep (or have ended): then they have nothing more to do before something happens.
  void wait_until_asleep();

 private:
  int go_[2];
  int done_[2];
  std::vector<Child> children_;
};

}  // namespace mqueuefs::bench
