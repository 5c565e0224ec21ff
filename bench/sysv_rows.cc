// See sysv_rows.h. Each contender works in a process of its own (mq_worker.h), and they take turns.
#include "sysv_rows.h"

#include <dlfcn.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <vector>

#include "measure.h"
#include "mq_worker.h"
#include "sysv_calls.h"

namespace mqueuefs::bench {
namespace {

constexpr size_t kText = 64;
constexpr size_t kPage = 4096;

struct Message {
  long type = 1;
  char text[kText] = {};
};

void must(bool done, const char* what) {
  if (!done) fail(what);
}

using MakeBatch = std::function<BatchFunction(const SysvCalls& calls)>;

template <typename Once>
Batch time_batch(int count, Once once) {
  Batch batch;
  const int64_t start = monotonic_ns();
  for (int index = 0; index < count; ++index) once();
  batch.total_ns = monotonic_ns() - start;
  batch.operations = count;
  return batch;
}

// A process at the other end of a socket that answers each packet with another one, and does nothing else: what an
// operation through a daemon costs at least. `trips` of them are one operation.
BatchFunction round_trips(int trips, int count) {
  // About as many bytes as a call with a short message, and its answer.
  struct Packets {
    char call[128] = {};
    char answer[48] = {};
  };
  int ends[2];
  must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0, "socketpair");
  auto server = std::make_shared<Child>(Child::start([&] {
    close(ends[1]);
    Packets packets;
    while (recv(ends[0], packets.call, sizeof packets.call, 0) > 0) {
      if (send(ends[0], packets.answer, sizeof packets.answer, 0) < 0) return 1;
    }
    return 0;
  }));
  close(ends[0]);
  return [server, fd = ends[1], trips, count] {
    Packets packets;
    return time_batch(count, [&] {
      for (int trip = 0; trip < trips; ++trip) {
        must(send(fd, packets.call, sizeof packets.call, 0) > 0, "send");
        must(recv(fd, packets.answer, sizeof packets.answer, 0) > 0, "recv");
      }
    });
  };
}

struct Measurement {
  std::string what;
  std::string unit = "us";
  MakeBatch make;
  int count = 0;
  int trips = 0;  // of the floor; 0: none
};

Row measure_row(const SysvWorld& world, const Measurement& measurement) {
  const auto start = [&](const std::function<SysvCalls()>& calls) {
    return Worker::start([&] {
      static const SysvCalls own = calls();  // for as long as the process
      return measurement.make(own);
    });
  };
  Worker kernel = start([] { return kernel_sysv_calls(); });
  Worker ours = start([&] { return load_sysv_calls(world.preload); });
  std::vector<Contender> contenders = {{"kernel", [&] { return kernel.run().total_ns; }},
                                       {"mqueuefs", [&] { return ours.run().total_ns; }}};
  std::unique_ptr<Worker> floor;
  if (measurement.trips > 0) {
    floor = std::make_unique<Worker>(
        Worker::start([&] { return round_trips(measurement.trips, measurement.count); }));
    contenders.push_back({"floor", [&] { return floor->run().total_ns; }});
  }
  const Measured measured = measure(contenders, measurement.count, world.rounds);
  const double unit_ns = measurement.unit == "us" ? 1000 : 1;
  Row row;
  row.what = measurement.what;
  row.unit = measurement.unit;
  row.kernel = measured.median_ns(0) / unit_ns;
  row.mqueuefs = measured.median_ns(1) / unit_ns;
  if (floor != nullptr) {
    row.floor = measured.median_ns(2) / unit_ns;
    row.ratio = measured.ratio(1, 2);
    row.target = "<= 1.15 x floor";
    row.reached = *row.ratio <= 1.15;
    char note[80];
    snprintf(note, sizeof note, "floor: %d socket round trip%s; %.2f x the kernel", measurement.trips,
             measurement.trips == 1 ? "" : "s", measured.ratio(1, 0));
    row.note = note;
  } else {
    char note[80];
    snprintf(note, sizeof note, "%.2f x the kernel", measured.ratio(1, 0));
    row.note = note;
  }
  return row;
}

// Objects of a batch, removed with it.
class Queue {
 public:
  explicit Queue(const SysvCalls& calls) : calls_(calls), id_(calls.msgget(IPC_PRIVATE, IPC_CREAT | 0600)) {
    must(id_ >= 0, "msgget");
  }
  ~Queue() { calls_.msgctl(id_, IPC_RMID, nullptr); }
  void send() const {
    const Message message;
    must(calls_.msgsnd(id_, &message, kText, 0) == 0, "msgsnd");
  }
  void receive() const {
    Message message;
    must(calls_.msgrcv(id_, &message, kText, 0, 0) == kText, "msgrcv");
  }

