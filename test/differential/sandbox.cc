#include "differential/sandbox.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <new>
#include <vector>

namespace mqueuefs::differential {
namespace {

constexpr int kPatienceMs = 20'000;

int64_t now_ms() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000 + now.tv_nsec / 1'000'000;
}

// Without the C++ library's streams: this is read after many a step.
size_t read_file(const std::string& path, char* text, size_t size) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  const ssize_t n = read(fd, text, size - 1);
  close(fd);
  text[n > 0 ? n : 0] = '\0';
  return n > 0 ? static_cast<size_t>(n) : 0;
}

}  // namespace

std::string preload_of(TargetKind target) {
  const char* path = getenv("MQUEUEFS_PRELOAD");
  return target == TargetKind::kPreload ? path != nullptr ? path : "libmqueuefs-preload.so" : "";
}

Sandbox::Sandbox(TargetKind target) {
  char dir[] = "/tmp/mqueuefs-differential-XXXXXX";
  if (mkdtemp(dir) == nullptr) {
    missing_ = "no temporary directory";
    return;
  }
  chmod(dir, 0755);
  dir_ = dir;
  const int memory = memfd_create("mqueuefs-differential", 0);
  if (memory < 0 || ftruncate(memory, sizeof(Shared)) != 0) {
    missing_ = "no shared memory";
    return;
  }
  void* mapped = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
  shared_ = new (mapped) Shared;
  shared_->target = static_cast<int>(target);
  const std::string preload = preload_of(target), socket = dir_ + "/mqueuefs.sock";
  leader_ = static_cast<pid_t>(syscall(SYS_clone, CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWNS | SIGCHLD,
                                       nullptr, nullptr, nullptr, nullptr));
  if (leader_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(memory, kSharedFd);
    setenv("MQUEUEFS_SOCKET", socket.c_str(), 1);
    if (!preload.empty()) setenv("LD_PRELOAD", preload.c_str(), 1);
    execl("/proc/self/exe", "differential", "--leader", dir, nullptr);
    _exit(127);
  }
  close(memory);
  if (leader_ < 0) {
    missing_ = std::string("no namespaces of one's own: ") + strerror(errno);
    return;
  }
  const int64_t deadline = now_ms() + kPatienceMs;
  while (shared_->leader_state == 0) {
    if (waitpid(leader_, nullptr, WNOHANG) == leader_) {
      leader_ = -1;
      missing_ = "the leader died";
      return;
    }
    if (now_ms() > deadline) {
      missing_ = "the leader does not get ready";
      return;
    }
    usleep(1000);
  }
  if (shared_->leader_state == 2) missing_ = shared_->failure;
}

Sandbox::~Sandbox() {
  if (leader_ > 0) {
    kill(leader_, SIGKILL);
    for (int i = 0; waitpid(leader_, nullptr, WNOHANG) == 0; ++i) {
      // It may hang in a request to the file system, which nobody answers any more.
      if (i == 1000 && shared_->fuse_connection != 0) {
        const std::string abort_file =
            "/sys/fs/fuse/connections/" + std::to_string(shared_->fuse_connection) + "/abort";
        const int fd = open(abort_file.c_str(), O_WRONLY | O_CLOEXEC);
        if (fd >= 0 && write(fd, "1", 1) != 1)
          fprintf(stderr, "%s: %s\n", abort_file.c_str(), strerror(errno));
        close(fd);
      }
      usleep(1000);
    }
  }
  if (shared_ != nullptr) munmap(shared_, sizeof(Shared));
  unlink((dir_ + "/mqueuefs.sock").c_str());
  unlink((dir_ + "/mqueuefs.sock.lock").c_str());
  rmdir((dir_ + "/mount").c_str());
  rmdir(dir_.c_str());
}

void Sandbox::post(int actor, const Operation& operation, uint32_t step) {
  Slot& slot = shared_->slots[actor];
  slot.operation = operation;
  slot.step = step;
  ++slot.posted;
  wake(slot.posted);
}

bool Sandbox::is_done(int actor) const {
  return shared_->slots[actor].posted == shared_->slots[actor].done;
}

std::string Sandbox::outcome(int actor) const {
  return shared_->slots[actor].outcome;
}

std::string Sandbox::proc_file(int actor, const char* file) const {
  return "/proc/" + std::to_string(leader_) + "/root/proc/" + std::to_string(shared_->slots[actor].tid) +
         "/" + file;
}

bool Sandbox::is_asleep(int actor) const {
  char text[512];
  if (read_file(proc_file(actor, "stat"), text, sizeof text) == 0) return false;
  const char* state = strrchr(text, ')');
  return state != nullptr && strncmp(state, ") S", 3) == 0 && !is_done(actor);
}

bool Sandbox::is_dead(int actor) const {
  char text[512];
  return read_file(proc_file(actor, "stat"), text, sizeof text) == 0 && !is_done(actor);
}

int64_t Sandbox::switches_of(int actor) const {
  char text[4096];
  if (read_file(proc_file(actor, "status"), text, sizeof text) == 0) return -1;
  const char* count = strstr(text, "\nvoluntary_ctxt_switches:");
  return count != nullptr ? strtoll(strchr(count, ':') + 1, nullptr, 10) : -1;
}

bool Sandbox::is_settled(int actor) {
  // Everything it asked for was asked before the first look, and each round lets the daemon go through what
  // is ready once: so if it has not moved over more rounds than an answer can take (to accept, to greet, to
  // reply), it waits for something that the daemon does not owe it.
  constexpr int kRounds = 8;
  const int64_t before = switches_of(actor);
  for (int round = 0; round < kRounds; ++round)
    if (!is_asleep(actor) || !lead(Kind::kList, 0, 0)) return false;
  return is_asleep(actor) && switches_of(actor) == before;
}

bool Sandbox::lead(Kind kind, int actor, int other, int64_t value) {
  Operation operation;
  operation.kind = kind;
  operation.actor = actor;
  operation.other = other;
  operation.value[0] = value;
  uint32_t seen = shared_->bell;
  post(kLeader, operation, 0);
  const int64_t deadline = now_ms() + kPatienceMs;
  while (!is_done(kLeader)) {
    wait_on(shared_->bell, seen, 20'000);
    seen = shared_->bell;
    if (now_ms() > deadline) return false;
  }
  return true;
}

bool Sandbox::reset(bool sysv) {
  for (int process = 0; process < kMaxProcesses; ++process)
    if (shared_->processes[process].pid > 0 && !lead(Kind::kKill, 0, process)) return false;
  for (Slot& slot : shared_->slots)
    slot.done = slot.posted.load();
  return lead(Kind::kUnlink, 0, 0, sysv ? 1 : 0);
}

}  // namespace mqueuefs::differential
