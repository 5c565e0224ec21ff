// What a monitoring system is told, and that no scraper holds the daemon up.
#include <arpa/inet.h>
#include <fcntl.h>
#include <mqueuefs/mqueuefs.h>
#include <netinet/in.h>
#include <sys/ipc.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <nlohmann/json.hpp>
#include <regex>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "client/sysv.h"
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

sockaddr_in loopback(uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

UniqueFd connect_to(uint16_t port) {
  UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const sockaddr_in address = loopback(port);
  if (connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return {};
  return socket;
}

/// That nobody listens at; somebody may by the time that it is used.
uint16_t free_port() {
  const UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address = loopback(0);
  socklen_t size = sizeof address;
  EXPECT_OK(bind(socket.get(), reinterpret_cast<sockaddr*>(&address), size));
  EXPECT_OK(getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &size));
  return ntohs(address.sin_port);
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

TEST_F(Metrics, TellOfSystemVObjects) {
  const TempDir place;
  const std::string path = place / "metrics.sock";
  in_private_namespaces([&](const std::string&) {
    RunningProgram daemon(RunningProgram::Output::kPipe, {"daemon", "--foreground", "--log-level", "off", "--metrics", "unix:" + path}, {});
    ASSERT_TRUE(wait_until([&] { return access(path.c_str(), F_OK) == 0; }));
    const int queue = client::msg_get(IPC_PRIVATE, 0600);
    const struct {
      long type;
      char text[5];
    } message{1, {'h', 'e', 'l', 'l', 'o'}};
    ASSERT_OK(queue);
    ASSERT_OK(client::msg_send(queue, &message, sizeof message.text, 0));
    const int array = client::sem_get(IPC_PRIVATE, 3, 0600);
    ASSERT_OK(array);
    const int memory = client::shm_get(IPC_PRIVATE, 5000, 0600);
    ASSERT_OK(memory);

    const std::string answer = http(connect_to(path), kGet);
    for (const std::string series :
         {R"(objects\{namespace="\d+",kind="msg"\} 1)", R"(objects\{namespace="\d+",kind="sem"\} 1)",
          R"(objects\{namespace="\d+",kind="shm"\} 1)", R"(messages\{namespace="\d+"\} 1)",
          R"(message_bytes\{namespace="\d+"\} 5)", R"(memory_bytes\{namespace="\d+"\} 8192)"}) {
      EXPECT_TRUE(std::regex_search(answer, std::regex("\nmqueuefs_sysv_" + series + "\n"))) << series;
    }
    EXPECT_EQ(answer.find("hello"), std::string::npos);

    std::vector<std::string> kinds;
    for (const auto& object : nlohmann::json::parse(output({"ipc", "list", "--json"}))) kinds.push_back(object["kind"]);
    EXPECT_EQ(kinds, (std::vector<std::string>{"msg", "sem", "shm"}));
    output({"ipc", "remove", "msg", std::to_string(queue)});
    output({"ipc", "remove", "sem", std::to_string(array)});
    output({"ipc", "remove", "shm", std::to_string(memory)});
    daemon.interrupt(SIGTERM);
    EXPECT_EQ(daemon.wait(), 0);
  });
}

TEST_F(Metrics, ASlowScraperHoldsNobodyUp) {
  in_private_namespaces([&](const std::string&) {
    const uint16_t port = free_port();
    RunningProgram daemon(RunningProgram::Output::kPipe,
                          {"daemon", "--foreground", "--log-level", "off", "--metrics", "127.0.0.1:" + std::to_string(port)}, {});
    ASSERT_TRUE(wait_until([&] { return static_cast<bool>(connect_to(port)); })) << daemon.text();
    // An answer of hundreds of kilobytes.
    std::vector<std::string> removal = {"remove"};
    mq_attr attributes{};
    attributes.mq_maxmsg = 1;
    attributes.mq_msgsize = 16;
    for (int i = 0; i < 200; ++i) {
      removal.push_back("/" + std::string(240, 'q') + std::to_string(i));
      const mqd_t made = mqueuefs_open(removal.back().c_str(), O_CREAT | O_RDWR, 0600, &attributes);
      ASSERT_OK(made);
      ASSERT_OK(mqueuefs_close(made));
    }

    const UniqueFd half = connect_to(port);
    ASSERT_TRUE(say(half, "GET /met"));
    const UniqueFd deaf = connect_to(port);
    const int little = 64 * 1024;
    ASSERT_OK(setsockopt(deaf.get(), SOL_SOCKET, SO_RCVBUF, &little, sizeof little));
    ASSERT_TRUE(say(deaf, kGet));

    for (int i = 0; i < 3; ++i) {
      EXPECT_TRUE(http(connect_to(port), kGet).starts_with("HTTP/1.1 200 "));
      output({"send", removal.back(), "x"});
      EXPECT_EQ(output({"receive", removal.back()}), "x\n");
    }
    // Those who were slow are served, too.
    ASSERT_TRUE(say(half, "rics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
    EXPECT_TRUE(answer_of(half).starts_with("HTTP/1.1 200 "));
    const std::string late = answer_of(deaf);
    EXPECT_GT(late.size(), 400'000U);
    EXPECT_NE(late.find("\nmqueuefs_loop_round_seconds_count "), std::string::npos) << "not all of it";

    // As many as there may be, and more that wait: the daemon does not, and a place that is given up is another's.
    std::vector<UniqueFd> many;
    for (int i = 0; i < 32; ++i) {
      many.push_back(connect_to(port));
      ASSERT_TRUE(say(many.back(), "GET /met"));
    }
    output({"send", removal.back(), "x"});
    EXPECT_EQ(output({"receive", removal.back()}), "x\n");
    many.clear();
    EXPECT_TRUE(http(connect_to(port), kGet).starts_with("HTTP/1.1 200 "));
    output(removal);
    daemon.interrupt(SIGTERM);
    EXPECT_EQ(daemon.wait(), 0);
  });
}

TEST_F(Metrics, StayOnThisMachine) {
  in_private_namespaces([&](const std::string&) {
    const auto expect_refused = [](const std::string& address, const std::string& why) {
      for (const char* how : {"--foreground", "--log-format=text"}) {  // the other one: in the background
        const CommandResult refused = program({"daemon", how, "--metrics", address});
        EXPECT_EQ(refused.status, 1) << address;
        EXPECT_TRUE(refused.stderr_text.ends_with("mqueuefs: daemon: --metrics: " + why + "\n")) << refused.stderr_text;
      }
    };
    for (const std::string address : {"0.0.0.0:9090", "192.0.2.1:9090", "[::]:9090", "example.org:9090", ":9090"})
      expect_refused(address, "not a loopback address: Invalid argument");
    for (const std::string address : {"9090", "unix:relative", "unix:", "127.0.0.1:", "127.0.0.1:99999", "127.0.0.1:http"})
      expect_refused(address, "neither unix:/PATH nor 127.0.0.1:PORT, [::1]:PORT, localhost:PORT: Invalid argument");
    const UniqueFd taken(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address = loopback(0);
    socklen_t size = sizeof address;
    ASSERT_OK(bind(taken.get(), reinterpret_cast<sockaddr*>(&address), size));
    ASSERT_OK(listen(taken.get(), 1));
    ASSERT_OK(getsockname(taken.get(), reinterpret_cast<sockaddr*>(&address), &size));
    const CommandResult refused =
        program({"daemon", "--foreground", "--metrics", "127.0.0.1:" + std::to_string(ntohs(address.sin_port))});
    EXPECT_EQ(refused.status, 1);
    EXPECT_NE(refused.stderr_text.find("--metrics: Address already in use"), std::string::npos) << refused.stderr_text;
  });
}

}  // namespace
}  // namespace mqueuefs::test
