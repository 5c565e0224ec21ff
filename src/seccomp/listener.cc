#include "seccomp/listener.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>

#include <algorithm>
#include <string_view>
#include <utility>

// Younger than the headers may be.
#ifndef SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP (1UL << 0)
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS SECCOMP_IOW(4, __u64)
#endif
#ifndef SECCOMP_ADDFD_FLAG_SEND
#define SECCOMP_ADDFD_FLAG_SEND (1UL << 1)
#endif

namespace mqueuefs::seccomp {
namespace {

size_t notification_words() {
  seccomp_notif_sizes sizes{};
  syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes);
  return (std::max<size_t>(sizes.seccomp_notif, sizeof(seccomp_notif)) + 7) / 8;
}

// Interrupts a waiting call of this process half a second after notifications were last taken. For a call that waits
// for a notification that another has taken this is the only end.
class InterruptTimer {
 public:
  void keep_going() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    const int64_t now_ns = now.tv_sec * 1'000'000'000 + now.tv_nsec;
    if (now_ns < arm_again_ns_) return;
    arm_again_ns_ = now_ns + kRest_ns;
    if (!made_) {
      // Not SA_RESTART: the call has to end. In helper processes, which inherit no timer, it never comes.
      struct sigaction action {};
      action.sa_handler = [](int) {};
      sigaction(SIGALRM, &action, nullptr);
      sigevent event{};
      event.sigev_notify = SIGEV_SIGNAL;
      event.sigev_signo = SIGALRM;
      made_ = timer_create(CLOCK_MONOTONIC, &event, &timer_) == 0;
      if (!made_) return;
    }
    // Moved on as long as notifications are taken; so it fires when they end, or when one does not return.
    const itimerspec once{{0, 0}, {0, 2 * kRest_ns}};
    timer_settime(timer_, 0, &once, nullptr);
  }

 private:
  static constexpr int64_t kRest_ns = 250'000'000;
  bool made_ = false;
  timer_t timer_{};
  int64_t arm_again_ns_ = 0;
};

}  // namespace

Listener::Listener(UniqueFd fd) : fd_(std::move(fd)), buffer_(notification_words()) {
  // Whoever answers sleeps next, and the caller runs next: on the same processor.
  ioctl(fd_.get(), SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP);
}

Result<Notification> Listener::take() {
  static InterruptTimer guard;
  guard.keep_going();
  std::fill(buffer_.begin(), buffer_.end(), 0);  // the kernel insists
  if (ioctl(fd_.get(), SECCOMP_IOCTL_NOTIF_RECV, buffer_.data()) < 0) return last_error("SECCOMP_IOCTL_NOTIF_RECV");
  seccomp_notif raw;
  memcpy(&raw, buffer_.data(), sizeof raw);
  Notification taken{raw.id, static_cast<pid_t>(raw.pid), raw.data.arch, static_cast<uint32_t>(raw.data.nr), {}};
  std::copy(std::begin(raw.data.args), std::end(raw.data.args), taken.arguments);
  return taken;
}

bool Listener::answer(uint64_t id, int64_t value, int error) const {
  seccomp_notif_resp response{};
  response.id = id;
  response.val = value;
  response.error = -error;
  return ioctl(fd_.get(), SECCOMP_IOCTL_NOTIF_SEND, &response) == 0;
}

bool Listener::let_go_on(uint64_t id) const {
  seccomp_notif_resp response{};
  response.id = id;
  response.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
  return ioctl(fd_.get(), SECCOMP_IOCTL_NOTIF_SEND, &response) == 0;
}

Status Listener::answer_with_descriptor(uint64_t id, int file) const {
  seccomp_notif_addfd request{};
  request.id = id;
  request.flags = SECCOMP_ADDFD_FLAG_SEND;
  request.srcfd = static_cast<uint32_t>(file);
  request.newfd_flags = O_CLOEXEC;
  if (ioctl(fd_.get(), SECCOMP_IOCTL_NOTIF_ADDFD, &request) >= 0) return {};
  const Error error = last_error("SECCOMP_IOCTL_NOTIF_ADDFD");
  // ESRCH: he was interrupted while it was offered.
  return error.code == ESRCH ? Error{ENOENT, error.step} : error;
}

bool Listener::is_valid(uint64_t id) const { return ioctl(fd_.get(), SECCOMP_IOCTL_NOTIF_ID_VALID, &id) == 0; }

bool is_listener(int fd) {
  char path[32];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  char link[64];
  const ssize_t length = readlink(path, link, sizeof link);
  return length > 0 && std::string_view(link, static_cast<size_t>(length)) == "anon_inode:seccomp notify";
}

}  // namespace mqueuefs::seccomp
