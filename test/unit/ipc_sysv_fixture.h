// System V objects with everything around them faked: callers with settable rights, waiters that note what they are offered.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "ipc/sysv/sysv_ipc.h"
#include "unit/ipc_fixture.h"

namespace mqueuefs::ipc::sysv {

class FakeRights : public CallerRights {
 public:
  bool in_group(gid_t gid) override {
    asked++;
    return groups.contains(gid);
  }
  bool owns_ipc() override {
    asked++;
    return ipc_owner;
  }
  bool administers() override { return administrator; }
  bool may_lock() override { return locker; }
  bool may_exceed_limits() override { return resourceful; }
  uint64_t rlimit_memlock() override { return memlock_bytes; }

  std::set<gid_t> groups;
  bool ipc_owner = false, administrator = false, locker = false, resourceful = false;
  uint64_t memlock_bytes = 65536;
  int asked = 0;
};

/// Notes what it is offered: "0", "E43", or a message as "0 type:payload".
class FakeWaiter : public Waiter {
 public:
  explicit FakeWaiter(bool is_there = true) : is_there_(is_there) {}
  ~FakeWaiter() override { cancel(); }

  std::vector<std::string> offered;
  TypedMessage message;  ///< the last one

 private:
  bool offer(int code, const Received* received) override {
    std::string text = code == 0 ? "0" : "E" + std::to_string(code);
    if (!is_there_ && code == 0) return false;
    if (received != nullptr) {
      const auto* bytes = reinterpret_cast<const char*>(received->message.payload.data());
      text += " " + std::to_string(received->message.type) + ":" + std::string(bytes, received->size_bytes);
      message = std::move(received->message);
    }
    offered.push_back(text);
    return is_there_;
  }
  const bool is_there_;
};

using Offers = std::vector<std::string>;

class FakeMemory : public SharedMemorySource {
 public:
  Result<UniqueFd> make(uint64_t size_bytes) override {
    if (fails_with != 0) return Error{fails_with, "make"};
    made.push_back(size_bytes);
    return UniqueFd(open("/dev/null", O_RDWR | O_CLOEXEC));
  }
  Use use(int) override { return {.rss_bytes = 8192, .swap_bytes = 4096}; }

  std::vector<uint64_t> made;
  int fails_with = 0;
};

class SysvTest : public testing::Test {
 protected:
  static constexpr pid_t kProcess = 100;

  Caller caller(pid_t process = kProcess) { return {process, process, 1000, 1000, &rights}; }
  /// Somebody else, with other rights.
  Caller stranger() { return {200, 200, 2000, 2000, &strange_rights}; }

  Confirm confirm = confirmed;
  Confirm gone = [](int64_t) { return false; };
  FakeRights rights, strange_rights;
  FakeTasks tasks;
  MemoryBudget budget;
  FakeMemory memory;
  Limits limits;
  SysvIpc sysv{Surroundings{tasks, budget, limits, &memory}};
};

}  // namespace mqueuefs::ipc::sysv
