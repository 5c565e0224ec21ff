// The program while it runs: what it has written so far, and its end.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "base/unique_fd.h"
#include "support/expect.h"
#include "support/run_command.h"
#include "support/wait.h"

namespace mqueuefs::test {

/// A program whose standard output and standard error are read here: a pipe, or a terminal of its own.
class RunningProgram {
 public:
  enum class Output { kPipe, kTerminal };
  RunningProgram(Output kind, std::vector<std::string> arguments, const std::vector<std::pair<std::string, std::string>>& environment) {
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
  ~RunningProgram() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  RunningProgram(const RunningProgram&) = delete;
  RunningProgram& operator=(const RunningProgram&) = delete;

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
  /// It does nothing until go_on().
  void stop() {
    kill(pid_, SIGSTOP);
    siginfo_t stopped{};
    EXPECT_OK(waitid(P_PID, static_cast<id_t>(pid_), &stopped, WSTOPPED));
  }
  void go_on() { kill(pid_, SIGCONT); }
  pid_t pid() const { return pid_; }
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

}  // namespace mqueuefs::test
