// Watching: the terminal view, what it counts, the log.
#include <fcntl.h>
#include <mqueuefs/mqueuefs.h>
#include <signal.h>
#include <sys/wait.h>
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

class Watching : public ProgramTest {
 protected:
  static Json queue(const std::string& name) { return Json::parse(output({"stat", "--json", name})); }
};

TEST_F(Watching, ListAndStatSayWhatWentThrough) {
  in_private_namespaces([&](const std::string&) {
    output({"create", "--maxmsg", "4", "--msgsize", "32", "/jobs"});
    output({"send", "/jobs", "one"});
    output({"send", "/jobs", "two"});
    output({"receive", "/jobs"});
    const Json jobs = queue("/jobs");
    EXPECT_EQ(jobs["sent"], 2);
    EXPECT_EQ(jobs["received"], 1);
    EXPECT_TRUE(jobs["oldest"].is_number());
    EXPECT_TRUE(jobs["blocked"].empty());
    EXPECT_TRUE(std::regex_search(output({"list", "--activity"}),
                                  std::regex(R"(/jobs +1 +4 +2 +1 +[0-9]s +-\n)")));
    output({"remove", "/jobs"});
  });
}

TEST_F(Watching, MessagesInMappedMemoryCount) {
  in_private_namespaces([&](const std::string&) {
    const int mapped = mapped_queue("/m", 4, 32);
    char room[32];
    for (int i = 0; i < 1000; ++i) {
      ASSERT_OK(mqueuefs_send(mapped, "x", 1, 0));
      ASSERT_EQ(mqueuefs_receive(mapped, room, sizeof room, nullptr), 1);
    }
    ASSERT_OK(mqueuefs_send(mapped, "x", 1, 0));
    EXPECT_EQ(queue("/m")["sent"], 1001);
    EXPECT_EQ(queue("/m")["received"], 1000);
    ASSERT_OK(mqueuefs_close(mapped));
    EXPECT_EQ(queue("/m")["sent"], 1001);
    output({"remove", "/m"});
  });
}

TEST_F(Watching, OneLineAQueueWhereThereIsNoTerminal) {
  in_private_namespaces([&](const std::string&) {
    output({"create", "/a"});
    output({"create", "/b"});
    output({"send", "/b", "x"});
    const std::regex lines(R"((\d\d:\d\d:\d\d /a 0/10 sent 0/s received 0/s oldest - blocked -\n)"
                           R"(\d\d:\d\d:\d\d /b 1/10 sent 0/s received 0/s oldest [0-9]s blocked -\n){2})");
    const std::string text = output({"watch", "--interval", "0.1", "--count", "2"});
    EXPECT_TRUE(std::regex_match(text, lines)) << text;
    const std::string filtered = output({"watch", "--once", "--filter", "b"});
    EXPECT_NE(filtered.find("/b"), std::string::npos);
    EXPECT_EQ(filtered.find("/a"), std::string::npos);
    EXPECT_TRUE(output({"watch", "--once", "--sort", "messages"}).find("/b") < filtered.size());
    EXPECT_EQ(Json::parse(output({"watch", "--once", "--json", "--filter", "b"}))["sends_per_second"], 0);
    output({"remove", "/a", "/b"});
  });
}

TEST_F(Watching, TheTerminalShowsQueuesAndObeysKeys) {
  in_private_namespaces([&](const std::string&) {
    output({"create", "--maxmsg", "2", "/jobs"});
    output({"create", "/other"});
    output({"send", "/jobs", "x"});
    output({"send", "/jobs", "y"});
    RunningProgram watch(RunningProgram::Output::kTerminal, {"watch", "--interval", "0.2"},
                {{"TERM", "screen"}, {"LC_ALL", "C"}, {"NO_COLOR", "1"}});
    ASSERT_TRUE(watch.shows("##########")) << watch.text();
    EXPECT_TRUE(watch.shows("/jobs"));
    EXPECT_TRUE(watch.shows("2/2"));
    EXPECT_TRUE(watch.shows("sorted by name"));
    EXPECT_TRUE(watch.shows("/other"));
    watch.type("s");
    EXPECT_TRUE(watch.shows("depth"));
    EXPECT_FALSE(std::regex_search(watch.text(), std::regex("\x1b\\[[0-9;]*3[1-7]m"))) << "a colour";
    watch.type("q");
    EXPECT_EQ(watch.wait(), 0);
    EXPECT_NE(watch.text().find("\x1b[?1049l"), std::string::npos) << "the screen is as before";
    // Only what changes is drawn: so a screen of its own for what the filter leaves.
    RunningProgram filtered(RunningProgram::Output::kTerminal, {"watch", "--filter", "oth"}, {{"TERM", "screen"}, {"LC_ALL", "C"}});
    EXPECT_TRUE(filtered.shows("filter: oth"));
    EXPECT_TRUE(filtered.shows("/other"));
    EXPECT_EQ(filtered.text().find("/jobs"), std::string::npos);
    filtered.type("q");
    EXPECT_EQ(filtered.wait(), 0);
    output({"remove", "/jobs", "/other"});
  });
}

