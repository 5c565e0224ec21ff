#include "support/run_command.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "base/check.h"
#include "base/unique_fd.h"
#include "support/wait.h"

namespace mqueuefs::test {
namespace {

struct Pipe {
  UniqueFd read_end, write_end;
  Pipe() {
    int ends[2];
    MQUEUEFS_CHECK(pipe2(ends, O_CLOEXEC) == 0);
    read_end.reset(ends[0]);
    write_end.reset(ends[1]);
  }
};

// Reads what is there; closes at the end of file.
void drain(UniqueFd& fd, std::string& text) {
  char buffer[4096];
  while (fd) {
    const ssize_t n = read(fd.get(), buffer, sizeof buffer);
    if (n > 0) {
      text.append(buffer, static_cast<size_t>(n));
    } else {
      if (n == 0 || (errno != EAGAIN && errno != EINTR)) fd.reset();
      return;
    }
  }
}

[[noreturn]] void execute(const std::vector<std::string>& argv, const CommandOptions& options, int in,
                          int out, int err) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  signal(SIGPIPE, SIG_DFL);
  dup2(in, STDIN_FILENO);
  dup2(out, STDOUT_FILENO);
  dup2(err, STDERR_FILENO);
  if (!options.directory.empty() && chdir(options.directory.c_str()) != 0) _exit(127);
  for (const auto& [name, value] : options.environment)
    setenv(name.c_str(), value.c_str(), 1);
  std::vector<char*> arguments;
  for (const std::string& argument : argv)
    arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  execvp((options.program.empty() ? argv[0] : options.program).c_str(), arguments.data());
  _exit(127);
}

}  // namespace

CommandResult run_command(const std::vector<std::string>& argv, const std::string& stdin_text,
                          const CommandOptions& options) {
  Pipe in, out, err;
  const pid_t child = fork();
  MQUEUEFS_CHECK(child >= 0);
  if (child == 0) {
    execute(argv, options, in.read_end.get(), out.write_end.get(), err.write_end.get());
  }
  setpgid(child, child);  // both do it: whoever comes first
  in.read_end.reset();
  out.write_end.reset();
  err.write_end.reset();
  for (const UniqueFd* fd : {&in.write_end, &out.read_end, &err.read_end})
    fcntl(fd->get(), F_SETFL, O_NONBLOCK);
  signal(SIGPIPE, SIG_IGN);
  UniqueFd process(static_cast<int>(syscall(SYS_pidfd_open, child, 0)));
  MQUEUEFS_CHECK(static_cast<bool>(process));

  CommandResult result;
  size_t written = 0;
  const int64_t deadline_ms = monotonic_ms() + options.timeout_ms;
  for (bool ended = false; !ended;) {
    if (written == stdin_text.size()) in.write_end.reset();
    pollfd waits[] = {{process.get(), POLLIN, 0},
                      {out.read_end ? out.read_end.get() : -1, POLLIN, 0},
                      {err.read_end ? err.read_end.get() : -1, POLLIN, 0},
                      {in.write_end ? in.write_end.get() : -1, POLLOUT, 0}};
    const int64_t left_ms = deadline_ms - monotonic_ms();
    if (left_ms <= 0 && !result.timed_out) {
      result.timed_out = true;
      kill(-child, SIGKILL);
    }
    if (poll(waits, 4, result.timed_out ? 5000 : static_cast<int>(left_ms)) == 0 && result.timed_out) {
      return result;  // not even SIGKILL ends it: it hangs in the kernel, and must not take us with it
    }
    ended = waits[0].revents != 0;
    if (waits[3].revents != 0) {
      const ssize_t n = write(in.write_end.get(), stdin_text.data() + written, stdin_text.size() - written);
      if (n > 0) written += static_cast<size_t>(n);
      if (n < 0 && errno == EPIPE) in.write_end.reset();
    }
    drain(out.read_end, result.stdout_text);
    drain(err.read_end, result.stderr_text);
  }
  int status = 0;
  MQUEUEFS_CHECK(waitpid(child, &status, 0) == child);
  result.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return result;
}

std::string mqueuefs_program() {
  const char* program = getenv("MQUEUEFS_PROGRAM");
  return program != nullptr && *program != '\0' ? program : "mqueuefs";
}

}  // namespace mqueuefs::test
