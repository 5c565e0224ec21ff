#include "client/start_daemon.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>

#include "base/unique_fd.h"

namespace mqueuefs::client {
namespace {

constexpr int kStartLimitMs = 10'000;
constexpr unsigned kCloseRangeCloexec = 4;  // CLOSE_RANGE_CLOEXEC of linux/close_range.h

int64_t monotonic_ms() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<int64_t>(now.tv_sec) * 1000 + now.tv_nsec / 1'000'000;
}

// fork(2) without the program's fork handlers; `exit_signal` 0: a child that its wait(2) and its SIGCHLD handler
// never meet.
pid_t fork_unnoticed(int exit_signal) {
  return static_cast<pid_t>(syscall(SYS_clone, exit_signal, nullptr, nullptr, nullptr, nullptr));
}

// In the child: only what is async-signal-safe, since the caller may have threads.
[[noreturn]] void become_daemon(char* const* argv, char* const* environment, int ready) {
  // Twice, so that the daemon is nobody's child.
  const pid_t grandchild = fork_unnoticed(SIGCHLD);
  if (grandchild != 0) _exit(grandchild < 0 ? 1 : 0);
  setsid();
  for (int number = 1; number < NSIG; ++number) signal(number, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  const int null = open("/dev/null", O_RDWR);
  for (int standard = 0; standard <= 2; ++standard) dup2(null, standard);
  // A pipe of the program's must end when the program ends.
  syscall(SYS_close_range, 3U, ~0U, kCloseRangeCloexec);
  fcntl(ready, F_SETFD, 0);
  execve(argv[0], argv, environment);
  dprintf(ready, "failed: %s: %s\n", argv[0], strerror(errno));
  _exit(127);
}

// The environment without what is meant for the program that runs, not for the daemon. `room` has as many elements.
size_t environment_size() {
  size_t size = 1;
  while (__environ != nullptr && __environ[size - 1] != nullptr) ++size;
  return size;
}
void copy_environment(char** room) {
  for (char** entry = __environ; entry != nullptr && *entry != nullptr; ++entry) {
    if (strncmp(*entry, "LD_PRELOAD=", 11) != 0) *room++ = *entry;
  }
  *room = nullptr;
}

// The first one's: those of later attempts will be the same.
char words[256];
constinit std::atomic<int> words_state{0};  // 1: being written; 2: written

void note_words(const char* said, size_t length) {
  int none = 0;
  if (length == 0 || !words_state.compare_exchange_strong(none, 1)) return;
  if (const void* const end = memchr(said, '\n', length)) length = static_cast<size_t>(static_cast<const char*>(end) - said);
  snprintf(words, sizeof words, "%.*s", static_cast<int>(length), said);
  words_state.store(2, std::memory_order_release);
}

// Reads what the daemon says: a line that starts with "ready" or else the reason why not.
Status wait_until_ready(int ready) {
  char said[1024];
  size_t length = 0;
  const int64_t deadline_ms = monotonic_ms() + kStartLimitMs;
  while (length < sizeof said - 1) {
    const int64_t left_ms = deadline_ms - monotonic_ms();
    pollfd readable{ready, POLLIN, 0};
    const int polled = left_ms > 0 ? poll(&readable, 1, static_cast<int>(left_ms)) : 0;
    if (polled == 0) return Error{ETIMEDOUT, "the daemon did not get ready"};
    if (polled < 0) continue;
    const ssize_t n = read(ready, said + length, sizeof said - 1 - length);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    length += static_cast<size_t>(n);
    if (memchr(said, '\n', length) != nullptr) break;
  }
  said[length] = '\0';
  if (strncmp(said, "ready", 5) == 0) return {};
  note_words(said, length);
  return Error{ECHILD, "the daemon did not start"};
}

}  // namespace

const char* words_of_failed_daemon() { return words_state.load(std::memory_order_acquire) == 2 ? words : nullptr; }

Status start_daemon(const char* program) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return last_error("pipe");
  UniqueFd read_end(ends[0]);
  UniqueFd write_end(ends[1]);
  if (write_end.get() <= STDERR_FILENO) {
    // The standard descriptors are about to be replaced.
    UniqueFd higher(fcntl(write_end.get(), F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
    if (!higher) return last_error("fcntl");
    write_end = std::move(higher);
  }
  char number[16];
  snprintf(number, sizeof number, "%d", write_end.get());
  char path[4096];
  // /proc/self/exe is the child's own from the first fork on, but `mqueuefs` reads better than `exe` in ps(1).
  const ssize_t length = strcmp(program, "/proc/self/exe") == 0 ? readlink(program, path, sizeof path - 1) : -1;
  if (length > 0) path[length] = '\0';
  const char* executable = length > 0 && access(path, X_OK) == 0 ? path : program;
  char* const argv[] = {const_cast<char*>(executable), const_cast<char*>("daemon"), const_cast<char*>("--on-demand"),
                        const_cast<char*>("--ready-fd"), number, nullptr};

  auto** const environment = static_cast<char**>(__builtin_alloca(environment_size() * sizeof(char*)));
  copy_environment(environment);

  const pid_t child = fork_unnoticed(0);
  if (child < 0) return last_error("fork");
  if (child == 0) become_daemon(argv, environment, write_end.get());
  write_end.reset();
  while (waitpid(child, nullptr, __WALL) < 0 && errno == EINTR) {
  }
  return wait_until_ready(read_end.get());
}

}  // namespace mqueuefs::client