TEST_F(Watching, AnInterruptRestoresTheTerminal) {
  in_private_namespaces([&](const std::string&) {
    output({"create", "/jobs"});
    RunningProgram watch(RunningProgram::Output::kTerminal, {"watch", "--interval", "60"}, {{"TERM", "xterm"}, {"LC_ALL", "C.UTF-8"}});
    ASSERT_TRUE(watch.shows("/jobs"));
    watch.interrupt(SIGTERM);
    EXPECT_EQ(watch.wait(), 128 + SIGTERM);
    EXPECT_NE(watch.text().find("\x1b[?1049l"), std::string::npos);
    output({"remove", "/jobs"});
  });
}

TEST_F(Watching, ADumbTerminalGetsLines) {
  in_private_namespaces([&](const std::string&) {
    output({"create", "/jobs"});
    RunningProgram watch(RunningProgram::Output::kTerminal, {"watch", "--count", "1"}, {{"TERM", "dumb"}});
    EXPECT_EQ(watch.wait(), 0);
    EXPECT_NE(watch.text().find("/jobs 0/10 sent"), std::string::npos) << watch.text();
    EXPECT_EQ(watch.text().find('\x1b'), std::string::npos);
    output({"remove", "/jobs"});
  });
}

TEST_F(Watching, ShowsWhoIsBlocked) {
  in_private_namespaces([&](const std::string&) {
    output({"create", "/jobs"});
    {
      RunningProgram receiver(RunningProgram::Output::kPipe, {"receive", "/jobs"}, {});
      EXPECT_TRUE(wait_until([&] {
        return output({"watch", "--once"}).find("blocked 1 receiver") != std::string::npos;
      }));
      const Json blocked = queue("/jobs")["blocked"];
      ASSERT_EQ(blocked.size(), 1U);
      EXPECT_EQ(blocked[0]["operation"], "receive");
      output({"send", "/jobs", "x"});
      EXPECT_EQ(receiver.wait(), 0);
    }
    output({"remove", "/jobs"});
  });
}

TEST_F(Watching, TheLogSaysWhichLimitWasHitAndNoPayload) {
  in_private_namespaces([&](const std::string&) {
    RunningProgram daemon(RunningProgram::Output::kPipe, {"daemon", "--foreground", "--log-format", "json"}, {});
    ASSERT_TRUE(daemon.shows("serving"));
    output({"limits", "queues_max=1"});
    output({"create", "/a"});
    output({"send", "/a", "a secret"});
    RunningProgram refused(RunningProgram::Output::kPipe, {"run", "--", "true"}, {});
    refused.wait();
    for (int i = 0; i < 100; ++i) {
      // Without the right to exceed limits.
      if (fork() == 0) {
        if (setresuid(65534, 65534, 65534) != 0) _exit(1);
        mqueuefs_open("/b", O_CREAT | O_RDWR, 0600, nullptr);
        _exit(0);
      }
      wait(nullptr);
    }
    EXPECT_TRUE(daemon.shows("queues_max is reached")) << daemon.text();
    output({"remove", "/a"});
    daemon.interrupt(SIGTERM);
    EXPECT_EQ(daemon.wait(), 0);
    size_t complaints = 0;
    size_t begin = 0;
    for (size_t end; (end = daemon.text().find('\n', begin)) != std::string::npos; begin = end + 1) {
      const Json line = Json::parse(daemon.text().substr(begin, end - begin));
      EXPECT_TRUE(line.contains("level") && line.contains("message") && line.contains("time"));
      if (std::string(line["message"]).find("is reached") != std::string::npos) ++complaints;
    }
    EXPECT_LT(complaints, 60U) << "a hundred refusals are not a hundred lines";
    EXPECT_EQ(daemon.text().find("secret"), std::string::npos);
  });
}

}  // namespace
}  // namespace mqueuefs::test
