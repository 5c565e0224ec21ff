// What a monitoring system is told.
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <regex>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "integration/program_fixture.h"
#include "integration/running_program.h"
#include "support/expect.h"
#include "support/temp_dir.h"
#include "support/wait.h"

namespace mqueuefs::test {
namespace {

class Metrics : public ProgramTest {};

UniqueFd connect_to(const std::string& path) {
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  memcpy(address.sun_path, path.data(), path.size());
  if (connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) return {};
  return socket;
}

bool say(const UniqueFd& server, const std::string& text) {
  return ::send(server.get(), text.data(), text.size(), MSG_NOSIGNAL) == ssize_t(text.size());
}

/// What comes until the server closes.
std::string answer_of(const UniqueFd& server) {
  std::string answer;
  char piece[4096];
  for (ssize_t count; (count = read(server.get(), piece, sizeof piece)) > 0;) answer.append(piece, static_cast<size_t>(count));
  return answer;
}

/// What an HTTP server answers; nothing: it does not.
std::string http(const UniqueFd& server, const std::string& request) {
  return say(server, request) ? answer_of(server) : "";
}

constexpr const char* kGet = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

TEST_F(Metrics, AreTold) {
  const TempDir place;
  const std::string path = place / "metrics.sock";
  in_private_namespaces([&](const std::string&) {
    RunningProgram daemon(RunningProgram::Output::kPipe,
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
    const UniqueFd silent = connect_to(path);
    ASSERT_OK(silent.get());

    const std::string answer = http(connect_to(path), kGet);
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 ")) << answer.substr(0, 200);
    EXPECT_NE(answer.find("text/plain; version=0.0.4"), std::string::npos);
    EXPECT_TRUE(std::regex_search(answer, std::regex(R"(queue_messages\{namespace="\d+",queue="/a\\"b"\} 1\n)")));
    EXPECT_TRUE(std::regex_search(answer, std::regex(R"(queue_sent_total\{namespace="\d+",queue="/a\\"b"\} 1\n)")));
    EXPECT_EQ(answer.find("queue=\"/third\""), std::string::npos);
    EXPECT_TRUE(std::regex_search(answer, std::regex(R"(queue_messages\{namespace="\d+"\} 1\n)"))) << "the rest, summed";
    EXPECT_EQ(answer.find("hello"), std::string::npos);
    EXPECT_TRUE(http(connect_to(path), "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").starts_with("HTTP/1.1 404 "));
    EXPECT_TRUE(http(connect_to(path), "DELETE /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").starts_with("HTTP/1.1 405 "));
    output({"remove", "/a\"b", "/second", "/third"});
    daemon.interrupt(SIGTERM);
    EXPECT_EQ(daemon.wait(), 0);
    EXPECT_NE(access(path.c_str(), F_OK), 0) << "the socket is left behind";
  });
}

TEST_F(Metrics, StayOnThisMachine) {
  in_private_namespaces([&](const std::string&) {
    for (const std::string address : {"0.0.0.0:9090", "192.0.2.1:9090", "[::]:9090", "9090", "unix:relative"}) {
      const CommandResult refused = program({"daemon", "--foreground", "--metrics", address});
      EXPECT_EQ(refused.status, 1) << address;
      EXPECT_NE(refused.stderr_text.find("--metrics"), std::string::npos) << refused.stderr_text;
    }
  });
}

}  // namespace
}  // namespace mqueuefs::test
