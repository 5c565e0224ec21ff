// See sandbox.h.
#include "sandbox.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "floor_fs.h"

namespace mqueuefs::bench {
namespace {

volatile pid_t worker_to_kill = 0;

void on_signal(int) {
  if (worker_to_kill > 0) kill(worker_to_kill, SIGKILL);
}

void write_file(const char* path, const std::string& text) {
  const int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0 || write(fd, text.data(), text.size()) != static_cast<ssize_t>(text.size())) fail(path);
  close(fd);
}

// Returns only if the namespaces are there.
void enter_private_namespaces() {
  const uid_t uid = geteuid();
  const gid_t gid = getegid();
  const int user = uid == 0 ? 0 : CLONE_NEWUSER;
  if (unshare(CLONE_NEWNS | CLONE_NEWIPC | user) != 0) fail("unshare (be root, or allow user namespaces)");
  if (user != 0) {
    write_file("/proc/self/setgroups", "deny");
    write_file("/proc/self/uid_map", "0 " + std::to_string(uid) + " 1");
    write_file("/proc/self/gid_map", "0 " + std::to_string(gid) + " 1");
  }
  if (mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) fail("mount --make-rprivate /");
}

int wait_for(pid_t pid) {
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace

void fail(const std::string& what) {
  fprintf(stderr, "mqueuefs-bench: %s: %s\n", what.c_str(), strerror(errno));
  exit(1);
}

int run_in_sandbox(const std::function<int(const std::string& scratch)>& body) {
  const char* base = getenv("TMPDIR");
  std::string scratch = std::string(base != nullptr ? base : "/tmp") + "/mqueuefs-bench.XXXXXX";
  if (mkdtemp(scratch.data()) == nullptr) fail("mkdtemp");
  struct sigaction action {};
  action.sa_handler = on_signal;
  for (int number : {SIGINT, SIGTERM, SIGHUP}) sigaction(number, &action, nullptr);

  const pid_t parent = getpid();
  const pid_t worker = fork();
  if (worker < 0) fail("fork");
  if (worker == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);
    for (int number : {SIGINT, SIGTERM, SIGHUP}) signal(number, SIG_DFL);
    setpgid(0, 0);  // Ctrl-C is for the parent, which then ends all of this
    enter_private_namespaces();
    if (mount("bench", scratch.c_str(), "tmpfs", 0, "mode=755") != 0) fail("mount tmpfs");
    exit(body(scratch));
  }
  worker_to_kill = worker;
  const int code = wait_for(worker);
  worker_to_kill = 0;
  rmdir(scratch.c_str());
  return code;
}

void pin_to_processor(int number) {
  cpu_set_t permitted;
  if (sched_getaffinity(0, sizeof permitted, &permitted) != 0) fail("sched_getaffinity");
  number %= CPU_COUNT(&permitted);
  int chosen = CPU_SETSIZE - 1;
  for (int above = 0; chosen > 0; --chosen) {
    if (CPU_ISSET(chosen, &permitted) && above++ == number) break;
  }
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(chosen, &one);
  if (sched_setaffinity(0, sizeof one, &one) != 0) fail("sched_setaffinity");
}

void go_first() { (void)setpriority(PRIO_PROCESS, 0, -20); }

Child Child::start(const std::function<int()>& body) {
  fflush(stdout);
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid < 0) fail("fork");
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);
    _exit(body());
  }
  return Child(pid);
}

Child::Child(Child&& other) noexcept : pid_(other.pid_) { other.pid_ = -1; }

Child::~Child() {
  if (pid_ <= 0) return;
  kill(pid_, SIGKILL);
  wait_for(pid_);
}

int Child::wait() {
  const pid_t pid = pid_;
  pid_ = -1;
  return wait_for(pid);
}

bool run_program(const std::vector<std::string>& command, Output output) {
  fflush(stdout);
  const pid_t pid = fork();
  if (pid < 0) fail("fork");
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    const int null = open("/dev/null", O_RDWR);
    dup2(null, STDIN_FILENO);
    dup2(output == Output::kShown ? STDERR_FILENO : null, STDOUT_FILENO);
    std::vector<char*> arguments;
    for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    execvp(arguments[0], arguments.data());
    _exit(127);
  }
  return wait_for(pid) == 0;
}

bool mount_kernel_queues(const std::string& dir) {
  mkdir(dir.c_str(), 0755);
  return mount("mqueue", dir.c_str(), "mqueue", 0, nullptr) == 0;
}

Child start_floor(const std::string& dir, int entries) {
  mkdir(dir.c_str(), 0755);
  int ready[2];
  if (pipe2(ready, O_CLOEXEC) != 0) fail("pipe");
  Child child = Child::start([&] {
    close(ready[0]);
    return serve_floor(dir, entries, ready[1]);
  });
  close(ready[1]);
  char unused;
  const ssize_t end = read(ready[0], &unused, 1);
  close(ready[0]);
  struct stat root{};
  if (end != 0 || stat(dir.c_str(), &root) != 0 || root.st_size != 40) fail("the floor file system");
  return child;
}

Child start_daemon(const std::string& program, const std::string& scratch, const std::vector<std::string>& options) {
  setenv("MQUEUEFS_SOCKET", (scratch + "/mqueuefs.sock").c_str(), 1);
  const std::string log = scratch + "/daemon.log";
  Child child = Child::start([&] {
    dup2(open(log.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600), STDERR_FILENO);
    std::vector<char*> arguments;
    std::vector<std::string> words = {program, "daemon", "--foreground"};
    words.insert(words.end(), options.begin(), options.end());
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    execv(program.c_str(), arguments.data());
    perror(program.c_str());
    return 127;
  });
  for (int tries = 0; tries < 100; ++tries) {
    if (access((scratch + "/mqueuefs.sock").c_str(), F_OK) == 0 &&
        run_program({program, "ns", "list"}, Output::kHidden)) {
      return child;
    }
    usleep(50'000);
  }
  run_program({"cat", log});
  errno = ETIMEDOUT;
  fail("the daemon did not answer");
}

bool mount_namespace(const std::string& program, const std::string& name, const std::string& dir) {
  mkdir(dir.c_str(), 0755);
  const std::string helper = program.substr(0, program.rfind('/') + 1) + "mount.fuse.mqueuefs";
  return run_program({helper, "none", dir, "-o", "rw,ns=" + name});
}

}  // namespace mqueuefs::bench