 private:
  const SysvCalls& calls_;
  const int id_;
};

class Semaphores {
 public:
  Semaphores(const SysvCalls& calls, int count)
      : calls_(calls), id_(calls.semget(IPC_PRIVATE, count, IPC_CREAT | 0600)) {
    must(id_ >= 0, "semget");
  }
  ~Semaphores() { calls_.semctl(id_, 0, IPC_RMID, 0); }
  void change(unsigned short number, short by) const {
    sembuf operation{number, by, 0};
    must(calls_.semop(id_, &operation, 1) == 0, "semop");
  }

 private:
  const SysvCalls& calls_;
  const int id_;
};

BatchFunction message_pairs(const SysvCalls& calls, int count) {
  return [queue = std::make_shared<Queue>(calls), count] {
    return time_batch(count, [&] {
      queue->send();
      queue->receive();
    });
  };
}

BatchFunction semaphore_pairs(const SysvCalls& calls, int count) {
  return [set = std::make_shared<Semaphores>(calls, 1), count] {
    return time_batch(count, [&] {
      set->change(0, 1);
      set->change(0, -1);
    });
  };
}

BatchFunction segment_lives(const SysvCalls& calls, int count) {
  return [&calls, count] {
    return time_batch(count, [&] {
      const int id = calls.shmget(IPC_PRIVATE, kPage, IPC_CREAT | 0600);
      void* const memory = calls.shmat(id, nullptr, 0);
      must(id >= 0 && memory != reinterpret_cast<void*>(-1), "shmat");
      must(calls.shmdt(memory) == 0 && calls.shmctl(id, IPC_RMID, nullptr) == 0, "shmdt");
    });
  };
}

BatchFunction attachments(const SysvCalls& calls, int count) {
  const int id = calls.shmget(IPC_PRIVATE, kPage, IPC_CREAT | 0600);
  must(id >= 0, "shmget");
  return [&calls, id, count] {
    return time_batch(count, [&] {
      void* const memory = calls.shmat(id, nullptr, 0);
      must(memory != reinterpret_cast<void*>(-1) && calls.shmdt(memory) == 0, "shmat");
    });
  };
}

BatchFunction message_ping_pong(const SysvCalls& calls, int count) {
  auto there = std::make_shared<Queue>(calls);
  auto back = std::make_shared<Queue>(calls);
  auto peers = std::make_shared<Peers>();
  peers->start(1, [&] {
    return [there, back, count] {
      for (int index = 0; index < count; ++index) {
        there->receive();
        back->send();
      }
    };
  });
  return [there, back, peers, count] {
    peers->go();
    const Batch batch = time_batch(count, [&] {
      there->send();
      back->receive();
    });
    peers->wait();
    return batch;
  };
}

BatchFunction semaphore_ping_pong(const SysvCalls& calls, int count) {
  auto set = std::make_shared<Semaphores>(calls, 2);
  auto peers = std::make_shared<Peers>();
  peers->start(1, [&] {
    return [set, count] {
      for (int index = 0; index < count; ++index) {
        set->change(0, -1);
        set->change(1, 1);
      }
    };
  });
  return [set, peers, count] {
    peers->go();
    const Batch batch = time_batch(count, [&] {
      set->change(0, 1);
      set->change(1, -1);
    });
    peers->wait();
    return batch;
  };
}

constexpr key_t kFirstKey = 0x62650000;

// As many queues as wanted, by key; gone with this object.
class ManyQueues {
 public:
  ManyQueues(const SysvCalls& calls, int count) : calls_(calls) {
    for (int index = 0; index < count; ++index) {
      ids_.push_back(calls.msgget(kFirstKey + index, IPC_CREAT | 0600));
      must(ids_.back() >= 0, "msgget");
    }
  }
  ~ManyQueues() {
    for (const int id : ids_) calls_.msgctl(id, IPC_RMID, nullptr);
  }
  const std::vector<int>& ids() const { return ids_; }

