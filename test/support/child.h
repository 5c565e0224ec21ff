// Running the body of a test in a forked child, so that namespaces, umask, limits and users do not leak.
//
// The child's assertions are the parent's: each failure travels through a pipe and is added to the running
// test with its file and line. Children may be nested. Everything a child leaves behind in its process group
// dies with it. The watchdog: after the time limit the group is killed; if that does not help, a FUSE request
// hangs, and the connections the child registered (`watch_fuse_mount`) are aborted, no others.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

namespace mqueuefs::test {

/// Room for a slow machine: a body that is right never comes near.
inline constexpr int kWatchdogMs = 20'000;

/// Runs `body` in a child and waits for it. A fatal failure ends the body; GTEST_SKIP in it skips the test.
void run_in_child(const std::function<void()>& body, int watchdog_ms = kWatchdogMs);

/// The same, as an ordinary user without capabilities.
void run_as(uid_t uid, const std::function<void()>& body);

/// In a child: if the watchdog finds this process hanging it aborts the FUSE connection of the mount at
/// `dir`. Reads /proc/self/mountinfo: sends no request to the file system.
void watch_fuse_mount(const std::string& dir);

/// A process beside the test's: runs `body` at once, reports its failures when joined. For two-sided
/// scenarios.
class Companion {
 public:
  explicit Companion(const std::function<void()>& body);
  Companion(const Companion&) = delete;
  Companion& operator=(const Companion&) = delete;
  ~Companion();  ///< joins

  pid_t pid() const { return pid_; }
  /// Waits for its end, reports its failures. Once.
  void join(int watchdog_ms = kWatchdogMs);
  void kill();

 private:
  pid_t pid_ = -1;
  int report_fd_ = -1;
  bool expect_kill_ = false;
  bool leads_group_ = false;
  std::vector<unsigned> fuse_connections_;
};

/// A one-way gate between processes that fork from where it was made: `open()` lets every `wait()` through.
class Gate {
 public:
  Gate();
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;
  ~Gate();
  void open();
  /// Blocks; the watchdog is the test's.
  void wait();

 private:
  int fd_;
};

}  // namespace mqueuefs::test
