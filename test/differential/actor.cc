#include "differential/actor.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <string>

#include "differential/queue_table.h"
#include "differential/sysv_step.h"

namespace mqueuefs::differential {
namespace {

constexpr size_t kMaxMessage = 8192;
constexpr int kFirstNotification = 1, kLastNotification = 2;  // of SIGRTMIN

thread_local Slot* slot_of_this_thread = nullptr;

void count_signal(int) {
  if (slot_of_this_thread != nullptr) ++slot_of_this_thread->signals_handled;
}

sigset_t notifications() {
  sigset_t set;
  sigemptyset(&set);
  for (int i = kFirstNotification; i <= kLastNotification; ++i)
    sigaddset(&set, SIGRTMIN + i);
  return set;
}

void prepare_signals() {
  struct sigaction action {};
  action.sa_handler = count_signal;
  sigaction(SIGUSR1, &action, nullptr);
  action.sa_flags = SA_RESTART;
  sigaction(SIGUSR2, &action, nullptr);
  const sigset_t set = notifications();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
}

// What an actor does with the operation in its slot.
class Step {
 public:
  Step(Shared* shared, int actor)
      : shared_(*shared),
        slot_(shared->slots[actor]),
        process_(shared->processes[actor / kMaxThreads]),
        o_(slot_.operation),
        mq_(queue_table(static_cast<TargetKind>(shared->target))) {}

  void perform() {
    perform_call();
    observe();
    memcpy(slot_.outcome, text_, used_ + 1);
  }

 private:
  // Errors by number: strerrorname_np is of glibc 2.32, and the reader is a program first.
  void result(long value) {
    const int code = errno;
    add(value >= 0 ? "%ld" : "%ld %s", value, value >= 0 ? "" : name_of(code));
  }
  static const char* name_of(int code) {
    const char* name = strerrorname_np(code);
    return name != nullptr ? name : "E?";
  }

  __attribute__((format(printf, 2, 3))) void add(const char* format, ...) {
    va_list arguments;
    va_start(arguments, format);
    const int n = vsnprintf(text_ + used_, sizeof text_ - used_, format, arguments);
    va_end(arguments);
    used_ = std::min(used_ + static_cast<size_t>(n > 0 ? n : 0), sizeof text_ - 1);
  }

  int fd_of(int number) const {
    switch (number) {
      case kMinusOne:
        return -1;
      case kNotOpen:
        return 777;
      case kDevNull:
        return 800;
      case kDirectory:
        return 801;
      case kPipe:
        return 802;
      default:
        return process_.descriptors[number];
    }
  }

  // A slot is written to: what was there is closed first.
  void put(int number, int fd) {
    process_.descriptors[number] = fd;
    add("%s", fd >= 0 ? "descriptor" : "-1");
    if (fd < 0) add(" %s", name_of(errno));
  }
  void vacate(int number) {
    if (process_.descriptors[number] >= 0) close(process_.descriptors[number]);
    process_.descriptors[number] = -1;
  }

  const char* name() const { return names()[static_cast<size_t>(o_.name)].text.c_str(); }
  std::string path() const {
    return shared_.mount_dir + ("/" + names()[static_cast<size_t>(o_.name)].text.substr(1));
  }

