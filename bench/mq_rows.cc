// See mq_rows.h and mq_worker.h.
#include "mq_rows.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>

#include "control/queue_ioctl.h"
#include "measure.h"
#include "mq_worker.h"
#include "sandbox.h"

namespace mqueuefs::bench {
namespace {

constexpr size_t kShort = 64;
constexpr long kDefaultMaxmsg = 10;

// Makes the batch of one contender, in its process.
using MakeBatch = std::function<BatchFunction(MessageCalls& calls)>;

Percentiles percentiles_of(std::vector<uint32_t>& each_ns, double unit_ns) {
  std::sort(each_ns.begin(), each_ns.end());
  const auto at = [&](double part) {
    const auto index = static_cast<size_t>(part * static_cast<double>(each_ns.size() - 1));
    return each_ns[index] / unit_ns;
  };
  return {at(0.5), at(0.99), at(0.999)};
}

uint32_t clamp_ns(int64_t ns) { return static_cast<uint32_t>(std::clamp<int64_t>(ns, 0, UINT32_MAX)); }

// A queue's name in this row: each contender's process has its own.
std::string queue_name(const char* which = "") { return "bench-" + std::to_string(getpid()) + which; }

// A row, all its contenders in turns. `floor`: what the do-nothing file system does meanwhile, if anything.
struct Measurement {
  MqRow row;
  std::vector<std::vector<double>> rounds;  // [column][round], ns for one operation

