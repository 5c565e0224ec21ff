// Traces of queues: what they show, and to whom.
#include <fcntl.h>
#include <mqueuefs/mqueuefs.h>
#include <signal.h>
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <regex>
#include <string>
#include <vector>

#include "integration/program_fixture.h"
#include "integration/running_program.h"
#include "support/expect.h"
#include "support/wait.h"

namespace mqueuefs::test {
namespace {

using Json = nlohmann::json;

class Tracing : public ProgramTest {};

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
    mq_attr attributes{};
    attributes.mq_maxmsg = 4;
    attributes.mq_msgsize = 32;
    const mqd_t mapped = mqueuefs_open("/m", O_CREAT | O_RDWR, 0600, &attributes);
    ASSERT_OK(mapped);
    ASSERT_OK(mqueuefs_map(mapped));
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

TEST_F(Tracing, NeedsTheRightToRead) {
  in_private_namespaces([&](const std::string&) {
    output({"create", "/jobs"});
    EXPECT_EQ(program({"trace", "/absent"}).status, 1);
    const CommandResult missing = program({"trace", "/absent"});
    EXPECT_NE(missing.stderr_text.find("ENOENT"), std::string::npos) << missing.stderr_text;
    output({"remove", "/jobs"});
  });
}

}  // namespace
}  // namespace mqueuefs::test
