// Traces of queues: what they show, to whom, and that a slow reader of one costs nobody anything.
#include <fcntl.h>
#include <mqueuefs/mqueuefs.h>
#include <signal.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

#include "integration/program_fixture.h"
#include "integration/running_program.h"
#include "support/child.h"
#include "support/credentials.h"
#include "support/expect.h"
#include "support/wait.h"

namespace mqueuefs::test {
namespace {

using Json = nlohmann::json;

class Tracing : public ProgramTest {
 protected:
  /// Waits until the trace of `queue` shows what is done there, and forgets that.
  static void begin(RunningProgram& trace, const std::string& queue) {
    ASSERT_TRUE(wait_until([&] {
      output({"send", queue, "x"});
      output({"receive", queue});
      return trace.shows_now("receive");
    })) << trace.text();
    // All before it has been shown, too.
    output({"send", "-p", "31000", queue, "x"});
    ASSERT_TRUE(trace.shows("31000"));
    trace.forget();
    output({"receive", queue});
    ASSERT_TRUE(trace.shows("31000"));
    trace.forget();
  }

  static constexpr uint64_t kFlood = 3000;
  static constexpr size_t kFloodBytes = 8192;
  /// Sends and receives so many messages: far more than waits for the reader of a trace.
  static void flood(const std::string& queue) {
    const mqd_t opened = mqueuefs_open(queue.c_str(), O_RDWR);
    ASSERT_OK(opened);
    std::string message(kFloodBytes, 'x');
    for (uint64_t i = 0; i < kFlood; ++i) {
      ASSERT_OK(mqueuefs_send(opened, message.data(), message.size(), 0));
      ASSERT_EQ(mqueuefs_receive(opened, message.data(), message.size(), nullptr), ssize_t(kFloodBytes));
    }
    ASSERT_OK(mqueuefs_close(opened));
  }
};

TEST_F(Tracing, ShowsEachOperation) {
  in_private_namespaces([&](const std::string&) {
    output({"create", "/jobs"});
    RunningProgram trace(RunningProgram::Output::kPipe, {"trace", "--payload", "/jobs"}, {});
    // It is there when the first message shows up.
    ASSERT_TRUE(wait_until([&] {
      output({"send", "/jobs", "first"});
      output({"receive", "/jobs"});
      return trace.shows_now("receive");
    }));
    output({"send", "-p", "3", "/jobs", "a\nb"});
    output({"receive", "/jobs"});
    ASSERT_TRUE(wait_until([&] {
      return trace.shows_now("a\\nb\n") && trace.text().rfind("receive") > trace.text().rfind("send");
    })) << trace.text();
    EXPECT_TRUE(std::regex_search(
        trace.text(), std::regex(R"(\d\d:\d\d:\d\d\.\d{6} send \d+ \(mqueuefs\) priority 3 size 3: a\\nb\n)")))
        << trace.text();
    EXPECT_TRUE(std::regex_search(trace.text(), std::regex(R"( receive \d+ \(mqueuefs\) priority 3 size 3: a\\nb\n)")));
    output({"remove", "/jobs"});
    EXPECT_TRUE(trace.shows("end of the queue\n"));
    EXPECT_EQ(trace.wait(), 0);
  });
}

TEST_F(Tracing, ShowsWhatIsDoneInMappedMemory) {
  in_private_namespaces([&](const std::string&) {
    const int mapped = mapped_queue("/m", 4, 32);
    RunningProgram trace(RunningProgram::Output::kPipe, {"trace", "--json", "/m"}, {});
    char room[32];
    ASSERT_TRUE(wait_until([&] {
      EXPECT_OK(mqueuefs_send(mapped, "hello", 5, 7));
      EXPECT_EQ(mqueuefs_receive(mapped, room, sizeof room, nullptr), 5);
      return trace.shows_now("\"receive\"");
    })) << trace.text();
    EXPECT_OK(mqueuefs_send(mapped, "hello", 5, 7));
    EXPECT_TRUE(trace.shows("\"send\""));
    trace.interrupt(SIGINT);
    EXPECT_EQ(trace.wait(), 128 + SIGINT);
    const size_t line = trace.text().rfind('\n', trace.text().find("\"send\"")) + 1;
    const Json sent = Json::parse(trace.text().substr(line, trace.text().find('\n', line) - line));
    EXPECT_EQ(sent["operation"], "send");
    EXPECT_EQ(sent["pid"], getpid());
    EXPECT_EQ(sent["priority"], 7);
    EXPECT_EQ(sent["size"], 5);
    EXPECT_EQ(sent["mapped"], true);
    EXPECT_FALSE(sent.contains("text")) << "only if asked for";
    // Nobody traces: nothing is told any more, and messages go on.
    EXPECT_OK(mqueuefs_send(mapped, "x", 1, 0));
    ASSERT_OK(mqueuefs_close(mapped));
    output({"remove", "/m"});
  });
}

TEST_F(Tracing, IsForWhoMayRead) {
  in_private_namespaces([&](const std::string&) {
    EXPECT_EQ(program({"trace", "/absent"}).stderr_text, "mqueuefs: trace /absent: no such queue (ENOENT)\n");
    output({"create", "/roots"});
    run_as(kAlice, [&] {
      output({"create", "--mode", "0600", "/hers"});
      output({"create", "--mode", "0622", "/written"});
      output({"create", "--mode", "0644", "/shown"});
    });
    run_as(kBob, [&] {
      for (const std::string queue : {"/hers", "/written"}) {
        const CommandResult refused = program({"trace", "--count", "1", queue});
        EXPECT_EQ(refused.status, 1);
        EXPECT_EQ(refused.stdout_text, "");
        EXPECT_EQ(refused.stderr_text,
                  "mqueuefs: trace " + queue + ": the queue's mode does not permit it to you (EACCES)\n");
      }
    });
    const auto expect_traced_by = [&](uid_t user, const std::string& queue) {
      Gate begun;
      Companion reader([&] {
        ASSERT_TRUE(user == 0 || become_user(user, user));
        RunningProgram trace(RunningProgram::Output::kPipe, {"trace", "--count", "1", queue}, {});
        begun.open();
        EXPECT_EQ(trace.wait(), 0);
        EXPECT_NE(trace.text().find(" priority 0 size 1"), std::string::npos) << trace.text();
      });
      begun.wait();
      // Until the trace has begun, and ends with what it shows.
      for (bool ended = false; !ended;) {
        output({"send", queue, "x"});
        output({"receive", queue});
        siginfo_t info{};
        ended = waitid(P_PID, static_cast<id_t>(reader.pid()), &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0;
      }
      reader.join();
    };
    expect_traced_by(kAlice, "/hers");
    expect_traced_by(0, "/hers");
    expect_traced_by(kBob, "/shown");
    output({"remove", "/roots", "/hers", "/written", "/shown"});
  });
}

/// What a trace in lines has shown, and what it says was lost.
struct Account {
  explicit Account(const std::string& text) {
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
      if (line.ends_with(" lost")) {
        lost += std::stoull(line);
      } else if (line.find(" size ") != std::string::npos) {
        ++shown;
      }
    }
  }
  uint64_t shown = 0;
  uint64_t lost = 0;
};

uint64_t resident_kb(pid_t process) {
  std::ifstream status("/proc/" + std::to_string(process) + "/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmRSS:")) return std::stoull(line.substr(6));
  }
  ADD_FAILURE() << "no VmRSS";
  return 0;
}

