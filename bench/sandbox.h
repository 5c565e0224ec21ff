// Where the measurements take place: a process with mount and IPC namespaces of its own, a scratch folder, and
// the three file systems side by side in it.
//
// Whatever is mounted, written or started in there ends with it, however it ends: the scratch folder is a tmpfs
// of the private mount namespace, and every child asks the kernel to be killed when its parent dies.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

namespace mqueuefs::bench {

/// Runs `body` in a forked, sandboxed process with the scratch folder's path, and returns its exit code. An
/// ordinary user becomes root of a user namespace in there. Removes what is left, also after a signal.
int run_in_sandbox(const std::function<int(const std::string& scratch)>& body);

/// From now on this process and its children run on one processor: the `number`th last one permitted, counted from 0 and
/// around.
void pin_to_processor(int number);

/// Asks to be scheduled before others, with all children; where that is not permitted nothing changes.
void go_first();

/// Ends a child when it goes out of scope.
class Child {
 public:
  /// Forks; the child runs `body`, exits with its result, and is killed if this process dies.
  static Child start(const std::function<int()>& body);
  explicit Child(pid_t pid) : pid_(pid) {}
  Child(Child&& other) noexcept;
  Child& operator=(Child&&) = delete;
  ~Child();

  /// Waits for its end; its exit code, or 128 and the signal that ended it.
  int wait();
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_;
};

/// Runs a program to its end; true if its exit code is 0. What it prints goes to stderr, or nowhere.
enum class Output { kShown, kHidden };
bool run_program(const std::vector<std::string>& command, Output output = Output::kShown);

/// The kernel's mqueue of this IPC namespace, mounted at `dir`. False: this kernel has none.
bool mount_kernel_queues(const std::string& dir);

/// The floor at `dir`, listing `entries` files; returns when it is mounted, or exits.
Child start_floor(const std::string& dir, int entries);

/// A daemon of `program` with its socket in `scratch`; returns when it answers, or exits. From now on the
/// commands talk to this one. `options` are the daemon's.
Child start_daemon(const std::string& program, const std::string& scratch, const std::vector<std::string>& options = {});

/// Mounts the namespace `name` at `dir` as mount(8) would. `program`'s folder holds the mount helper.
bool mount_namespace(const std::string& program, const std::string& name, const std::string& dir);

[[noreturn]] void fail(const std::string& what);  ///< `what`, the errno, exit code 1

}  // namespace mqueuefs::bench
