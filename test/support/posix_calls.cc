#include "support/posix_calls.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>

#include "support/target.h"

namespace mqueuefs::test {
namespace {

mqd_t libc_open(const char* name, int oflag, mode_t mode, const mq_attr* attributes) {
  if ((oflag & O_CREAT) == 0) return mq_open(name, oflag);
  return mq_open(name, oflag, mode, const_cast<mq_attr*>(attributes));
}

// Target `mqueuefs`: libc's rules for names (doc/behaviour.md C1, C8) over the layer below.

int fail(int code) {
  errno = code;
  return -1;
}

QueueCalls& below() {
  return Target::current().queue_calls();
}

mqd_t layered_open(const char* name, int oflag, mode_t mode, const mq_attr* attributes) {
  if (name[0] != '/') return fail(EINVAL);
  if ((oflag & O_CREAT) == 0) {
    mode = 0;
    attributes = nullptr;
  }
  return below().open_queue(name + 1, oflag, mode, attributes);
}

int layered_unlink(const char* name) {
  if (name[0] != '/') return fail(EINVAL);
  const int result = below().unlink_queue(name + 1);
  return result != 0 && errno == EPERM ? fail(EACCES) : result;
}

const PosixCalls& layered_calls() {
  static const PosixCalls calls = {
      layered_open,
      [](mqd_t fd) { return close(fd); },
      layered_unlink,
      [](mqd_t fd, const char* data, size_t size, unsigned priority) {
        return below().send(fd, data, size, priority, nullptr);
      },
      [](mqd_t fd, const char* data, size_t size, unsigned priority, const timespec* deadline) {
        return below().send(fd, data, size, priority, deadline);
      },
      [](mqd_t fd, char* buffer, size_t size, unsigned* priority) {
        return below().receive(fd, buffer, size, priority, nullptr);
      },
      [](mqd_t fd, char* buffer, size_t size, unsigned* priority, const timespec* deadline) {
        return below().receive(fd, buffer, size, priority, deadline);
      },
      [](mqd_t fd, mq_attr* attributes) { return below().get_attributes(fd, attributes); },
      [](mqd_t fd, const mq_attr* attributes, mq_attr* old_attributes) {
        return below().set_attributes(fd, attributes, old_attributes);
      },
      [](mqd_t fd, const sigevent* event) { return below().notify(fd, event); }};
  return calls;
}

// Target `library`: found at run time, so that this binary needs no library on the kernel's target.

#ifndef MQUEUEFS_STATIC
mqd_t (*library_open)(const char*, int, ...) = nullptr;

mqd_t open_by_library(const char* name, int oflag, mode_t mode, const mq_attr* attributes) {
  if ((oflag & O_CREAT) == 0) return library_open(name, oflag);
  return library_open(name, oflag, mode, attributes);
}

#endif

struct Library {
  PosixCalls calls{};
  std::string missing;

#ifdef MQUEUEFS_STATIC
  Library() : missing("this binary is static") {}
#else
  Library() {
    const char* path = getenv("MQUEUEFS_LIBRARY");
    void* handle = dlopen(path != nullptr ? path : "libmqueuefs.so.0", RTLD_NOW | RTLD_GLOBAL);
    if (handle == nullptr) {
      missing = dlerror();
      return;
    }
    find(handle, "mqueuefs_open", library_open);
    calls.open = open_by_library;
    find(handle, "mqueuefs_close", calls.close);
    find(handle, "mqueuefs_unlink", calls.unlink);
    find(handle, "mqueuefs_send", calls.send);
    find(handle, "mqueuefs_timedsend", calls.timedsend);
    find(handle, "mqueuefs_receive", calls.receive);
    find(handle, "mqueuefs_timedreceive", calls.timedreceive);
    find(handle, "mqueuefs_getattr", calls.getattr);
    find(handle, "mqueuefs_setattr", calls.setattr);
    find(handle, "mqueuefs_notify", calls.notify);
  }
#endif

#ifndef MQUEUEFS_STATIC
  template <typename Function>
  void find(void* handle, const char* name, Function& function) {
    function = reinterpret_cast<Function>(dlsym(handle, name));
    if (function == nullptr) missing = std::string("libmqueuefs has no ") + name;
  }
#endif
};

const Library& library() {
  static const Library loaded;
  return loaded;
}

bool target_is(const char* name) {
  const char* chosen = getenv("MQUEUEFS_TEST_TARGET");
  return strcmp(chosen != nullptr ? chosen : "mqueuefs", name) == 0;
}

class PosixQueueCalls : public QueueCalls {
 public:
  explicit PosixQueueCalls(const PosixCalls& (*table)()) : table_(table) {}

  int open_queue(const char* name, int oflag, mode_t mode, const mq_attr* attributes) override {
    return table_().open(("/" + std::string(name)).c_str(), oflag, mode, attributes);
  }
  int unlink_queue(const char* name) override { return table_().unlink(("/" + std::string(name)).c_str()); }
  int send(int fd, const char* data, size_t size, unsigned priority, const timespec* deadline) override {
    return deadline != nullptr ? table_().timedsend(fd, data, size, priority, deadline)
                               : table_().send(fd, data, size, priority);
  }
  ssize_t receive(int fd, char* buffer, size_t size, unsigned* priority, const timespec* deadline) override {
    return deadline != nullptr ? table_().timedreceive(fd, buffer, size, priority, deadline)
                               : table_().receive(fd, buffer, size, priority);
  }
  int get_attributes(int fd, mq_attr* attributes) override { return table_().getattr(fd, attributes); }
  int set_attributes(int fd, const mq_attr* attributes, mq_attr* old_attributes) override {
    return table_().setattr(fd, attributes, old_attributes);
  }
  int notify(int fd, const sigevent* event) override { return table_().notify(fd, event); }

 private:
  const PosixCalls& (*const table_)();
};

}  // namespace

const PosixCalls& libc_calls() {
  static const PosixCalls calls = {libc_open,  mq_close,        mq_unlink,  mq_send,    mq_timedsend,
                                   mq_receive, mq_timedreceive, mq_getattr, mq_setattr, mq_notify};
  return calls;
}

const PosixCalls& library_calls() {
  return library().calls;
}

const PosixCalls& mq() {
  if (target_is("library")) return library_calls();
  return target_is("mqueuefs") ? layered_calls() : libc_calls();
}

std::string missing_posix_calls() {
  if (target_is("library")) return library().missing;
  if (target_is("preload")) {
    const char* preloaded = getenv("LD_PRELOAD");
    if (preloaded == nullptr || strstr(preloaded, "mqueuefs-preload") == nullptr)
      return "not started under `mqueuefs run`";
  }
  if (target_is("seccomp") && !system_calls_are_caught()) return "not started under `mqueuefs run --via seccomp`";
  return "";
}

bool system_calls_are_caught() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("Seccomp_filters:")) return strtol(line.c_str() + strlen("Seccomp_filters:"), nullptr, 10) > 0;
  }
  return false;
}

std::unique_ptr<QueueCalls> make_posix_queue_calls(const PosixCalls& (*table)()) {
  return std::make_unique<PosixQueueCalls>(table);
}

timespec deadline_in_ms(int64_t ms) {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  const int64_t ns = now.tv_sec * 1'000'000'000 + now.tv_nsec + ms * 1'000'000;
  return {ns / 1'000'000'000, ns % 1'000'000'000};
}

sigevent event_of(int notify, int signo, void* value) {
  sigevent event{};
  event.sigev_notify = notify;
  event.sigev_signo = signo;
  event.sigev_value.sival_ptr = value;
  return event;
}

}  // namespace mqueuefs::test
