// The real code of the queue in the interleavings of a few operations: every one with one preemption, every death of a
// process and every signal handler at each step of it, and samples of those with up to four preemptions and both.
//
// MQUEUEFS_INTERLEAVINGS=all also runs every schedule with two preemptions: half an hour for each test.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <random>

#include "world.h"

namespace mqueuefs::testing {
namespace {

using Bodies = std::vector<Scheduler::Body>;

struct Scenario {
  uint32_t maxmsg = 2;
  std::function<void(World&)> before = [](World&) {};
  std::function<Bodies(World&)> bodies;
  std::function<void(World&)> handler = [](World& world) {
    world.send(2, 90);
    world.receive();
  };
  bool deaths = true;
  bool signals = true;
};

class Explorer {
 public:
  explicit Explorer(const Scenario& scenario)
      : scenario_(scenario), fibers_(count(scenario)), world_(scenario.maxmsg, fibers_) {
    scenario_.before(world_);
    world_.begin_here();
    bodies_ = scenario_.bodies(world_);
    handler_ = [this] { scenario_.handler(world_); };
  }

  void explore() {
    const char* mode = getenv("MQUEUEFS_INTERLEAVINGS");
    const bool all = mode != nullptr && strcmp(mode, "all") == 0;
    std::vector<uint32_t> order(fibers_);
    std::iota(order.begin(), order.end(), 0);
    uint32_t number = 0;
    do {
      if (all || number++ % 4 == 0) one_preemption(order, all);
    } while (!failed_ && std::next_permutation(order.begin(), order.end()));
    const int samples = all ? 500'000 : 4'000;
    for (int run = 0; run < samples && !failed_; ++run) check(sample(2 + run % 3));
    if (scenario_.deaths) {
      fates(all, &Schedule::death);
      for (int run = 0; run < samples && !failed_; ++run) check(sample_with(&Schedule::death));
    }
    if (scenario_.signals) {
      fates(all, &Schedule::signal);
      for (int run = 0; run < samples && !failed_; ++run) check(sample_with(&Schedule::signal));
      if (scenario_.deaths) {
        for (int run = 0; run < samples && !failed_; ++run) {
          Schedule schedule = sample_with(&Schedule::signal);
          schedule.death = {random(fibers_), 1 + random(world_.scheduler().steps() / fibers_)};
          check(schedule);
        }
      }
    }
    EXPECT_TRUE(world_.stayed_in_snapshot());
    ::testing::Test::RecordProperty("runs", static_cast<int>(runs_));
  }

 private:
  static uint32_t count(const Scenario& scenario) {
    World world(scenario.maxmsg, 1);
    return static_cast<uint32_t>(scenario.bodies(world).size());
  }

  uint32_t random(uint32_t bound) { return bound == 0 ? 0 : static_cast<uint32_t>(random_() % bound); }

  void check(const Schedule& schedule) {
    ++runs_;
    const std::string trouble = world_.run(schedule, bodies_, handler_, runs_ % 16 == 0);
    longest_ = std::max(longest_, world_.scheduler().steps());
    if (trouble.empty()) return;
    failed_ = true;
    ADD_FAILURE() << "in run " << runs_ << ": " << trouble;
  }

  void one_preemption(const std::vector<uint32_t>& order, bool two) {
    Schedule base;
    base.order = order;
    check(base);
    const uint32_t steps = world_.scheduler().steps();
    std::vector<uint32_t> workers;
    for (uint32_t step = 1; step <= steps; ++step) workers.push_back(world_.scheduler().worker(step));
    for (uint32_t step = 1; step <= steps && !failed_; ++step) {
      for (uint32_t fiber = 0; fiber < fibers_ && !failed_; ++fiber) {
        if (fiber == workers[step - 1]) continue;
        Schedule schedule = base;
        schedule.preemptions = {{step, fiber}};
        check(schedule);
        if (two) second_preemption(schedule);
      }
    }
  }

  void second_preemption(const Schedule& first) {
    const uint32_t steps = world_.scheduler().steps();
    std::vector<uint32_t> workers;
    for (uint32_t step = 1; step <= steps; ++step) workers.push_back(world_.scheduler().worker(step));
    for (uint32_t step = first.preemptions[0].step + 1; step <= steps && !failed_; ++step) {
      for (uint32_t fiber = 0; fiber < fibers_ && !failed_; ++fiber) {
        if (fiber == workers[step - 1]) continue;
        Schedule schedule = first;
        schedule.preemptions.push_back({step, fiber});
        check(schedule);
      }
    }
  }

  // At each step of each fiber, without a preemption, and the others before or after it.
  void fates(bool all, Fate Schedule::*fate) {
    std::vector<uint32_t> order(fibers_);
    std::iota(order.begin(), order.end(), 0);
    uint32_t number = 0;
    do {
      if (!all && number++ % 4 != 0) continue;
      for (uint32_t fiber = 0; fiber < fibers_ && !failed_; ++fiber) {
        for (uint32_t step = 1; !failed_; ++step) {
          Schedule schedule;
          schedule.order = order;
          schedule.*fate = {fiber, step};
          check(schedule);
          if (world_.scheduler().steps_of(fiber) < step) break;
        }
      }
    } while (!failed_ && std::next_permutation(order.begin(), order.end()));
  }

