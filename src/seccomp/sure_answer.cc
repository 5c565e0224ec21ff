#include "seccomp/sure_answer.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <optional>

#include "base/unique_fd.h"

namespace mqueuefs::seccomp {
namespace {

std::optional<cpu_set_t> processors_of(pid_t task) {
  cpu_set_t set;
  if (sched_getaffinity(task, sizeof set, &set) < 0) return std::nullopt;  // more than 1,024 of them, for example
  return set;
}

bool allow(pid_t task, const cpu_set_t& processors) { return sched_setaffinity(task, sizeof processors, &processors) == 0; }

// As long as it lives, a task can only run when this thread does not.
class OneProcessor {
 public:
  explicit OneProcessor(pid_t task) : task_(task), theirs_(processors_of(task)), ours_(processors_of(0)) {
    if (!theirs_ || !ours_) return;
    cpu_set_t common;
    CPU_AND(&common, &*theirs_, &*ours_);
    int chosen = sched_getcpu();
    for (int each = 0; each < CPU_SETSIZE && (chosen < 0 || !CPU_ISSET(chosen, &common)); ++each) {
      if (CPU_ISSET(each, &common)) chosen = each;
    }
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(chosen, &one);
    is_ours_ = CPU_ISSET(chosen, &common) && allow(0, one);
    is_theirs_ = is_ours_ && allow(task_, one);
  }
  OneProcessor(const OneProcessor&) = delete;
  OneProcessor& operator=(const OneProcessor&) = delete;
  ~OneProcessor() {
    if (is_theirs_) {
      // Who had all there are is to have those that are added, too.
      if (CPU_COUNT(&*theirs_) == sysconf(_SC_NPROCESSORS_ONLN)) memset(&*theirs_, 0xff, sizeof *theirs_);
      allow(task_, *theirs_);
    }
    if (is_ours_) allow(0, *ours_);
  }

 private:
  const pid_t task_;
  std::optional<cpu_set_t> theirs_;
  const std::optional<cpu_set_t> ours_;
  bool is_theirs_ = false;
  bool is_ours_ = false;
};

}  // namespace

bool has_pending_signal(pid_t task) {
  char path[32];
  snprintf(path, sizeof path, "/proc/%d/status", task);
  const UniqueFd file(open(path, O_RDONLY | O_CLOEXEC));
  char text[4096] = {};
  if (!file || read(file.get(), text, sizeof text - 1) <= 0) return false;
  const auto set_of = [&](const char* key) -> uint64_t {
    const char* field = strstr(text, key);
    return field != nullptr ? strtoull(field + strlen(key), nullptr, 16) : 0;
  };
  return ((set_of("\nSigPnd:") | set_of("\nShdPnd:")) & ~set_of("\nSigBlk:")) != 0;
}

bool answer_surely(const Listener& listener, uint64_t id, pid_t task, int64_t value) {
  const OneProcessor shared(task);
  return !has_pending_signal(task) && listener.answer(id, value, 0);
}

}  // namespace mqueuefs::seccomp
