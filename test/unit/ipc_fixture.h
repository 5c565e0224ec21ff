// A namespace with everything around it faked: tasks with settable rights, channels that note what they hear.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "ipc/ipc_namespace.h"

namespace mqueuefs::ipc {

class FakeTasks : public TaskInfo {
 public:
  pid_t process_of(TaskId task) override { return task; }
  int rank_of(TaskId) override { return 120; }
  bool may_exceed_limits(TaskId) override { return privileged; }
  uint64_t rlimit_msgqueue(TaskId) override { return rlimit_bytes; }
  bool ran_at(pid_t process, int64_t) override { return running.contains(process); }
  bool is_stopped(TaskId task) override { return task == stopped; }
  pid_t pid_seen_by(pid_t process, TaskId) override { return process; }

  std::set<pid_t> running;
  bool privileged = false;
  TaskId stopped = 0;
  uint64_t rlimit_bytes = 819200;
};

class FakeChannel : public Channel {
 public:
  FakeChannel(MemoryBudget& budget, uid_t uid = 1000) : Channel(uid, budget) {}
  ~FakeChannel() override { abandon(); }

  std::vector<int> done;  ///< the codes of wait_done
  bool sends_message = false;  ///< with the news
  bool unread = false;
  int begun = 0;

 private:
  void wait_done(int code) override {
    done.push_back(code);
    if (sends_message && assigned_or_null() != nullptr) mark_delivered();
  }
  bool died_without_reading() override { return unread; }
  void wait_begun() override { begun++; }
};

class FakeTarget : public NotificationTarget {
 public:
  explicit FakeTarget(std::vector<std::string>& log) : log_(log) {}
  void woken(const Sender& sender) override { log_.push_back("woken by " + std::to_string(sender.task)); }
  void removed() override { log_.push_back("removed"); }

 private:
  std::vector<std::string>& log_;
};

class FakeObserver : public SuperblockObserver {
 public:
  void attributes_changed(QueueInode&) override { attributes++; }
  void readiness_changed(QueueInode&) override { readiness++; }
  int attributes = 0;
  int readiness = 0;
};

inline std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

constexpr const char* kEmpty = "E11";  // of receive(): EAGAIN

class IpcTest : public testing::Test {
 protected:
  using QueuePointer = std::shared_ptr<QueueInode>;

  Superblock& superblock() { return *ipc_namespace->superblock(); }

  QueuePointer create(std::string_view name, int64_t maxmsg = 2, int64_t msgsize = 16) {
    const RequestedAttributes attributes{maxmsg, msgsize};
    auto queue = superblock().create(name, 0600, &attributes, Creator{1000, 1000, 1});
    EXPECT_TRUE(queue.ok()) << queue.code();
    return queue ? *queue : nullptr;
  }

  int create_error(std::string_view name, int64_t maxmsg, int64_t msgsize) {
    const RequestedAttributes attributes{maxmsg, msgsize};
    return superblock().create(name, 0600, &attributes, Creator{1000, 1000, 1}).code();
  }

  int send(QueueInode& queue, std::string_view text, uint32_t priority = 0) {
    return queue.try_send(priority, bytes_of(text), Sender{42, 1000}).code();
  }

  /// The next message as "priority:payload", or "E<errno>".
  std::string receive(QueueInode& queue) {
    std::vector<std::byte> buffer(queue.attributes().msgsize);
    const auto info = queue.try_receive(buffer.size(), buffer, nullptr);
    if (!info) return "E" + std::to_string(info.code());
    return std::to_string(info->priority) + ":" + std::string(reinterpret_cast<char*>(buffer.data()), info->size);
  }

  /// Puts `channel` into the list of receivers.
  void wait_to_receive(QueueInode& queue, Channel& channel, int rank = 120) {
    std::vector<std::byte> buffer(queue.attributes().msgsize);
    const auto outcome = queue.receive(buffer.size(), buffer, channel, WaitRequest{.rank = rank});
    ASSERT_TRUE(outcome.ok());
    ASSERT_FALSE(outcome->has_value());
  }

  void wait_to_send(QueueInode& queue, std::string_view text, Channel& channel, uint32_t priority = 0,
                    int rank = 120) {
    const auto outcome =
        queue.send(priority, bytes_of(text), Sender{42, 1000}, channel, WaitRequest{.rank = rank});
    ASSERT_TRUE(outcome.ok());
    ASSERT_EQ(*outcome, Outcome::kWaiting);
  }

  std::string assigned(const QueueInode& queue, Channel& channel) {
    const auto message = channel.assigned(queue);
    if (!message) return "E" + std::to_string(message.code());
    const auto& payload = (*message)->payload;
    return std::to_string((*message)->info.priority) + ":" +
           std::string(reinterpret_cast<const char*>(payload.data()), payload.size());
  }

  FakeTasks tasks;
  MemoryBudget budget;
  MappedSegments mapped;
  MappedQueues mapped_queues;
  std::unique_ptr<IpcNamespace> ipc_namespace =
      std::make_unique<IpcNamespace>(1, "test", 1000, 1000, Environment{tasks, budget, mapped, mapped_queues});
};

}  // namespace mqueuefs::ipc
