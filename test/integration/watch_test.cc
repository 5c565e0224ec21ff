// Watching: the terminal view, traces, abandoned queues, metrics, the log.
#include <fcntl.h>
#include <mqueuefs/mqueuefs.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <regex>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "integration/program_fixture.h"
#include "support/expect.h"
#include "support/temp_dir.h"
#include "support/wait.h"

namespace mqueuefs::test {
namespace {

using Json = nlohmann::json;

class Watching : public ProgramTest {
 protected:
  static std::string output(std::vector<std::string> arguments) {
    const CommandResult result = program(std::move(arguments));
    EXPECT_EQ(result.status, 0) << result.stderr_text;
    return result.stdout_text;
  }
  static Json queue(const std::string& name) { return Json::parse(output({"stat", "--json", name})); }
};

/// A program whose standard output and standard error are read here: a pipe, or a terminal of its own.
class Child {
 public:
  enum class Output { kPipe, kTerminal };
  Child(Output kind, std::vector<std::string> arguments, const std::vector<std::pair<std::string, std::string>>& environment) {
    arguments.insert(arguments.begin(), mqueuefs_program());
    int ours = -1;
    int theirs = -1;
    if (kind == Output::kTerminal) {
      const winsize size{24, 120, 0, 0};
      EXPECT_OK(openpty(&ours, &theirs, nullptr, nullptr, &size));
    } else {
      int ends[2];
      EXPECT_OK(pipe2(ends, O_CLOEXEC));
      ours = ends[0];
      theirs = ends[1];
    }
    ours_ = UniqueFd(ours);
    const UniqueFd end(theirs);
    pid_ = fork();
    if (pid_ == 0) {
      if (kind == Output::kTerminal) {
        setsid();
        dup2(theirs, STDIN_FILENO);
      }
      dup2(theirs, STDOUT_FILENO);
      dup2(theirs, STDERR_FILENO);
      for (const auto& [name, value] : environment) setenv(name.c_str(), value.c_str(), 1);
      std::vector<char*> argv;
      for (auto& argument : arguments) argv.push_back(argument.data());
      argv.push_back(nullptr);
      execv(argv[0], argv.data());
      _exit(127);
    }
  }
  ~Child() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  /// Whether `wanted` comes.
  bool shows(const std::string& wanted) {
    return wait_until([&] {
      read_some();
      return text_.find(wanted) != std::string::npos;
    });
  }
  /// Whether it has come by now.
  bool shows_now(const std::string& wanted) {
    read_some();
    return text_.find(wanted) != std::string::npos;
  }
  void type(const std::string& keys) { EXPECT_EQ(write(ours_.get(), keys.data(), keys.size()), ssize_t(keys.size())); }
  void interrupt(int signal) { kill(pid_, signal); }
  const std::string& text() const { return text_; }
  void forget() { text_.clear(); }

