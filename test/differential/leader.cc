// The first process of a sandbox; see sandbox.h.
#include <dirent.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <functional>
#include <string>

#include "differential/sandbox.h"

namespace mqueuefs::differential {
namespace {

// Few enough that programs come to the limit.
constexpr rlim_t kMessageQueueBytes = 300'000;
constexpr unsigned kCapSysResource = 24;

[[noreturn]] void fail(Shared* shared, const std::string& step) {
  snprintf(shared->failure, sizeof shared->failure, "%s: %s", step.c_str(), strerror(errno));
  shared->leader_state = 2;
  for (;;)
    pause();
}

void mount_queues(Shared* shared) {
  const auto target = static_cast<TargetKind>(shared->target);
  if (target == TargetKind::kKernel || target == TargetKind::kBroken) {
    if (mount("none", shared->mount_dir, "mqueue", 0, nullptr) != 0) fail(shared, "mount mqueue");
    return;
  }
  const char* program = getenv("MQUEUEFS_PROGRAM");
  const pid_t helper = fork();
  if (helper == 0) {
    unsetenv("LD_PRELOAD");
    execlp(program != nullptr ? program : "mqueuefs", "mount.fuse.mqueuefs", "none", shared->mount_dir,
           nullptr);
    _exit(127);
  }
  int status = -1;
  waitpid(helper, &status, 0);
  errno = EIO;
  if (status != 0) fail(shared, "mount.fuse.mqueuefs");
  struct stat root {};
  if (stat(shared->mount_dir, &root) == 0) shared->fuse_connection = minor(root.st_dev);
}

void keep_at(int number, int fd) {
  dup2(fd, number);
  close(fd);
}

// Until `process` has ended; with its end its descriptors are closed.
void await_end(Shared* shared, int process, bool kill_it) {
  const pid_t pid = shared->processes[process].pid;
  const int fd = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  if (fd >= 0) {
    if (kill_it) kill(pid, SIGKILL);
    pollfd ended{fd, POLLIN, 0};
    while (poll(&ended, 1, -1) < 0 && errno == EINTR) {
    }
    close(fd);
  }
  shared->processes[process].pid = 0;
}

void remove_all(Shared* shared) {
  DIR* directory = opendir(shared->mount_dir);
  if (directory == nullptr) return;
  while (const dirent* entry = readdir(directory))
    unlinkat(dirfd(directory), entry->d_name, 0);
  closedir(directory);
}

// Programs of System V IPC begin in a namespace of their own, so that ids begin at 0; the others in the one that is
// mounted.
void begin_in_namespace(Shared* shared, bool sysv) {
  static const int mounted = open("/proc/self/ns/ipc", O_RDONLY | O_CLOEXEC);
  if ((sysv ? unshare(CLONE_NEWIPC) : setns(mounted, CLONE_NEWIPC)) != 0) abort();
  for (int(&ids)[kObjects] : shared->objects)
    for (int& id : ids)
      id = -1;
}

void perform(Shared* shared, const Operation& operation) {
  switch (operation.kind) {
    case Kind::kSpawn:
      spawn(shared, operation.other);
      break;
    case Kind::kKill:
      await_end(shared, operation.other, true);
      break;
    case Kind::kExit:
      await_end(shared, operation.other, false);
      break;
    case Kind::kSignal: {
      Slot& slot = shared->slots[operation.actor];
      const uint32_t before = slot.signals_handled;
      syscall(SYS_tgkill, shared->processes[operation.actor / kMaxThreads].pid.load(), slot.tid.load(),
              operation.value[0] != 0 ? SIGUSR2 : SIGUSR1);
      while (slot.signals_handled == before)
        sched_yield();
      break;
    }
    case Kind::kList: {  // a request that must be answered, after those before it
      struct statx status {};
      statx(AT_FDCWD, shared->mount_dir, AT_STATX_FORCE_SYNC, STATX_BASIC_STATS, &status);
      break;
    }
    case Kind::kUnlink:
      remove_all(shared);
      begin_in_namespace(shared, operation.value[0] != 0);
      break;
    default:
      break;
  }
}

}  // namespace

void run_leader(const char* dir) {
  Shared* shared = map_shared();
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) fail(shared, "private mounts");
  if (mount("proc", "/proc", "proc", 0, nullptr) != 0) fail(shared, "mount /proc");
  snprintf(shared->mount_dir, sizeof shared->mount_dir, "%s/mount", dir);
  mkdir(shared->mount_dir, 0755);
  // An account that nobody shares: in the kernel it counts for all namespaces of a user. (Not for ours, whose
  // account is the namespace's own: with a real uid that is not the effective one, a program would not be
  // preloaded into.)
  const auto target = static_cast<TargetKind>(shared->target);
  const bool is_kernel = target == TargetKind::kKernel || target == TargetKind::kBroken;
  const auto account = static_cast<uid_t>(300'000 + std::hash<std::string>()(dir) % 100'000'000);
  if (is_kernel && setresuid(account, static_cast<uid_t>(-1), static_cast<uid_t>(-1)) != 0)
    fail(shared, "an account of one's own");
  shared->account = is_kernel ? account : 0;
  umask(0);
  // Not on one machine and missing on the other: it raises the limits on attributes.
  prctl(PR_CAPBSET_DROP, kCapSysResource, 0, 0, 0);
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct sets[2]{};
  syscall(SYS_capget, &header, sets);
  for (uint32_t* set : {&sets[0].effective, &sets[0].permitted})
    *set &= ~(1u << kCapSysResource);
  syscall(SYS_capset, &header, sets);
  mount_queues(shared);
  begin_in_namespace(shared, false);
  const rlimit limit{kMessageQueueBytes, kMessageQueueBytes};
  setrlimit(RLIMIT_MSGQUEUE, &limit);
  keep_at(800, open("/dev/null", O_RDWR));
  keep_at(801, open(shared->mount_dir, O_RDONLY | O_DIRECTORY));
  int ends[2];
  if (pipe(ends) != 0) fail(shared, "pipe");
  keep_at(802, ends[0]);
  keep_at(803, ends[1]);
  signal(SIGCHLD, SIG_IGN);  // inherited: nobody has to be waited for
  shared->leader_state = 1;
  Slot& slot = shared->slots[kLeader];
  for (;;) {
    const uint32_t posted = slot.posted;
    if (posted == slot.done) {
      wait_on(slot.posted, posted, 0);
      continue;
    }
    perform(shared, slot.operation);
    slot.done = posted;
    ++shared->bell;
    wake(shared->bell);
  }
}

}  // namespace mqueuefs::differential