 private:
  const SysvCalls& calls_;
  std::vector<int> ids_;
};

constexpr int kIdsPerSequence = 32768;

struct IdPair {
  int id;
  int new_id;
};

struct IdentifierCalls {
  int (*chid)(const char* namespace_name, int id, int new_id);
  int (*permute)(const char* namespace_name, int kind, const IdPair* pairs, size_t count);
};

IdentifierCalls load_identifier_calls(const std::string& path) {
  void* const library = dlopen(path.c_str(), RTLD_NOW);
  if (library == nullptr) fail("dlopen " + path);
  const IdentifierCalls calls = {
      reinterpret_cast<decltype(IdentifierCalls::chid)>(dlsym(library, "mqueuefs_msg_chid")),
      reinterpret_cast<decltype(IdentifierCalls::permute)>(dlsym(library, "mqueuefs_ipc_permute"))};
  must(calls.chid != nullptr && calls.permute != nullptr, "dlsym mqueuefs_msg_chid, mqueuefs_ipc_permute");
  return calls;
}

// One queue, to and fro.
BatchFunction chids(const SysvCalls& calls, const IdentifierCalls& identifiers, int count) {
  const int id = calls.msgget(IPC_PRIVATE, IPC_CREAT | 0600);
  must(id >= 0, "msgget");
  return [identifiers, id, count, now = id]() mutable {
    return time_batch(count, [&] {
      const int next = now == id ? id + kIdsPerSequence : id;
      must(identifiers.chid("", now, next) == 0, "mqueuefs_msg_chid");
      now = next;
    });
  };
}

// Each queue gets the id of the one after it, and the last one the first one's.
BatchFunction permutations(const SysvCalls& calls, const IdentifierCalls& identifiers, int queues, int count) {
  return [identifiers, all = std::make_shared<ManyQueues>(calls, queues), count] {
    std::vector<IdPair> pairs;
    for (size_t index = 0; index < all->ids().size(); ++index) {
      pairs.push_back({all->ids()[index], all->ids()[(index + 1) % all->ids().size()]});
    }
    return time_batch(count, [&] { must(identifiers.permute("", 0, pairs.data(), pairs.size()) == 0, "permute"); });
  };
}

enum class By { kKey, kId };

BatchFunction look_ups(const SysvCalls& calls, By by, int objects, int count) {
  return [&calls, by, queues = std::make_shared<ManyQueues>(calls, objects), count, at = 0u]() mutable {
    return time_batch(count, [&] {
      at = (at + 7919) % static_cast<unsigned>(queues->ids().size());
      if (by == By::kKey) {
        must(calls.msgget(kFirstKey + static_cast<key_t>(at), 0) == queues->ids()[at], "msgget");
      } else {
        msqid_ds status;
        must(calls.msgctl(queues->ids()[at], IPC_STAT, &status) == 0, "msgctl");
      }
    });
  };
}

}  // namespace