TEST_F(Tracing, ASlowReaderLearnsHowMuchHeLostAndHoldsNobodyUp) {
  in_private_namespaces([&](const std::string&) {
    RunningProgram daemon(RunningProgram::Output::kPipe, {"daemon", "--foreground", "--log-level", "off"}, {});
    ASSERT_TRUE(wait_until([&] { return access(getenv("MQUEUEFS_SOCKET"), F_OK) == 0; }));
    output({"create", "--maxmsg", "2", "--msgsize", std::to_string(kFloodBytes), "/jobs"});
    output({"create", "/other"});
    RunningProgram trace(RunningProgram::Output::kPipe, {"trace", "--payload", "/jobs"}, {});
    begin(trace, "/jobs");
    const uint64_t before_kb = resident_kb(daemon.pid());
    trace.stop();
    flood("/jobs");
    output({"send", "/other", "x"});
    EXPECT_EQ(output({"receive", "/other"}), "x\n");
    EXPECT_LT(resident_kb(daemon.pid()), before_kb + 8192) << "of 48 MB";
    trace.go_on();
    // Without another message.
    EXPECT_TRUE(wait_until([&] {
      trace.shows_now("");
      const Account account(trace.text());
      return account.shown + account.lost == 2 * kFlood;
    })) << Account(trace.text()).shown << " shown, " << Account(trace.text()).lost << " lost";
    EXPECT_GT(Account(trace.text()).lost, 0U);
    trace.forget();
    output({"send", "/jobs", "again"});
    EXPECT_TRUE(trace.shows(": again\n"));
    EXPECT_EQ(Account(trace.text()).lost, 0U) << "told twice";
    output({"remove", "/jobs", "/other"});
    EXPECT_TRUE(trace.shows("end of the queue\n"));
    EXPECT_EQ(trace.wait(), 0);
    daemon.interrupt(SIGTERM);
    EXPECT_EQ(daemon.wait(), 0);
  });
}

TEST_F(Tracing, ASlowReaderLearnsThatTheQueueHasEnded) {
  in_private_namespaces([&](const std::string&) {
    output({"create", "--maxmsg", "2", "--msgsize", std::to_string(kFloodBytes), "/jobs"});
    RunningProgram trace(RunningProgram::Output::kPipe, {"trace", "--json", "/jobs"}, {});
    begin(trace, "/jobs");
    trace.stop();
    flood("/jobs");
    output({"remove", "/jobs"});
    trace.go_on();
    EXPECT_EQ(trace.wait(), 0);
    uint64_t shown = 0, lost = 0;
    std::string operation;
    std::istringstream lines(trace.text());
    for (std::string line; std::getline(lines, line);) {
      const Json event = Json::parse(line);
      operation = event["operation"];
      if (operation == "send" || operation == "receive") ++shown;
      lost += event.value("lost", 0);
    }
    EXPECT_EQ(operation, "end");
    EXPECT_GT(lost, 0U);
    EXPECT_EQ(shown + lost, 2 * kFlood);
  });
}

}  // namespace
}  // namespace mqueuefs::test
