// Rows that time one operation. See fs_rows.h and measure.h.
#include "fs_rows.h"

#include <fcntl.h>
#include <mqueue.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <vector>

#include "control/queue_ioctl.h"
#include "measure.h"
#include "segment/segment_memory.h"

namespace mqueuefs::bench {
namespace {

constexpr int kPayloadBytes = 64;

// Contenders in the order kernel (if it is there), floor, mqueuefs, each made by `make` for its folder.
template <typename Make>
std::vector<Contender> contenders(const World& world, Make make) {
  std::vector<Contender> result;
  if (!world.kernel.empty()) result.push_back({"kernel", make(world.kernel)});
  result.push_back({"floor", make(world.floor)});
  result.push_back({"mqueuefs", make(world.ours)});
  return result;
}

// A row of medians in microseconds, with the ratio mqueuefs / floor; `at_most` 0: no target.
Row floor_row(const World& world, const std::string& what, const Measured& measured, double at_most) {
  Row row;
  row.what = what;
  row.unit = "us";
  const size_t floor = world.kernel.empty() ? 0 : 1;
  if (!world.kernel.empty()) row.kernel = measured.median_ns(0) / 1000;
  row.floor = measured.median_ns(floor) / 1000;
  row.mqueuefs = measured.median_ns(floor + 1) / 1000;
  row.ratio = measured.ratio(floor + 1, floor);
  if (at_most > 0) {
    char target[32];
    snprintf(target, sizeof target, "<= %.2f x floor", at_most);
    row.target = target;
    row.reached = *row.ratio <= at_most;
  }
  return row;
}

// Whether stat of a known name answers while the daemon is stopped: then no request went to it.
bool answers_without_daemon(const World& world, const std::string& path) {
  int answer[2];
  if (pipe2(answer, O_CLOEXEC) != 0) fail("pipe");
  struct stat found{};
  stat(path.c_str(), &found);
  kill(world.daemon, SIGSTOP);
  bool answered = false;
  {
    const Child child = Child::start([&] {
      struct stat again{};
      for (int index = 0; index < 100; ++index) {
        if (stat(path.c_str(), &again) != 0) return 1;
      }
      return write(answer[1], "y", 1) == 1 ? 0 : 1;
    });
    pollfd wait{answer[0], POLLIN, 0};
    answered = poll(&wait, 1, 3000) == 1;
    kill(world.daemon, SIGCONT);  // before the child is awaited: it may be stuck in the request
  }
  close(answer[0]);
  close(answer[1]);
  return answered;
}

void create_queue(const std::string& path) {
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) fail("create " + path);
  close(fd);
}

// One end of a queue: `count` sends or receives, timed.
struct Queue {
  std::function<int64_t(int count)> send;
  std::function<int64_t(int count)> receive;
};

Queue kernel_queue(int maxmsg) {
  mq_attr attributes{};
  attributes.mq_maxmsg = maxmsg;
  attributes.mq_msgsize = kPayloadBytes;
  const mqd_t queue = mq_open("/bench", O_RDWR | O_CREAT, 0600, &attributes);
  if (queue < 0) fail("mq_open");
  return {[queue](int count) {
            const char payload[kPayloadBytes] = {};
            const int64_t start = monotonic_ns();
            for (int index = 0; index < count; ++index) {
              if (mq_send(queue, payload, sizeof payload, 1) != 0) fail("mq_send");
            }
            return monotonic_ns() - start;
          },
          [queue](int count) {
            char payload[kPayloadBytes];
            const int64_t start = monotonic_ns();
            for (int index = 0; index < count; ++index) {
              if (mq_receive(queue, payload, sizeof payload, nullptr) != kPayloadBytes) fail("mq_receive");
            }
            return monotonic_ns() - start;
          }};
}

// Through FUSE; the floor gets the very same requests.
Queue fuse_queue(const std::string& path) {
  const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0) fail("open " + path);
  struct SendArgument {
    control::SendHeader header;
    char payload[kPayloadBytes];
  };
  struct ReceiveArgument {
    control::ReceiveHeader header;
    char payload[kPayloadBytes];
  };
  return {[fd](int count) {
            SendArgument argument{};
            argument.header.priority = 1;
            argument.header.size = kPayloadBytes;
            const auto command = control::queue_ioctl(control::QueueIoctl::kSend, sizeof argument);
            const int64_t start = monotonic_ns();
            for (int index = 0; index < count; ++index) {
              if (ioctl(fd, command, &argument) != control::kDone) fail("ioctl send");
            }
            return monotonic_ns() - start;
          },
          [fd](int count) {
            ReceiveArgument argument{};
            const auto command = control::queue_ioctl(control::QueueIoctl::kReceive, sizeof argument);
            const int64_t start = monotonic_ns();
            for (int index = 0; index < count; ++index) {
              argument.header = {};
              argument.header.buffer_size = kPayloadBytes;
              if (ioctl(fd, command, &argument) != control::kDone) fail("ioctl receive");
            }
            return monotonic_ns() - start;
          }};
}

}  // namespace