  const timespec* timeout(timespec& storage) const {
    clock_gettime(CLOCK_REALTIME, &storage);
    switch (o_.value[3]) {
      case kNoTimeout:
        return nullptr;
      case kPast:
        storage = {0, 0};
        break;
      case kSoon:
        storage.tv_nsec += 3'000'000;
        storage = {storage.tv_sec + storage.tv_nsec / 1'000'000'000, storage.tv_nsec % 1'000'000'000};
        break;
      case kFar:
        storage.tv_sec += 1'000'000;
        break;
      case kBadNanoseconds:
        storage = {1, 1'000'000'000};
        break;
      case kNegative:
        storage = {-1, 0};
        break;
      default:
        return reinterpret_cast<const timespec*>(8);
    }
    return &storage;
  }

  void send() {
    char message[kMaxMessage + 16];
    const auto size = static_cast<size_t>(o_.value[0]);
    const int text = snprintf(message, sizeof message, "%u.", slot_.step);
    if (size > static_cast<size_t>(text) && size <= sizeof message)
      memset(message + text, 'x', size - static_cast<size_t>(text));
    const char* data = o_.value[2] == kGood          ? message
                       : o_.value[2] == kNullPointer ? nullptr
                                                     : bad<const char>();
    const auto priority = static_cast<unsigned>(o_.value[1]);
    timespec storage;
    result(o_.kind == Kind::kSend ? mq_.send(fd_of(o_.slot), data, size, priority)
                                  : mq_.timedsend(fd_of(o_.slot), data, size, priority, timeout(storage)));
  }

  void receive() {
    static thread_local char buffer[kMaxMessage + 16];
    unsigned priority = 4'000'000'000;
    unsigned* const wanted = o_.value[1] != 0 ? &priority : nullptr;
    const auto size = static_cast<size_t>(o_.value[0]);
    timespec storage;
    const ssize_t n = o_.kind == Kind::kReceive
                          ? mq_.receive(fd_of(o_.slot), buffer, size, wanted)
                          : mq_.timedreceive(fd_of(o_.slot), buffer, size, wanted, timeout(storage));
    result(n);
    if (wanted != nullptr) add(" priority %u", priority);
    if (n < 0) return;
    uint32_t hash = 2'166'136'261;
    for (ssize_t i = 0; i < n; ++i)
      hash = (hash ^ static_cast<unsigned char>(buffer[i])) * 16'777'619;
    add(" \"%.*s\" %08x", static_cast<int>(std::min<ssize_t>(n, 8)), buffer, hash);
  }

  void notify() {
    sigevent event{};
    event.sigev_value.sival_int = static_cast<int>(slot_.step);
    const sigevent* pointer = &event;
    switch (o_.value[0]) {
      case kNull:
        pointer = nullptr;
        break;
      case kNone:
        event.sigev_notify = SIGEV_NONE;
        break;
      case kSignal1:
      case kSignal2:
        event.sigev_signo = SIGRTMIN + (o_.value[0] == kSignal1 ? 1 : 2);
        break;
      case kSignalZero:
        break;
      case kThreadFunction:
        event.sigev_notify = SIGEV_THREAD;
        event.sigev_notify_function = [](sigval) {};
        break;
      case kBadType:
        event.sigev_notify = 3;
        break;
      case kBadSignal:
        event.sigev_signo = 65;
        break;
      default: {
        // libc reads the type before the system call: so the type can be read, and what is before it can't.
        static char* const pages = static_cast<char*>(
            mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
        mprotect(pages, 4096, PROT_NONE);
        pointer = reinterpret_cast<sigevent*>(pages + 4096 - offsetof(sigevent, sigev_notify));
      }
    }
    result(mq_.notify(fd_of(o_.slot), pointer));
  }

  std::string process_name(int pid) const { return name_of_process(shared_, pid); }

  void take_signals() {
    const sigset_t set = notifications();
    const timespec zero{};
    siginfo_t info;
    while (sigtimedwait(&set, &info, &zero) > 0) {
      add("SIGRTMIN+%d code %d from %s value %d; ", info.si_signo - SIGRTMIN, info.si_code,
          process_name(info.si_pid).c_str(), info.si_value.sival_int);
    }
    add("no more");
  }

  void list() {
    DIR* directory = opendir(shared_.mount_dir);
    if (directory == nullptr) return result(-1);
    while (const dirent* entry = readdir(directory)) {
      if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
      for (size_t i = 0; i < kGoodNames; ++i)
        if (names()[i].text.substr(1) == entry->d_name) add("%zu ", i);
    }
    closedir(directory);
  }

  void perform_call() {
    errno = 0;
    switch (o_.kind) {
      case Kind::kOpen: {
        vacate(o_.slot);
        const AttributesEntry& entry = attributes()[static_cast<size_t>(o_.value[2])];
        mq_attr wanted{};
        wanted.mq_flags = 0x7777;
        wanted.mq_maxmsg = entry.maxmsg;
        wanted.mq_msgsize = entry.msgsize;
        wanted.mq_curmsgs = 5;
        mq_attr* pointer = entry.null ? nullptr : entry.bad_pointer ? bad<mq_attr>() : &wanted;
        errno = 0;
        return put(o_.slot, mq_.open(name(), static_cast<int>(o_.value[0]), static_cast<mode_t>(o_.value[1]),
                                     pointer));
      }
      case Kind::kOpenFile:
        vacate(o_.slot);
        errno = 0;
        return put(o_.slot,
                   open(path().c_str(), static_cast<int>(o_.value[0]), static_cast<mode_t>(o_.value[1])));
      case Kind::kMqClose:
      case Kind::kClose: {
        const int fd = fd_of(o_.slot);
        if (o_.slot < kSlots) process_.descriptors[o_.slot] = -1;
        return result(o_.kind == Kind::kClose ? close(fd) : mq_.close(fd));
      }
      case Kind::kDup: {
        vacate(o_.other);
        errno = 0;
        return put(o_.other, dup(fd_of(o_.slot)));
      }
      case Kind::kDup2: {
        const int onto = process_.descriptors[o_.other];
        if (onto < 0) return add("nothing there");
        return result(dup2(fd_of(o_.slot), onto) >= 0 ? 0 : -1);
      }
      case Kind::kUnlink:
        return result(mq_.unlink(name()));
      case Kind::kUnlinkFile:
        return result(unlink(path().c_str()));
      case Kind::kSend:
      case Kind::kTimedSend:
        return send();
      case Kind::kReceive:
      case Kind::kTimedReceive:
        return receive();
      case Kind::kGetattr: {
        mq_attr attr{-9, -9, -9, -9, {}};
        result(mq_.getattr(fd_of(o_.slot), choose(o_.value[0], &attr)));
        return add(" %ld %ld %ld %ld", attr.mq_flags, attr.mq_maxmsg, attr.mq_msgsize, attr.mq_curmsgs);
      }
      case Kind::kSetattr: {
        mq_attr wanted{o_.value[0], -1, -1, -1, {}}, old{-9, -9, -9, -9, {}};
        result(mq_.setattr(fd_of(o_.slot), choose(o_.value[1], &wanted), choose(o_.value[2], &old)));
        return add(" %ld %ld %ld %ld", old.mq_flags, old.mq_maxmsg, old.mq_msgsize, old.mq_curmsgs);
      }
      case Kind::kNotify:
        return notify();
      case Kind::kTakeSignals:
        return take_signals();
      case Kind::kSetNonblock:
        return result(fcntl(fd_of(o_.slot), F_SETFL, o_.value[0] != 0 ? O_NONBLOCK : 0));
      case Kind::kSetCloexec:
        return result(fcntl(fd_of(o_.slot), F_SETFD, o_.value[0] != 0 ? FD_CLOEXEC : 0));
      case Kind::kFstat: {
        struct stat st {};
        const int fd = fd_of(o_.slot);
        result(fstat(fd, &st));
        return add(" mode %o size %ld nlink %ld uid %u", st.st_mode, static_cast<long>(st.st_size),
                   static_cast<long>(st.st_nlink), st.st_uid);
      }
      case Kind::kChmod:
        return result(chmod(path().c_str(), static_cast<mode_t>(o_.value[0])));
      case Kind::kList:
        return list();
      case Kind::kSetFsuid:
        // The kernel charges a new queue to the real one, the emulation to this (mqueuefs(5)): so there the real one
        // goes with it. Of this thread alone, which libc's setresuid() would not do.
        // It sets the fsuid, too, but not the capabilities that come and go with that.
        setfsuid(static_cast<uid_t>(o_.value[0]));
        if (shared_.account != 0)
          syscall(SYS_setresuid, shared_.account + static_cast<uid_t>(o_.value[0]), -1, -1);
        setfsuid(static_cast<uid_t>(o_.value[0]));
        return result(0);
      case Kind::kNice:
        return result(
            setpriority(PRIO_PROCESS, static_cast<id_t>(syscall(SYS_gettid)), static_cast<int>(o_.value[0])));
      case Kind::kMsgget:
      case Kind::kMsgsnd:
      case Kind::kMsgrcv:
      case Kind::kMsgctl:
      case Kind::kSemget:
      case Kind::kSemop:
      case Kind::kSemctl:
      case Kind::kShmget:
      case Kind::kShmat:
      case Kind::kShmdt:
      case Kind::kShmctl:
        return add("%s", sysv_step(shared_, process_, o_, slot_.step).c_str());
      case Kind::kSeteuid:
        // Of this thread alone, as above.
        return result(syscall(SYS_setresuid, -1, o_.value[0], -1));
      case Kind::kFork:
        return fork_process();
      case Kind::kThread:
        return start_thread();
      case Kind::kExec: {
        const std::string actor = std::to_string(&slot_ - shared_.slots);
        // With an effective uid that is not the real one a program would not be preloaded into.
        syscall(SYS_setresuid, -1, 0, -1);
        // Its fsuid is its effective uid then, which is root's.
        if (shared_.account != 0) syscall(SYS_setresuid, shared_.account, -1, -1);
        execl("/proc/self/exe", "differential", "--after-exec", actor.c_str(), nullptr);
        return result(-1);
      }
      case Kind::kExit:
        _exit(0);
      default:
        return add("?");
    }
  }

  void fork_process();
  void start_thread();

  // The queue that the step was about, as everybody can see it.
  void observe() {
    const int number = o_.kind == Kind::kDup || o_.kind == Kind::kDup2 ? o_.other : o_.slot;
    if (o_.kind > Kind::kNotify || o_.kind == Kind::kUnlink || o_.kind == Kind::kUnlinkFile ||
        number >= kSlots)
      return;
    const int fd = process_.descriptors[number];
    mq_attr attr{};
    if (fd < 0) return;
    if (mq_.getattr(fd, &attr) != 0) return add(" | %s", name_of(errno));
    add(" | %ld %ld %ld %ld", attr.mq_flags, attr.mq_maxmsg, attr.mq_msgsize, attr.mq_curmsgs);
    pollfd ready{fd, POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM, 0};
    poll(&ready, 1, 0);
    add(" poll %x", static_cast<unsigned>(ready.revents));
    char line[128];
    const ssize_t n = pread(fd, line, sizeof line - 1, 0);
    if (n < 0) return add(" %s", name_of(errno));
    line[n] = '\0';
    unsigned long qsize = 0;
    int kind = 0, signo = 0, pid = 0;
    if (sscanf(line, "QSIZE:%lu NOTIFY:%d SIGNO:%d NOTIFY_PID:%d", &qsize, &kind, &signo, &pid) != 4)
      return add(" \"%s\"", line);
    add(" %zd %lu %d %d %s", n, qsize, kind, signo, process_name(pid).c_str());
  }

  template <typename T>
  static T* bad() {
    return reinterpret_cast<T*>(8);
  }
  template <typename T>
  static T* choose(int64_t pointer, T* good) {
    return pointer == kGood ? good : pointer == kNullPointer ? nullptr : bad<T>();
  }

  Shared& shared_;
  Slot& slot_;
  ProcessSlot& process_;
  const Operation o_;
  const QueueTable& mq_;
  char text_[kOutcomeBytes];
  size_t used_ = 0;
};

void Step::fork_process() {
  ProcessSlot& child_slot = shared_.processes[o_.other];
  memcpy(child_slot.descriptors, process_.descriptors, sizeof child_slot.descriptors);
  memcpy(child_slot.attachments, process_.attachments, sizeof child_slot.attachments);
  // The numbers start anew before the child can look at them.
  Slot& child_actor = shared_.slots[o_.other * kMaxThreads];
  child_actor.done = child_actor.posted.load();
  child_actor.tid = 0;
  const pid_t child = fork();
  if (child == 0) run_actor(&shared_, o_.other * kMaxThreads);
  child_slot.pid = child;
  result(child > 0 ? 0 : -1);
  while (child > 0 && child_actor.tid == 0)
    sched_yield();
}

void* thread_main(void* argument) {
  run_actor(map_shared(), static_cast<int>(reinterpret_cast<intptr_t>(argument)));
}

void Step::start_thread() {
  const auto actor = &slot_ - shared_.slots + 1;
  Slot& thread_slot = shared_.slots[actor];
  thread_slot.done = thread_slot.posted.load();
  thread_slot.tid = 0;
  pthread_attr_t attr;
  pthread_attr_init(&attr);
  pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
  pthread_attr_setstacksize(&attr, 256 * 1024);
  pthread_t thread;
  const int code = pthread_create(&thread, &attr, thread_main, reinterpret_cast<void*>(actor));
  pthread_attr_destroy(&attr);
  add("%d", code);
  while (code == 0 && thread_slot.tid == 0)
    sched_yield();
}

}  // namespace

std::string name_of_process(const Shared& shared, int pid) {
  if (pid == 0) return "0";
  for (int i = 0; i < kMaxProcesses; ++i)
    if (shared.processes[i].pid == pid) return "process" + std::to_string(i);
  // The kernel notes the thread of a receiver who was served while he waited.
  for (int i = 0; i < kActors; ++i)
    if (shared.slots[i].tid == pid) return "process" + std::to_string(i / kMaxThreads);
  return "somebody";
}

Shared* map_shared() {
  static Shared* const shared = [] {
    void* memory = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED, kSharedFd, 0);
    if (memory == MAP_FAILED) abort();
    return static_cast<Shared*>(memory);
  }();
  return shared;
}

void wait_on(std::atomic<uint32_t>& word, uint32_t seen, int limit_us) {
  const timespec limit{limit_us / 1'000'000, limit_us % 1'000'000 * 1000L};
  syscall(SYS_futex, &word, FUTEX_WAIT, seen, limit_us > 0 ? &limit : nullptr, nullptr, 0);
}

void wake(std::atomic<uint32_t>& word) {
  syscall(SYS_futex, &word, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

void run_actor(Shared* shared, int actor) {
  Slot& slot = shared->slots[actor];
  slot_of_this_thread = &slot;
  slot.tid = static_cast<int>(syscall(SYS_gettid));
  for (;;) {
    const uint32_t posted = slot.posted;
    if (posted == slot.done) {
      wait_on(slot.posted, posted, 0);
      continue;
    }
    Step(shared, actor).perform();
    slot.done = posted;
    ++shared->bell;
    wake(shared->bell);
  }
}

void run_after_exec(int actor) {
  Shared* shared = map_shared();
  Slot& slot = shared->slots[actor];
  prepare_signals();
  ProcessSlot& process = shared->processes[actor / kMaxThreads];
  for (int& fd : process.descriptors)
    if (fd >= 0 && fcntl(fd, F_GETFD) < 0) fd = -1;
  for (char*& address : process.attachments)
    address = nullptr;
  // Before it is known to be there: the next step may be a signal.
  slot_of_this_thread = &slot;
  strcpy(slot.outcome, "executed");
  slot.done = slot.posted.load();
  ++shared->bell;
  wake(shared->bell);
  run_actor(shared, actor);
}

int spawn(Shared* shared, int process) {
  ProcessSlot& process_slot = shared->processes[process];
  for (int& fd : process_slot.descriptors)
    fd = -1;
  for (char*& address : process_slot.attachments)
    address = nullptr;
  Slot& slot = shared->slots[process * kMaxThreads];
  slot.done = slot.posted.load();
  slot.tid = 0;
  const pid_t child = fork();
  if (child == 0) {
    prepare_signals();
    run_actor(shared, process * kMaxThreads);
  }
  process_slot.pid = child;
  while (child > 0 && slot.tid == 0)
    sched_yield();
  return child;
}

}  // namespace mqueuefs::differential
