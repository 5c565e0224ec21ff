// A seccomp listener: takes notifications, answers them. See seccomp_unotify(2).
//
// Who holds the other end of a descriptor that was handed to us may hold a copy: the kernel's calls on it may
// then block where poll(2) said they would not. take() alone can; see there.
#pragma once

#include <linux/seccomp.h>

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace mqueuefs::seccomp {

/// One call of one thread, which sleeps until it is answered, signalled or killed.
struct Notification {
  uint64_t id = 0;
  pid_t task = 0;  ///< the thread, in the daemon's pid namespace; 0: not visible there
  uint32_t architecture = 0;
  uint32_t number = 0;
  uint64_t arguments[6] = {};
};

class Listener {
 public:
  /// `fd` is a listener (is_listener). Asks for synchronous wake-ups where the kernel (6.6) has them.
  explicit Listener(UniqueFd fd);

  int fd() const { return fd_.get(); }

  /// Takes the next notification. The kernel waits where there is none, poll(2) or not: another holder of the listener
  /// may have taken it. So a signal ends that after half a second. ENOENT: its caller has gone meanwhile. EINTR: none was there, since somebody
  /// else reads the same listener, and a signal ended the wait for one.
  Result<Notification> take();

  /// The call returns `value`, or fails with `error`. False: nobody waits for it any more.
  bool answer(uint64_t id, int64_t value, int error) const;
  bool fail(uint64_t id, int error) const { return answer(id, 0, error); }
  /// The kernel does the call itself, as if there were no filter.
  bool let_go_on(uint64_t id) const;
  /// The call returns a new descriptor of `file`, close-on-exec, as the target numbers it. Blocks until the target
  /// has run: never on the loop. ENOENT: nobody waits for it any more; EMFILE: the target has no number left (not
  /// answered then).
  Status answer_with_descriptor(uint64_t id, int file) const;

  /// Whether the caller still waits for it.
  bool is_valid(uint64_t id) const;

 private:
  UniqueFd fd_;
  std::vector<uint64_t> buffer_;  // as large as the kernel's structure, which may grow
};

/// Whether `fd` is a seccomp listener. Asks nobody.
bool is_listener(int fd);

}  // namespace mqueuefs::seccomp