  Schedule sample(int preemptions) {
    Schedule schedule;
    schedule.order.resize(fibers_);
    std::iota(schedule.order.begin(), schedule.order.end(), 0);
    std::shuffle(schedule.order.begin(), schedule.order.end(), random_);
    for (int each = 0; each < preemptions; ++each) {
      schedule.preemptions.push_back({1 + random(longest_), random(fibers_)});
    }
    std::sort(schedule.preemptions.begin(), schedule.preemptions.end(),
              [](const Preemption& a, const Preemption& b) { return a.step < b.step; });
    return schedule;
  }

  Schedule sample_with(Fate Schedule::*fate) {
    Schedule schedule = sample(1 + static_cast<int>(random(3)));
    schedule.*fate = {random(fibers_), 1 + random(longest_ / fibers_ * 2)};
    return schedule;
  }

  const Scenario& scenario_;
  uint32_t fibers_;
  World world_;
  Bodies bodies_;
  Scheduler::Body handler_;
  std::mt19937 random_{1};
  uint64_t runs_ = 0;
  uint32_t longest_ = 0;
  bool failed_ = false;
};

void explore(const Scenario& scenario) { Explorer(scenario).explore(); }

TEST(Interleaving, SendersAndReceiversOfOnePriority) {
  Scenario scenario;
  scenario.bodies = [](World& world) -> Bodies {
    return {[&world] { world.send(1, 1), world.send(1, 2); }, [&world] { world.send(1, 3); },
            [&world] { world.receive(), world.receive(); }, [&world] { world.receive(); }};
  };
  explore(scenario);
}

TEST(Interleaving, ListsOfSeveralPrioritiesBecomeTheTopAndCease) {
  Scenario scenario;
  scenario.maxmsg = 5;
  scenario.before = [](World& world) { world.send(1, 11), world.send(3, 12); };
  scenario.bodies = [](World& world) -> Bodies {
    return {[&world] { world.send(5, 1), world.send(3, 2); }, [&world] { world.send(1, 3); },
            [&world] { world.receive(), world.receive(); }, [&world] { world.receive(), world.look(); }};
  };
  explore(scenario);
}

TEST(Interleaving, StaleBitsOfTheIndexAreCleared) {
  Scenario scenario;
  scenario.maxmsg = 8;
  scenario.before = [](World& world) {
    for (uint32_t priority = 64; priority < 71; ++priority) world.send(priority, 20 + priority);
    for (uint32_t priority = 64; priority < 71; ++priority) world.receive();
    world.send(3, 11), world.send(100, 12);
  };
  scenario.bodies = [](World& world) -> Bodies {
    return {[&world] { world.send(66, 1), world.send(101, 2); }, [&world] { world.send(70, 3); },
            [&world] { world.receive(), world.receive(); }, [&world] { world.receive(), world.peek(); }};
  };
  explore(scenario);
}

TEST(Interleaving, MessagesAreHandedToTheBestWaiter) {
  Scenario scenario;
  scenario.bodies = [](World& world) -> Bodies {
    return {[&world] { world.wait_and_receive(2); }, [&world] { world.wait_and_receive(1, true); },
            [&world] { world.send(1, 1), world.send(1, 2); }, [&world] { world.send(2, 3); }};
  };
  explore(scenario);
}

TEST(Interleaving, ASlotThatWasHandedOverIsSentAgain) {
  Scenario scenario;
  scenario.bodies = [](World& world) -> Bodies {
    return {[&world] { world.wait_and_receive(1), world.send(1, 4); }, [&world] { world.wait_and_receive(2); },
            [&world] { world.send(1, 1); }, [&world] { world.receive(), world.send(1, 2); }};
  };
  explore(scenario);
}

TEST(Interleaving, BlockedSendersAreAdmittedInOrder) {
  Scenario scenario;
  scenario.maxmsg = 1;
  scenario.before = [](World& world) { world.send(2, 11); };
  scenario.bodies = [](World& world) -> Bodies {
    return {[&world] { world.wait_and_send(2, 2, 1); }, [&world] { world.wait_and_send(1, 1, 2, true); },
            [&world] { world.receive(), world.receive(); }, [&world] { world.receive(), world.send(3, 3); }};
  };
  explore(scenario);
}

TEST(Interleaving, BlockedSendersJoinEveryKindOfList) {
  Scenario scenario;
  scenario.maxmsg = 3;
  scenario.before = [](World& world) { world.send(2, 11), world.send(4, 12), world.send(4, 13); };
  scenario.bodies = [](World& world) -> Bodies {
    return {[&world] { world.wait_and_send(1, 2, 1), world.receive(); },
            [&world] { world.wait_and_send(1, 4, 2), world.wait_and_send(1, 9, 3); },
            [&world] { world.receive(), world.receive(); }, [&world] { world.receive(), world.receive(); }};
  };
  explore(scenario);
}

TEST(Interleaving, ReceiversLeaveTheLine) {
  Scenario scenario;
  scenario.bodies = [](World& world) -> Bodies {
    return {[&world] { world.wait_and_cancel(1), world.wait_and_cancel(1); },
            [&world] { world.wait_and_receive(2, true); }, [&world] { world.send(1, 1); },
            [&world] { world.send(1, 2), world.receive(); }};
  };
  explore(scenario);
}

TEST(Interleaving, SendersLeaveTheLine) {
  Scenario scenario;
  scenario.maxmsg = 1;
  scenario.before = [](World& world) { world.send(1, 11); };
  scenario.bodies = [](World& world) -> Bodies {
    return {[&world] { world.wait_and_cancel_send(1, 1, 1), world.wait_and_cancel_send(1, 1, 2); },
            [&world] { world.wait_and_send(2, 1, 3, true); }, [&world] { world.receive(); },
            [&world] { world.receive(), world.wait_and_cancel_send(1, 1, 4); }};
  };
  explore(scenario);
}

TEST(Interleaving, MessagesComeBack) {
  Scenario scenario;
  scenario.maxmsg = 3;
  scenario.before = [](World& world) { world.send(1, 11), world.send(1, 12); };
  scenario.bodies = [](World& world) -> Bodies {
    return {[&world] { world.give_back(world.receive()); }, [&world] { world.receive(), world.wait_and_receive(1); },
            [&world] { world.send(1, 1), world.send(2, 2); }, [&world] { world.receive(), world.receive(); }};
  };
  // Only the owner gives back, and he may not die.
  scenario.deaths = false;
  explore(scenario);
}

// The first sender is stopped before it writes the link to its message; the slot of that link is used for another one.
TEST(Interleaving, ALinkThatIsWrittenTooLateIsNotBelieved) {
  Scenario scenario;
  scenario.maxmsg = 4;
  scenario.before = [](World& world) { world.send(1, 11); };
  scenario.bodies = [](World& world) -> Bodies {
    return {[&world] { world.send(1, 1); },
            [&world] {
              world.receive(), world.receive();
              world.send(1, 2), world.send(5, 3), world.send(1, 4);
            },
            [&world] { world.receive(), world.receive(); }};
  };
  explore(scenario);
}

// The first sender is stopped before it writes the link to its message; behind it, that of a blocked one is admitted.
TEST(Interleaving, AMissingLinkIsFoundBehindAnAdmittedMessage) {
  Scenario scenario;
  scenario.maxmsg = 3;
  scenario.before = [](World& world) { world.send(1, 11), world.reserve(); };
  scenario.bodies = [](World& world) -> Bodies {
    return {[&world] { world.send(1, 1); }, [&world] { world.wait_and_send(1, 1, 2); },
            [&world] { world.drop_reserved(), world.receive(), world.receive(); }};
  };
  scenario.deaths = false;
  explore(scenario);
}

TEST(Interleaving, PlacesAreKept) {
  Scenario scenario;
  scenario.maxmsg = 1;
  scenario.bodies = [](World& world) -> Bodies {
    return {[&world] {
              if (world.reserve()) world.send_reserved(1, 1);
              if (world.reserve()) world.drop_reserved();
            },
            [&world] { world.wait_and_receive(2), world.wait_and_receive(2); },
            [&world] { world.wait_and_send(1, 1, 2), world.wait_and_send(1, 1, 3); },
            [&world] { world.wait_and_receive(1), world.receive(); }};
  };
  scenario.deaths = false;
  explore(scenario);
}

TEST(Interleaving, PlacesAreKeptForWhoWaitsElsewhere) {
  Scenario scenario;
  scenario.maxmsg = 1;
  scenario.before = [](World& world) { world.send(1, 11); };
  scenario.bodies = [](World& world) -> Bodies {
    return {[&world] {
              if (world.wait_and_reserve(1)) world.send_reserved(1, 1);
              if (world.wait_and_reserve(2)) world.drop_reserved();
            },
            [&world] { world.receive(), world.wait_and_receive(2); },
            [&world] { world.wait_and_send(1, 1, 2), world.wait_and_send(3, 1, 3); },
            [&world] { world.receive(), world.wait_and_receive(1); }};
  };
  scenario.deaths = false;
  explore(scenario);
}

TEST(Interleaving, TheDeadAreBuriedWhileOthersWork) {
  Scenario scenario;
  scenario.maxmsg = 1;
  scenario.bodies = [](World& world) -> Bodies {
    return {[&world] { world.wait_and_receive(1), world.send(1, 1); },
            [&world] { world.wait_and_send(1, 2, 2), world.wait_and_send(1, 2, 3), world.receive(); },
            [&world] { world.send(1, 4), world.wait_and_receive(2); },
            [&world] { world.bury_dead(), world.reclaim(), world.bury_dead(), world.reclaim(); }};
  };
  explore(scenario);
}

}  // namespace
}  // namespace mqueuefs::testing