  /// Its exit status, or 128 + the signal.
  int wait() {
    int status = 0;
    EXPECT_TRUE(wait_until([&] {
      read_some();
      return waitpid(pid_, &status, WNOHANG) == pid_;
    }));
    pid_ = -1;
    read_some();
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

 private:
  void read_some() {
    for (;;) {
      pollfd readable{ours_.get(), POLLIN, 0};
      char piece[4096];
      if (poll(&readable, 1, 0) <= 0 || (readable.revents & POLLIN) == 0) return;
      const ssize_t count = read(ours_.get(), piece, sizeof piece);
      if (count <= 0) return;
      text_.append(piece, static_cast<size_t>(count));
    }
  }

  pid_t pid_ = -1;
  UniqueFd ours_;
  std::string text_;
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
    mq_attr attributes{};
    attributes.mq_maxmsg = 4;
    attributes.mq_msgsize = 32;
    const mqd_t mapped = mqueuefs_open("/m", O_CREAT | O_RDWR, 0600, &attributes);
    ASSERT_OK(mapped);
    ASSERT_OK(mqueuefs_map(mapped));
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
    Child watch(Child::Output::kTerminal, {"watch", "--interval", "0.2"},
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
    Child filtered(Child::Output::kTerminal, {"watch", "--filter", "oth"}, {{"TERM", "screen"}, {"LC_ALL", "C"}});
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
    Child watch(Child::Output::kTerminal, {"watch", "--interval", "60"}, {{"TERM", "xterm"}, {"LC_ALL", "C.UTF-8"}});
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
    Child watch(Child::Output::kTerminal, {"watch", "--count", "1"}, {{"TERM", "dumb"}});
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
      Child receiver(Child::Output::kPipe, {"receive", "/jobs"}, {});
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

TEST_F(Watching, TraceShowsEachOperation) {
  in_private_namespaces([&](const std::string&) {
    output({"create", "/jobs"});
    Child trace(Child::Output::kPipe, {"trace", "--payload", "/jobs"}, {});
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

TEST_F(Watching, TraceShowsWhatIsDoneInMappedMemory) {
  in_private_namespaces([&](const std::string&) {
    mq_attr attributes{};
    attributes.mq_maxmsg = 4;
    attributes.mq_msgsize = 32;
    const mqd_t mapped = mqueuefs_open("/m", O_CREAT | O_RDWR, 0600, &attributes);
    ASSERT_OK(mapped);
    ASSERT_OK(mqueuefs_map(mapped));
    Child trace(Child::Output::kPipe, {"trace", "--json", "/m"}, {});
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

TEST_F(Watching, TraceNeedsTheRightToRead) {
  in_private_namespaces([&](const std::string&) {
    output({"create", "/jobs"});
    EXPECT_EQ(program({"trace", "/absent"}).status, 1);
    const CommandResult missing = program({"trace", "/absent"});
    EXPECT_NE(missing.stderr_text.find("ENOENT"), std::string::npos) << missing.stderr_text;
    output({"remove", "/jobs"});
  });
}

TEST_F(Watching, AbandonedQueuesAreFoundAndRemoved) {
  in_private_namespaces([&](const std::string&) {
    output({"create", "/orphan"});  // its maker ends at once
    output({"send", "/orphan", "left behind"});
    const mqd_t own = mqueuefs_open("/own", O_CREAT | O_RDONLY, 0600, nullptr);  // ours: we run
    ASSERT_OK(own);
    ASSERT_OK(mqueuefs_close(own));
    output({"create", "/open"});
    const mqd_t held = mqueuefs_open("/open", O_RDONLY);
    ASSERT_OK(held);

    const std::string listed = output({"gc"});
    EXPECT_NE(listed.find("/orphan"), std::string::npos);
    EXPECT_EQ(listed.find("/own"), std::string::npos);
    EXPECT_EQ(listed.find("/open"), std::string::npos);
    EXPECT_EQ(queue("/orphan")["messages"], 1) << "listed, not removed";
    EXPECT_EQ(output({"gc", "--empty"}).find("/orphan"), std::string::npos);
    EXPECT_EQ(output({"gc", "--min-age", "3600"}).find("/orphan"), std::string::npos);

    const Json removed = Json::parse(output({"gc", "--yes", "--json"}));
    ASSERT_EQ(removed.size(), 1U);
    EXPECT_EQ(removed[0]["name"], "orphan");
    EXPECT_EQ(removed[0]["removed"], true);
    EXPECT_EQ(program({"stat", "/orphan"}).status, 1);
    EXPECT_EQ(program({"stat", "/own"}).status, 0);
    EXPECT_EQ(program({"stat", "/open"}).status, 0);
    ASSERT_OK(mqueuefs_close(held));
    EXPECT_TRUE(wait_until([&] { return queue("/open")["open_handles"] == 0; }));
    EXPECT_EQ(Json::parse(output({"gc", "--yes", "--json"})).size(), 1U);
    output({"remove", "/own"});
  });
}

/// What an HTTP server at a unix socket answers; nothing: it does not.
std::string http(const std::string& path, const std::string& request) {
  const UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  memcpy(address.sun_path, path.data(), path.size());
  if (connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) return {};
  if (::send(socket.get(), request.data(), request.size(), MSG_NOSIGNAL) < 0) return {};
  std::string answer;
  char piece[4096];
  for (ssize_t count; (count = read(socket.get(), piece, sizeof piece)) > 0;) answer.append(piece, static_cast<size_t>(count));
  return answer;
}

constexpr const char* kGet = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

TEST_F(Watching, MetricsAreTold) {
  const TempDir place;
  const std::string path = place / "metrics.sock";
  in_private_namespaces([&](const std::string&) {
    Child daemon(Child::Output::kPipe,
                 {"daemon", "--foreground", "--metrics", "unix:" + path, "--metrics-max-queues", "2"}, {});
    ASSERT_TRUE(wait_until([&] { return access(path.c_str(), F_OK) == 0; }));
    struct stat socket {};
    ASSERT_OK(stat(path.c_str(), &socket));
    EXPECT_EQ(socket.st_mode & 0777, 0600U);
    output({"create", "/a\"b"});
    output({"create", "/second"});
    output({"create", "/third"});
    output({"send", "/a\"b", "hello"});
    output({"send", "/third", "rest"});
    // A scraper that says nothing holds nobody up.
    const UniqueFd silent(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    memcpy(address.sun_path, path.data(), path.size());
    ASSERT_OK(connect(silent.get(), reinterpret_cast<sockaddr*>(&address), sizeof address));

    const std::string answer = http(path, kGet);
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 ")) << answer.substr(0, 200);
    EXPECT_NE(answer.find("text/plain; version=0.0.4"), std::string::npos);
    EXPECT_TRUE(std::regex_search(answer, std::regex(R"(queue_messages\{namespace="\d+",queue="/a\\"b"\} 1\n)")));
    EXPECT_TRUE(std::regex_search(answer, std::regex(R"(queue_sent_total\{namespace="\d+",queue="/a\\"b"\} 1\n)")));
    EXPECT_EQ(answer.find("queue=\"/third\""), std::string::npos);
    EXPECT_TRUE(std::regex_search(answer, std::regex(R"(queue_messages\{namespace="\d+"\} 1\n)"))) << "the rest, summed";
    EXPECT_EQ(answer.find("hello"), std::string::npos);
    EXPECT_TRUE(http(path, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").starts_with("HTTP/1.1 404 "));
    EXPECT_TRUE(http(path, "DELETE /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").starts_with("HTTP/1.1 405 "));
    output({"remove", "/a\"b", "/second", "/third"});
    daemon.interrupt(SIGTERM);
    EXPECT_EQ(daemon.wait(), 0);
    EXPECT_NE(access(path.c_str(), F_OK), 0) << "the socket is left behind";
  });
}

TEST_F(Watching, MetricsStayOnThisMachine) {
  in_private_namespaces([&](const std::string&) {
    for (const std::string address : {"0.0.0.0:9090", "192.0.2.1:9090", "[::]:9090", "9090", "unix:relative"}) {
      const CommandResult refused = program({"daemon", "--foreground", "--metrics", address});
      EXPECT_EQ(refused.status, 1) << address;
      EXPECT_NE(refused.stderr_text.find("--metrics"), std::string::npos) << refused.stderr_text;
    }
  });
}

TEST_F(Watching, TheLogSaysWhichLimitWasHitAndNoPayload) {
  in_private_namespaces([&](const std::string&) {
    Child daemon(Child::Output::kPipe, {"daemon", "--foreground", "--log-format", "json"}, {});
    ASSERT_TRUE(daemon.shows("serving"));
    output({"limits", "queues_max=1"});
    output({"create", "/a"});
    output({"send", "/a", "a secret"});
    Child refused(Child::Output::kPipe, {"run", "--", "true"}, {});
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