  /// Median of the rounds' ratios of two columns.
  std::optional<double> ratio(size_t of, size_t to) const {
    if (rounds[of].empty() || rounds[to].empty()) return std::nullopt;
    std::vector<double> ratios;
    for (size_t round = 0; round < rounds[of].size(); ++round) ratios.push_back(rounds[of][round] / rounds[to][round]);
    return median(ratios);
  }
};

Measurement measure_row(const MqWorld& world, const MqReport& report, const std::string& what, const std::string& unit,
                        const MakeBatch& make, const BatchFunction& floor = {}) {
  const double unit_ns = unit == "us" ? 1000 : 1;
  Measurement result;
  result.row.what = what;
  result.row.unit = unit;
  const size_t columns = report.columns.size();
  result.row.cells.resize(columns);
  result.row.to_kernel.resize(columns);
  result.rounds.resize(columns);
  std::vector<std::optional<Worker>> workers(columns);
  for (size_t column = 0; column < columns; ++column) {
    if (report.columns[column] == "floor") {
      if (floor) workers[column].emplace(Worker::start([&] { return floor; }));
      continue;
    }
    const auto contender = std::find_if(world.contenders.begin(), world.contenders.end(),
                                        [&](const auto& one) { return one.name == report.columns[column]; });
    if (contender == world.contenders.end()) continue;
    workers[column].emplace(Worker::start([&] {
      static std::unique_ptr<MessageCalls> calls;  // for as long as the process
      calls = contender->start();
      return make(*calls);
    }));
    if (!workers[column]->able()) workers[column].reset();
  }

  std::vector<std::vector<uint32_t>> each(columns);
  for (int round = -1; round < world.rounds; ++round) {
    for (size_t step = 0; step < columns; ++step) {
      const size_t column = round % 2 == 0 ? step : columns - 1 - step;
      if (!workers[column]) continue;
      const Batch batch = workers[column]->run();
      if (round < 0) continue;  // warming up
      result.rounds[column].push_back(static_cast<double>(batch.total_ns) / static_cast<double>(batch.operations));
      each[column].insert(each[column].end(), batch.each_ns.begin(), batch.each_ns.end());
    }
  }
  size_t kernel = columns;
  for (size_t column = 0; column < columns; ++column) {
    if (report.columns[column] == world.baseline) kernel = column;
    if (result.rounds[column].empty()) continue;
    MqCell cell{median(result.rounds[column]) / unit_ns, std::nullopt};
    if (!each[column].empty()) cell.of = percentiles_of(each[column], unit_ns);
    result.row.cells[column] = cell;
  }
  for (size_t column = 0; column < columns && kernel < columns; ++column) {
    if (column != kernel && report.columns[column] != "floor") result.row.to_kernel[column] = result.ratio(column, kernel);
  }
  return result;
}

size_t column_of(const MqReport& report, const std::string& name) {
  return static_cast<size_t>(std::find(report.columns.begin(), report.columns.end(), name) - report.columns.begin());
}

// What mapped memory is to reach: at most so many times the kernel's time, and boost's.
void aim(const MqReport& report, Measurement& measured, double of_kernel, std::optional<double> of_boost = {}) {
  const size_t mapped = column_of(report, "mapped");
  const size_t kernel = column_of(report, "kernel");
  const size_t boost = column_of(report, "boost");
  const auto ratio = kernel < report.columns.size() ? measured.ratio(mapped, kernel) : std::nullopt;
  if (!ratio) return;
  char target[100];
  snprintf(target, sizeof target, "mapped <= %.2g x kernel", of_kernel);
  measured.row.target = target;
  measured.row.reached = *ratio <= of_kernel;
  const auto peer = of_boost && boost < report.columns.size() ? measured.ratio(mapped, boost) : std::nullopt;
  if (!peer) return;
  snprintf(target, sizeof target, ", <= %.2g x boost (%.2f)", *of_boost, *peer);
  measured.row.target += target;
  measured.row.reached = *measured.row.reached && *peer <= *of_boost;
}

// A batch of `count`: first all of them under one clock, then each under its own.
template <typename Once>
Batch time_batch(int count, Once once) {
  Batch batch;
  const int64_t start = monotonic_ns();
  for (int index = 0; index < count; ++index) once();
  batch.total_ns = monotonic_ns() - start;
  batch.operations = count;
  batch.each_ns.reserve(static_cast<size_t>(count));
  int64_t before = monotonic_ns();
  for (int index = 0; index < count; ++index) {
    once();
    const int64_t now = monotonic_ns();
    batch.each_ns.push_back(clamp_ns(now - before));
    before = now;
  }
  return batch;
}

// An ioctl like a receive of `size` bytes, to the file system that does nothing.
BatchFunction floor_ioctl(const MqWorld& world, size_t size, int count) {
  return [path = world.floor + "/known", size, count, fd = -1]() mutable {
    if (fd < 0) fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
    if (fd < 0) fail("open " + path);
    const auto bytes = static_cast<uint32_t>(sizeof(control::ReceiveHeader) + size);
    std::vector<char> argument(bytes);
    const auto command = control::queue_ioctl(control::QueueIoctl::kReceive, bytes);
    return time_batch(count, [&] {
      if (ioctl(fd, command, argument.data()) != 0) fail("ioctl");
    });
  };
}

struct PairRow {
  std::string what;
  long maxmsg;
  size_t size;
  int queued;
  int count;
};

// Sends and receives in one process, nobody waiting.
BatchFunction pairs(MessageCalls& calls, const PairRow& row) {
  const std::string name = queue_name();
  if (!calls.create(name, row.maxmsg, static_cast<long>(row.size))) return {};
  const long queue = calls.open(name);
  calls.remove(name);
  return [&calls, row, queue, message = std::vector<char>(row.size, 'm'), filled = false]() mutable {
    for (int index = 0; index < row.queued && !filled; ++index) calls.send(queue, message.data(), row.size, 1);
    filled = true;
    return time_batch(row.count, [&] {
      calls.send(queue, message.data(), row.size, 1);
      calls.receive(queue, message.data(), row.size);
    });
  };
}

BatchFunction ping_pong(MessageCalls& calls, int count) {
  const std::string there = queue_name("there");
  const std::string back = queue_name("back");
  if (!calls.create(there, kDefaultMaxmsg, kShort) || !calls.create(back, kDefaultMaxmsg, kShort)) return {};
  auto peers = std::make_shared<Peers>();
  peers->start(1, [&] {
    pin_to_processor(1);
    const long in = calls.open(there);
    const long out = calls.open(back);
    return [&calls, in, out, count] {
      char message[kShort];
      for (int index = 0; index < 2 * count; ++index) {
        calls.receive(in, message, sizeof message);
        calls.send(out, message, sizeof message, 0);
      }
    };
  });
  pin_to_processor(0);
  const long out = calls.open(there);
  const long in = calls.open(back);
  return [&calls, peers, in, out, count] {
    char message[kShort] = {};
    peers->go();
    const Batch batch = time_batch(count, [&] {
      calls.send(out, message, sizeof message, 0);
      calls.receive(in, message, sizeof message);
    });
    peers->wait();
    return batch;
  };
}

// `count` messages from `senders` to `receivers` (each a divisor of count); one of each has a processor of its own.
BatchFunction stream(MessageCalls& calls, int senders, int receivers, int count) {
  const std::string name = queue_name();
  if (!calls.create(name, kDefaultMaxmsg, kShort)) return {};
  auto sending = std::make_shared<Peers>();
  auto receiving = std::make_shared<Peers>();
  const bool apart = senders == 1 && receivers == 1;
  sending->start(senders, [&] {
    if (apart) pin_to_processor(0);
    return [&calls, queue = calls.open(name), part = count / senders] {
      const char message[kShort] = {};
      for (int index = 0; index < part; ++index) calls.send(queue, message, sizeof message, 0);
    };
  });
  receiving->start(receivers, [&] {
    if (apart) pin_to_processor(1);
    return [&calls, queue = calls.open(name), part = count / receivers] {
      char message[kShort];
      for (int index = 0; index < part; ++index) calls.receive(queue, message, sizeof message);
    };
  });
  return [sending, receiving, count] {
    Batch batch;
    const int64_t start = monotonic_ns();
    receiving->go();
    sending->go();
    receiving->wait();
    batch.total_ns = monotonic_ns() - start;
    batch.operations = count;
    sending->wait();
    return batch;
  };
}

// What a send costs its sender when `receivers` sleep on the queue, or (kAll) how long it takes until all of them
// are served, for each.
enum class Until { kSent, kAll };

BatchFunction serve_sleepers(MessageCalls& calls, int receivers, Until until, int count) {
  const std::string name = queue_name();
  if (!calls.create(name, kDefaultMaxmsg, kShort)) return {};
  auto peers = std::make_shared<Peers>();
  peers->start(receivers, [&] {
    return [&calls, queue = calls.open(name)] {
      char message[kShort];
      calls.receive(queue, message, sizeof message);
    };
  });
  return [&calls, peers, queue = calls.open(name), receivers, until, count] {
    const char message[kShort] = {};
    Batch batch;
    for (int index = 0; index < count; ++index) {
      peers->go();
      peers->wait_until_asleep();
      const int64_t start = monotonic_ns();
      for (int receiver = 0; receiver < receivers; ++receiver) calls.send(queue, message, sizeof message, 0);
      if (until == Until::kAll) peers->wait();
      const int64_t took = monotonic_ns() - start;
      if (until == Until::kSent) peers->wait();
      batch.total_ns += took;
      batch.operations += receivers;
      batch.each_ns.push_back(clamp_ns(took / receivers));
    }
    return batch;
  };
}

// Half full, priorities at random.
BatchFunction deep(MessageCalls& calls, long maxmsg, unsigned priorities, int count) {
  const std::string name = queue_name();
  if (!calls.create(name, maxmsg, kShort)) return {};
  const long queue = calls.open(name);
  calls.remove(name);
  return [&calls, queue, maxmsg, priorities, count, filled = false, random = 1u]() mutable {
    char message[kShort] = {};
    const auto next_priority = [&] {
      random = random * 1664525u + 1013904223u;
      return (random >> 16) % priorities;
    };
    for (long index = 0; index < maxmsg / 2 && !filled; ++index) {
      calls.send(queue, message, sizeof message, next_priority());
    }
    filled = true;
    return time_batch(count, [&] {
      calls.send(queue, message, sizeof message, next_priority());
      calls.receive(queue, message, sizeof message);
    });
  };
}

BatchFunction first_operation(MessageCalls& calls, bool with_open, int count) {
  return [&calls, with_open, count] {
    const char message[kShort] = {};
    Batch batch;
    for (int index = 0; index < count; ++index) {
      const std::string name = queue_name("first");
      if (!calls.create(name, kDefaultMaxmsg, kShort)) fail("creating a queue");
      const int64_t begin = monotonic_ns();
      const long queue = calls.open(name);
      const int64_t opened = monotonic_ns();
      calls.send(queue, message, sizeof message, 0);
      const int64_t took = monotonic_ns() - (with_open ? begin : opened);
      batch.total_ns += took;
      batch.each_ns.push_back(clamp_ns(took));
      calls.close(queue);
      calls.remove(name);
    }
    batch.operations = count;
    return batch;
  };
}

// Two of the contenders are one user in one namespace, and have a queue each.
constexpr rlim_t kShares = 2;

// How deep a queue of messages of kShort bytes may be (doc/behaviour.md D2).
long permitted_depth() {
  rlimit limit{};
  getrlimit(RLIMIT_MSGQUEUE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_MSGQUEUE, &limit);
  constexpr long kDeepest = 65'536;
  if (limit.rlim_cur == RLIM_INFINITY) return kDeepest;
  // Others of this user have queues, too.
  long depth = 16;
  while (depth < kDeepest && static_cast<rlim_t>(2 * depth) * (kShort + 48 + 48) < limit.rlim_cur / kShares) depth *= 2;
  return depth;
}

long permitted_size(long wished) {
  rlimit limit{};
  getrlimit(RLIMIT_MSGQUEUE, &limit);
  if (limit.rlim_max == RLIM_INFINITY || limit.rlim_max / kShares > static_cast<rlim_t>(wished) + 96) return wished;
  return static_cast<long>((limit.rlim_max / kShares - 96) / (64 * 1024) * (64 * 1024));
}

}  // namespace

void add_pair_rows(const MqWorld& world, MqReport& report) {
  const int count = std::max(10, 5'000 / world.scale);
  const long large = permitted_size(1024 * 1024);
  const std::string large_name = large == 1024 * 1024 ? "1 MiB" : std::to_string(large / 1024) + " KiB";
  const PairRow rows[] = {
      {"send + receive, 64 bytes, empty queue", kDefaultMaxmsg, kShort, 0, count},
      {"send + receive, 64 bytes, 8 queued", kDefaultMaxmsg, kShort, 8, count},
      {"send + receive, 8 KiB, empty queue", kDefaultMaxmsg, 8192, 0, count},
      {"send + receive, " + large_name + ", empty queue", 1, static_cast<size_t>(large), 0, std::max(2, count / 250)},
  };
  const size_t ours = column_of(report, world.through_daemon);
  const size_t floor = column_of(report, "floor");
  for (const PairRow& pair : rows) {
    const bool one_request = pair.size <= 8192;
    Measurement measured = measure_row(
        world, report, pair.what, "us", [&](MessageCalls& calls) { return pairs(calls, pair); },
        one_request ? floor_ioctl(world, pair.size, 2 * count) : BatchFunction());
    if (const auto ratio = one_request ? measured.ratio(ours, floor) : std::nullopt) {
      char note[100];
      snprintf(note, sizeof note, "floor: one ioctl that does nothing; through the daemon %.2f x that", *ratio);
      measured.row.note = note;
    }
    if (pair.size == kShort) aim(report, measured, 1 / 6.0, 1.6);
    if (pair.size == 8192) aim(report, measured, 1 / 2.5);
    report.rows.push_back(measured.row);
  }
}

void add_process_rows(const MqWorld& world, MqReport& report) {
  // Long enough that neither the start of the processes nor what an implementation learns in the first of them counts.
  const int pings = std::max(16, 2'000 / world.scale);
  const int messages = std::max(64, 20'000 / world.scale);
  const auto on_two = [&](double of_kernel) {  // a target for two processors
    return world.one_processor ? std::nullopt : std::optional(of_kernel);
  };
  const std::string apart = world.one_processor ? "" : ", each on a processor of its own";
  const auto add = [&](const std::string& what, const MakeBatch& make, const std::string& note,
                       std::optional<double> of_kernel = {}) {
    Measurement measured = measure_row(world, report, what, "us", make);
    measured.row.note = note;
    if (of_kernel) aim(report, measured, *of_kernel);
    report.rows.push_back(measured.row);
  };
  add("ping-pong of two processes, 64 bytes", [&](MessageCalls& calls) { return ping_pong(calls, pings); },
      "there and back" + apart, world.one_processor ? 1.2 : 0.15);
  add("stream, 1 sender, 1 receiver, 64 bytes", [&](MessageCalls& calls) { return stream(calls, 1, 1, messages); },
      "a message; 10 slots" + apart, on_two(1 / 3.0));
  add("stream, 4 senders, 4 receivers, 64 bytes",
      [&](MessageCalls& calls) { return stream(calls, 4, 4, messages); }, "a message; 10 slots", on_two(1 / 2.5));
  const int sleeps = std::max(2, 20 / world.scale);
  add("send to a sleeping receiver", [&](MessageCalls& calls) { return serve_sleepers(calls, 1, Until::kSent, sleeps); },
      "the sender's time", 1.15);
  for (const int receivers : {1, 4, 64}) {
    add("serve " + std::to_string(receivers) + (receivers == 1 ? " blocked receiver" : " blocked receivers"),
        [&, receivers](MessageCalls& calls) {
          return serve_sleepers(calls, receivers, Until::kAll, std::max(2, sleeps / (receivers == 64 ? 5 : 1)));
        },
        "for each, until all of them have said so through a pipe");
  }
}

void add_deep_rows(const MqWorld& world, MqReport& report) {
  const long depth = permitted_depth();
  for (const unsigned priorities : {1u, 4u, 32'768u}) {
    report.rows.push_back(measure_row(world, report,
                                      "maxmsg " + std::to_string(depth) + ", half full, " +
                                          std::to_string(priorities) + (priorities == 1 ? " priority" : " priorities"),
                                      "us",
                                      [&](MessageCalls& calls) {
                                        return deep(calls, depth, priorities, std::max(10, 500 / world.scale));
                                      })
                              .row);
    if (depth < 65'536) report.rows.back().note = "send + receive, 64 bytes; as deep as RLIMIT_MSGQUEUE lets it be here";
  }
}

void add_first_operation_rows(const MqWorld& world, MqReport& report) {
  const int count = std::max(2, 20 / world.scale);
  for (const bool with_open : {false, true}) {
    report.rows.push_back(
        measure_row(world, report, with_open ? "open of an existing queue and first send" : "first send after open",
                    "us", [&](MessageCalls& calls) { return first_operation(calls, with_open, count); })
            .row);
  }
}

}  // namespace mqueuefs::bench