void add_sysv_call_rows(const SysvWorld& world, Report& report) {
  const int count = std::max(10, 500 / world.scale);
  const Measurement rows[] = {
      {"msgsnd + msgrcv, 64 bytes", "us", [=](const auto& calls) { return message_pairs(calls, count); }, count, 2},
      {"semop up + semop down", "us", [=](const auto& calls) { return semaphore_pairs(calls, count); }, count, 2},
      {"shmat + shmdt", "us", [=](const auto& calls) { return attachments(calls, count); }, count, 2},
      {"shmget + shmat + shmdt + IPC_RMID", "us", [=](const auto& calls) { return segment_lives(calls, count); }, count,
       4},
      {"msgsnd, msgrcv: ping-pong of two processes", "us",
       [=](const auto& calls) { return message_ping_pong(calls, count); }, count, 0},
      {"semop: ping-pong of two processes", "us", [=](const auto& calls) { return semaphore_ping_pong(calls, count); },
       count, 0},
  };
  for (const Measurement& row : rows) report.rows.push_back(measure_row(world, row));
}

void add_sysv_look_up_rows(const SysvWorld& world, Report& report) {
  const int count = std::max(10, 500 / world.scale);
  for (const By by : {By::kKey, By::kId}) {
    double with_few = 0;
    for (const int objects : {10, 1000, 32'000 / world.scale}) {
      const std::string what = by == By::kKey ? "msgget by key" : "msgctl IPC_STAT by id";
      Row row = measure_row(world, {what + ", " + std::to_string(objects) + " queues", "us",
                                    [=](const auto& calls) { return look_ups(calls, by, objects, count); }, count, 0});
      if (with_few == 0) {
        with_few = *row.mqueuefs;
      } else {
        row.ratio = *row.mqueuefs / with_few;
        row.target = "<= 1.3 x with 10";
        row.reached = *row.ratio <= 1.3;
      }
      report.rows.push_back(row);
    }
  }
}

void add_sysv_identifier_rows(const SysvWorld& world, Report& report) {
  const int count = std::max(10, 500 / world.scale);
  const auto start = [&](const std::function<BatchFunction(const SysvCalls&, const IdentifierCalls&)>& make) {
    return Worker::start([&] {
      static const SysvCalls calls = load_sysv_calls(world.preload);  // for as long as the process
      return make(calls, load_identifier_calls(world.library));
    });
  };
  Worker one = start([&](const auto& calls, const auto& identifiers) { return chids(calls, identifiers, count); });
  Worker floor = Worker::start([&] { return round_trips(1, count); });
  const Measured measured = measure(
      {{"floor", [&] { return floor.run().total_ns; }}, {"mqueuefs", [&] { return one.run().total_ns; }}}, count,
      world.rounds);
  Row row;
  row.what = "mqueuefs_msg_chid";
  row.unit = "us";
  row.floor = measured.median_ns(0) / 1000;
  row.mqueuefs = measured.median_ns(1) / 1000;
  row.ratio = measured.ratio(1, 0);
  row.target = "<= 1.15 x floor";
  row.reached = *row.ratio <= 1.15;
  row.note = "floor: 1 socket round trip";
  report.rows.push_back(row);

  constexpr int kQueues = 1000;
  const int times = std::max(2, 20 / world.scale);
  Worker many = start(
      [&](const auto& calls, const auto& identifiers) { return permutations(calls, identifiers, kQueues, times); });
  const Measured permuted = measure({{"mqueuefs", [&] { return many.run().total_ns; }}}, times, world.rounds);
  Row whole;
  whole.what = "mqueuefs_ipc_permute of " + std::to_string(kQueues) + " ids";
  whole.unit = "us";
  whole.mqueuefs = permuted.median_ns(0) / 1000;
  char note[60];
  snprintf(note, sizeof note, "%.3f us an id", *whole.mqueuefs / kQueues);
  whole.note = note;
  report.rows.push_back(whole);
}

}  // namespace mqueuefs::bench
