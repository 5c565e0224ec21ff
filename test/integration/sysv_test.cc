// System V IPC of unmodified programs (programs/sysv_program.c) and the commands that change ids. The scenarios that need
// no command of ours pass on the kernel's System V IPC, too.
#include <sched.h>
#include <sys/ipc.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <random>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "control/messages.h"
#include "control/sysv_messages.h"
#include "control/wire.h"
#include "integration/program_fixture.h"
#include "support/capability_check.h"
#include "support/child.h"
#include "support/credentials.h"
#include "support/expect.h"
#include "support/run_command.h"

namespace mqueuefs::test {
namespace {

constexpr int kScenarioMs = 60'000;

std::string built(const std::string& place) {
  const auto build = std::filesystem::absolute(mqueuefs_program()).parent_path().parent_path().parent_path();
  const auto path = build / place;
  return std::filesystem::exists(path) ? path.string() : "";
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

class SystemV : public ProgramTest {
 protected:
  void SetUp() override {
    ProgramTest::SetUp();
    if (sysv_program().empty()) GTEST_SKIP() << "no test/sysv_program";
  }
  static std::string sysv_program() { return built("test/sysv_program"); }

  static CommandResult run(const std::vector<std::string>& command, const std::vector<std::string>& options = {}) {
    std::vector<std::string> words = {mqueuefs_program(), "run"};
    words.insert(words.end(), options.begin(), options.end());
    words.push_back("--");
    words.insert(words.end(), command.begin(), command.end());
    return run_command(words, "", {.timeout_ms = kScenarioMs, .environment = {{"MQUEUEFS_PROGRAM", mqueuefs_program()}}});
  }

  /// Makes a message queue; its id.
  static int new_queue(const std::vector<std::string>& options = {}) {
    const CommandResult result = run({sysv_program(), "queue"}, options);
    EXPECT_EQ(result.status, 0) << result.stderr_text;
    return atoi(result.stdout_text.c_str());
  }

  void scenarios(const std::vector<std::string>& names) {
    in_private_namespaces([&](const std::string&) {
      for (const std::string& name : names) {
        const CommandResult result = run({sysv_program(), name});
        EXPECT_EQ(result.status, 0) << name << (result.timed_out ? ": hangs: " : ": ") << result.stderr_text;
        EXPECT_EQ(result.stderr_text, "") << name;
      }
    });
  }

  static std::set<int> ids(const std::string& kind, const std::vector<std::string>& options = {}) {
    std::vector<std::string> words = {"ipc"};
    words.insert(words.end(), options.begin(), options.end());
    words.insert(words.end(), {"list", kind, "--json"});
    const CommandResult result = program(words);
    EXPECT_EQ(result.status, 0) << result.stderr_text;
    std::set<int> found;
    for (const auto& object : nlohmann::json::parse(result.stdout_text, nullptr, false)) found.insert(object["id"].get<int>());
    return found;
  }
};

TEST_F(SystemV, MessagesAreTheKernels) { scenarios({"messages", "bad_pointers", "long_messages"}); }
TEST_F(SystemV, SignalsEndCallsAsTheKernelSays) {
  scenarios({"interrupted", "stopped_and_continued", "timeouts", "removed_while_waiting", "cancelled"});
}
TEST_F(SystemV, NothingIsGivenToTheDead) { scenarios({"killed_receiver"}); }
TEST_F(SystemV, EndOfAProcessUndoesItsOperations) {
  scenarios({"undo_of_killed", "undo_of_one_who_waited", "undo_survives_exec"});
}
TEST_F(SystemV, MemoryIsCountedByProcessLife) {
  scenarios({"memory_is_shared", "memory_of_forked", "memory_of_killed", "memory_of_executed", "many_attachments"});
}
TEST_F(SystemV, MemoryIsWhereItIsAskedFor) { scenarios({"addresses"}); }
TEST_F(SystemV, NamespacesAreIsolated) { scenarios({"another_namespace"}); }
TEST_F(SystemV, ObjectWithAnotherIdIsTheSameObject) { scenarios({"changed_id"}); }
TEST_F(SystemV, TwoQueuesExchangeTheirIdsWhileProgramsSleepInThem) { scenarios({"exchanged_ids"}); }
TEST_F(SystemV, NextObjectHasTheChosenId) { scenarios({"chosen_id"}); }

// The oracle: the program's expectations are the kernel's behaviour.
TEST_F(SystemV, ScenariosPassOnTheKernel) {
  run_in_child([&] {
    ASSERT_OK(unshare(CLONE_NEWIPC));
    const auto names = lines_of(run_command({sysv_program(), "list"}).stdout_text);
    ASSERT_GE(names.size(), 15u);
    for (const std::string& name : names) {
      const CommandResult result = run_command({sysv_program(), name}, "", {.timeout_ms = kScenarioMs});
      EXPECT_EQ(result.status, 0) << name << ": " << result.stderr_text;
    }
  }, 2 * kScenarioMs);
}

TEST_F(SystemV, CommandsListShowAndRemove) {
  in_private_namespaces([&](const std::string&) {
    const int first = new_queue();
    const int second = new_queue();
    EXPECT_EQ(ids("msg"), (std::set<int>{first, second}));
    EXPECT_EQ(ids("sem"), std::set<int>());
    const CommandResult shown = program({"ipc", "show", "msg", std::to_string(first), "--json"});
    const auto object = nlohmann::json::parse(shown.stdout_text, nullptr, false);
    EXPECT_EQ(object["messages"], 0);
    EXPECT_EQ(object["qbytes"], 16384);
    EXPECT_EQ(object["mode"], "0600");
    EXPECT_EQ(lines_of(program({"ipc", "list"}).stdout_text).size(), 3u);
    EXPECT_EQ(program({"ipc", "remove", "msg", std::to_string(first)}).status, 0);
    EXPECT_EQ(ids("msg"), std::set<int>{second});
    const CommandResult again = program({"ipc", "remove", "msg", std::to_string(first)});
    EXPECT_EQ(again.status, 1);
    EXPECT_EQ(again.stderr_text, "mqueuefs: ipc remove msg " + std::to_string(first) + ": no such object (EINVAL)\n");
  });
}

TEST_F(SystemV, PermutationIsAllOrNothing) {
  in_private_namespaces([&](const std::string&) {
    const int a = new_queue(), b = new_queue(), c = new_queue();
    const auto pair = [](int from, int to) { return std::to_string(from) + "=" + std::to_string(to); };
    CommandResult result = program({"ipc", "permute", "msg", pair(a, b), pair(b, a), pair(40000, 5)});
    EXPECT_EQ(result.status, 1);
    EXPECT_NE(result.stderr_text.find("(EINVAL)"), std::string::npos) << result.stderr_text;
    result = program({"ipc", "permute", "msg", pair(a, b), pair(b, c)});
    EXPECT_EQ(result.status, 1);
    EXPECT_NE(result.stderr_text.find("(EBUSY)"), std::string::npos) << result.stderr_text;
    EXPECT_EQ(ids("msg"), (std::set<int>{a, b, c}));
    EXPECT_EQ(program({"ipc", "permute", "msg", pair(a, b), pair(b, c), pair(c, 65536 + a)}).status, 0);
    EXPECT_EQ(ids("msg"), (std::set<int>{b, c, 65536 + a}));
    EXPECT_EQ(program({"ipc", "next-id", "msg"}).stdout_text, "-1\n");
  });
}

TEST_F(SystemV, ManyThousandIdsInOnePermutation) {
  in_private_namespaces([&](const std::string&) {
    ASSERT_EQ(program({"ns", "create", "full"}).status, 0);
    // More than one packet carries: every id of a namespace, of which the first does not exist.
    std::vector<std::string> words = {"ipc", "--ns", "full", "permute", "sem"};
    for (int i = 0; i < 10'000; ++i) words.push_back(std::to_string(i) + "=" + std::to_string((i + 1) % 10'000));
    const CommandResult result = program(words);
    EXPECT_EQ(result.status, 1);
    EXPECT_EQ(result.stderr_text, "mqueuefs: ipc permute sem of 10000 ids in namespace full: no object has that id, or an "
                                  "id is named twice (EINVAL)\n");
    ASSERT_EQ(program({"ns", "remove", "full"}).status, 0);
  });
}

TEST_F(SystemV, NamedNamespacesHaveTheirOwnObjects) {
  in_private_namespaces([&](const std::string&) {
    ASSERT_EQ(program({"ns", "create", "one"}).status, 0);
    ASSERT_EQ(program({"ns", "create", "two"}).status, 0);
    const int id = new_queue({"--ns", "one"});
    EXPECT_EQ(ids("msg", {"--ns", "one"}), std::set<int>{id});
    EXPECT_EQ(ids("msg", {"--ns", "two"}), std::set<int>());
    EXPECT_EQ(ids("msg"), std::set<int>());
    EXPECT_EQ(program({"ipc", "--ns", "one", "chid", "msg", std::to_string(id), "77"}).status, 0);
    EXPECT_EQ(ids("msg", {"--ns", "one"}), std::set<int>{77});
    ASSERT_EQ(program({"ns", "remove", "one"}).status, 0);
    ASSERT_EQ(program({"ns", "remove", "two"}).status, 0);
  });
}

TEST_F(SystemV, OnlyTheNamespacesOwnerChangesIds) {
  in_private_namespaces([&](const std::string&) {
    const int id = new_queue();
    const auto change = [&] { return program({"ipc", "chid", "msg", std::to_string(id), std::to_string(id + 32768)}); };
    run_as(kBob, [&] {
      const CommandResult result = change();
      EXPECT_EQ(result.status, 1);
      EXPECT_NE(result.stderr_text.find("(EPERM)"), std::string::npos) << result.stderr_text;
      EXPECT_EQ(program({"ipc", "next-id", "msg", "5"}).status, 1);
      EXPECT_EQ(program({"limits", "msg_next_id=5"}).status, 1);
      // To look is for every member, as with /proc/sysvipc.
      EXPECT_EQ(ids("msg"), std::set<int>{id});
      const CommandResult removed = program({"ipc", "remove", "msg", std::to_string(id)});
      EXPECT_NE(removed.stderr_text.find("(EPERM)"), std::string::npos) << removed.stderr_text;
    });
    EXPECT_EQ(change().status, 0);
    EXPECT_EQ(ids("msg"), std::set<int>{id + 32768});
    run_as(kAlice, [&] {
      ASSERT_EQ(program({"ns", "create", "hers"}).status, 0);
      EXPECT_EQ(program({"ipc", "--ns", "hers", "next-id", "sem", "9"}).status, 0);
      EXPECT_EQ(program({"ipc", "--ns", "hers", "next-id", "sem"}).stdout_text, "9\n");
    });
    run_as(kBob, [&] { EXPECT_EQ(program({"ipc", "--ns", "hers", "next-id", "sem"}).status, 1); });
    ASSERT_EQ(program({"ns", "remove", "hers"}).status, 0);
  });
}

TEST_F(SystemV, DaemonRefusesGarbage) {
  in_private_namespaces([&](const std::string&) {
    const int id = new_queue();
    const UniqueFd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    sockaddr_un address{AF_UNIX, ""};
    strncpy(address.sun_path, getenv("MQUEUEFS_SOCKET"), sizeof address.sun_path - 1);
    ASSERT_OK(connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address));
    std::mt19937 random(20261122);
    std::vector<std::byte> answer(control::kMaxPacketBytes);
    for (int round = 0; round < 3000; ++round) {
      std::vector<std::byte> body(random() % 3 == 0 ? random() % 200 : sizeof(control::SysvCall) + random() % 32);
      for (std::byte& byte : body) byte = static_cast<std::byte>(random());
      control::SysvCall call{};
      const bool plausible = body.size() >= sizeof call && random() % 4 != 0;
      if (plausible) {
        memcpy(&call, body.data(), sizeof call);
        call.number = static_cast<control::SysvNumber>(random() % 14);
        call.how = random() % 16 & ~control::kSysvMayWait;
        call.id = random() % 2 == 0 ? id : static_cast<int>(random() % 5);
        call.command = static_cast<int>(random() % 24);
        call.moves = random() % 2;
        // Not to remove what is looked at afterwards.
        if (call.number == control::SysvNumber::kMsgControl) call.command = IPC_STAT;
        memcpy(body.data(), &call, sizeof call);
      }
      control::Header header{};
      header.type = random() % 8 == 0 ? control::Type::kSysvAdmin : control::Type::kSysvCall;
      header.tid = gettid();
      ASSERT_TRUE(control::send_packet(socket.get(), header, body, {}, control::Credentials::kOwn).ok()) << round;
      ASSERT_TRUE(control::receive_packet(socket.get(), answer).ok()) << round;
    }
    EXPECT_TRUE(ids("msg").contains(id));
  });
}

}  // namespace
}  // namespace mqueuefs::test