Row stat_row(const World& world) {
  constexpr int kOperations = 2'000;
  if (!world.kernel.empty()) create_queue(world.kernel + "/known");
  create_queue(world.ours + "/known");
  const auto measured = measure(contenders(world, [](const std::string& dir) {
    return [path = dir + "/known"] {
      struct stat found{};
      const int64_t start = monotonic_ns();
      for (int index = 0; index < kOperations; ++index) {
        if (stat(path.c_str(), &found) != 0) fail("stat " + path);
      }
      return monotonic_ns() - start;
    };
  }), kOperations, world.rounds);
  Row row = floor_row(world, "stat of a known name, repeated", measured, 0);
  row.target = "no request to the daemon";
  row.reached = answers_without_daemon(world, world.ours + "/known");
  row.note = *row.reached ? "answered 100 times while the daemon was stopped" : "no answer while the daemon was stopped";
  return row;
}

Row create_unlink_row(const World& world) {
  constexpr int kOperations = 50;
  const auto measured = measure(contenders(world, [](const std::string& dir) {
    return [dir] {
      const int64_t start = monotonic_ns();
      for (int index = 0; index < kOperations; ++index) {
        const std::string path = dir + "/n" + std::to_string(index);
        const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
        if (fd < 0) fail("create " + path);
        close(fd);
        if (unlink(path.c_str()) != 0) fail("unlink " + path);
      }
      return monotonic_ns() - start;
    };
  }), kOperations, world.rounds);
  return floor_row(world, "create + unlink", measured, 1.25);
}

void add_message_rows(const World& world, Report& report) {
  constexpr int kOperations = 200;
  if (!run_program({world.program, "create", "--ns", "bench", "--maxmsg", std::to_string(kOperations), "--msgsize",
                    std::to_string(kPayloadBytes), "known-messages"})) {
    fail("mqueuefs create");
  }
  std::vector<Queue> queues;
  if (!world.kernel.empty()) queues.push_back(kernel_queue(kOperations));
  queues.push_back(fuse_queue(world.floor + "/known"));
  queues.push_back(fuse_queue(world.ours + "/known-messages"));

  // A round fills each queue and drains it again, both timed: a batch of sends must have its receives.
  Measured sends;
  Measured receives;
  sends.rounds.resize(queues.size());
  receives.rounds.resize(queues.size());
  for (int round = -1; round < world.rounds; ++round) {
    for (size_t step = 0; step < queues.size(); ++step) {
      const size_t index = round % 2 == 0 ? step : queues.size() - 1 - step;
      const auto send_ns = static_cast<double>(queues[index].send(kOperations));
      const auto receive_ns = static_cast<double>(queues[index].receive(kOperations));
      if (round < 0) continue;  // warming up
      sends.rounds[index].push_back(send_ns / kOperations);
      receives.rounds[index].push_back(receive_ns / kOperations);
    }
  }
  report.rows.push_back(floor_row(world, "ioctl send, 64 bytes", sends, 1.15));
  report.rows.push_back(floor_row(world, "ioctl receive, 64 bytes", receives, 1.15));
  if (!world.kernel.empty()) mq_unlink("/bench");
}

void add_segment_rows(const World& world, Report& report) {
  constexpr int kOperations = 20'000;
  struct Depth {
    uint32_t messages;
    double target_ns;
  };
  for (const Depth depth : {Depth{10, 100}, Depth{kMaxMessages, 400}}) {
    auto created = SegmentMemory::create({depth.messages, kPayloadBytes});
    if (!created) {
      errno = created.code();
      fail("a segment");
    }
    auto segment = std::make_shared<SegmentMemory>(std::move(created.value()));
    auto random = std::make_shared<uint32_t>(1);
    const auto next_priority = [random] {
      *random = *random * 1664525u + 1013904223u;
      return (*random >> 16) % 32;
    };
    const std::vector<std::byte> payload(kPayloadBytes);
    const Seat seat{segment->queue().join(1, 1).value(), 0};
    Aftermath after;
    for (uint32_t index = 0; index + 1 < depth.messages; ++index) {
      if (!segment->queue().try_send(seat, next_priority(), payload, after)) fail("filling a segment");
    }
    const auto measured = measure({{"segment", [segment, seat, next_priority, payload, after]() mutable {
      const SharedQueue queue = segment->queue();

      std::vector<std::byte> buffer(kPayloadBytes);
      const int64_t start = monotonic_ns();
      for (int index = 0; index < kOperations; ++index) {
        if (!queue.try_send(seat, next_priority(), payload, after) || !queue.try_receive(seat, buffer, after)) {
          fail("a segment");
        }
      }
      return monotonic_ns() - start;
    }}}, kOperations, world.rounds);
    Row row;
    row.what = "segment alone: send + receive, " + std::to_string(depth.messages) + " messages";
    row.unit = "ns";
    row.mqueuefs = measured.median_ns(0);
    row.target = "<= " + std::to_string(static_cast<int>(depth.target_ns)) + " ns";
    row.reached = *row.mqueuefs <= depth.target_ns;
    row.note = "64 bytes, 32 priorities, one process";
    report.rows.push_back(row);
  }
}

}  // namespace mqueuefs::bench
