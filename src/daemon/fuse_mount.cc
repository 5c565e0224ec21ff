#include "daemon/fuse_mount.h"

#include <fcntl.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "control/messages.h"

namespace mqueuefs::daemon {
namespace {

constexpr uint32_t kFuseMajor = 10;  // MISC_MAJOR
constexpr uint32_t kFuseMinor = 229;

// fsconfig(2) wants strings.
struct Number {
  explicit Number(unsigned value) { snprintf(text, sizeof text, "%u", value); }
  char text[16];
};

/// Sets one option after another until one fails.
class Configuration {
 public:
  explicit Configuration(int context) : context_(context) {}
  Configuration& set(const char* key, const char* value) {
    if (ok_ && fsconfig(context_, FSCONFIG_SET_STRING, key, value, 0) < 0) fail(key);
    return *this;
  }
  Configuration& flag(const char* key) {
    if (ok_ && fsconfig(context_, FSCONFIG_SET_FLAG, key, nullptr, 0) < 0) fail(key);
    return *this;
  }
  Status run(fsconfig_command command, const char* step) {
    if (ok_ && fsconfig(context_, command, nullptr, nullptr, 0) < 0) fail(step);
    return ok_ ? Status() : Status(error_);
  }

 private:
  void fail(const char* step) {
    ok_ = false;
    error_ = last_error(step);
  }
  const int context_;
  bool ok_ = true;
  Error error_;
};

Result<int> run_fusermount(const std::string& fusermount, const char* const* arguments, int socket) {
  const pid_t child = fork();
  if (child < 0) return last_error("fork");
  if (child == 0) {
    char variable[32];
    snprintf(variable, sizeof variable, "_FUSE_COMMFD=%d", socket);
    const char* environment[] = {"PATH=/usr/bin:/bin", socket >= 0 ? variable : nullptr, nullptr};
    if (socket >= 0) fcntl(socket, F_SETFD, 0);
    execve(fusermount.c_str(), const_cast<char* const*>(arguments), const_cast<char* const*>(environment));
    _exit(127);
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) return last_error("waitpid");
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

}  // namespace

uint64_t mount_attributes(uint32_t mount_flags) {
  // The kernel's mqueue is always noexec and nodev (doc/behaviour.md A3).
  uint64_t attributes = MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
  if ((mount_flags & control::kMountReadOnly) != 0) attributes |= MOUNT_ATTR_RDONLY;
  if ((mount_flags & control::kMountNoSuid) != 0) attributes |= MOUNT_ATTR_NOSUID;
  if ((mount_flags & control::kMountNoAtime) != 0) {
    attributes |= MOUNT_ATTR_NOATIME;
  } else if ((mount_flags & control::kMountStrictAtime) != 0) {
    attributes |= MOUNT_ATTR_STRICTATIME;
  }
  return attributes;  // MOUNT_ATTR_RELATIME is 0
}

Result<UniqueFd> open_fuse_device() {
  UniqueFd device(open("/dev/fuse", O_RDWR | O_CLOEXEC | O_NONBLOCK));
  if (!device) return last_error("open /dev/fuse");
  return device;
}

Result<UniqueFd> own_fuse_device(int foreign) {
  struct statx status {};
  if (statx(foreign, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &status) < 0)
    return last_error("statx");
  const bool is_fuse =
      S_ISCHR(status.stx_mode) && status.stx_rdev_major == kFuseMajor && status.stx_rdev_minor == kFuseMinor;
  if (!is_fuse) return Error{EINVAL, "not /dev/fuse"};
  auto device = open_fuse_device();
  if (!device) return device.error();
  auto number = static_cast<uint32_t>(foreign);
  if (ioctl(device->get(), FUSE_DEV_IOC_CLONE, &number) < 0) return last_error("FUSE_DEV_IOC_CLONE");
  return device;
}

Result<UniqueFd> make_mount(int fuse_device, const SuperblockOptions& options, uint64_t attributes) {
  const UniqueFd context(fsopen("fuse", FSOPEN_CLOEXEC));
  if (!context) return last_error("fsopen");
  Configuration configuration(context.get());
  configuration.set("source", options.source.empty() ? "none" : options.source.c_str())
      .set("subtype", "mqueuefs")
      .set("fd", Number(static_cast<unsigned>(fuse_device)).text)
      .set("rootmode", "41777")
      .set("user_id", Number(options.uid).text)
      .set("group_id", Number(options.gid).text)
      .flag("default_permissions");
  if (options.allow_other) configuration.flag("allow_other");
  if (const Status made = configuration.run(FSCONFIG_CMD_CREATE, "fsconfig create"); !made)
    return made.error();
  UniqueFd mount(fsmount(context.get(), FSMOUNT_CLOEXEC, static_cast<unsigned>(attributes)));
  if (!mount) return last_error("fsmount");
  return mount;
}

Result<UniqueFd> root_of(int mount) {
  UniqueFd root(open_tree(mount, "", AT_EMPTY_PATH | OPEN_TREE_CLOEXEC));
  if (!root) return last_error("open_tree");
  return root;
}

Result<UniqueFd> root_at(const char* dir) {
  UniqueFd root(open_tree(AT_FDCWD, dir, OPEN_TREE_CLOEXEC));
  if (!root) return last_error("open_tree");
  return root;
}

Status set_read_only(int root, bool read_only) {
  const UniqueFd context(fspick(root, "", FSPICK_EMPTY_PATH | FSPICK_CLOEXEC));
  if (!context) return last_error("fspick");
  return Configuration(context.get())
      .flag(read_only ? "ro" : "rw")
      .run(FSCONFIG_CMD_RECONFIGURE, "reconfigure");
}

std::string find_fusermount() {
  for (const char* path : {"/usr/bin/fusermount3", "/bin/fusermount3", "/usr/local/bin/fusermount3"}) {
    if (access(path, X_OK) == 0) return path;
  }
  return {};
}

Result<UniqueFd> mount_by_fusermount(const std::string& fusermount, const char* dir, const char* options) {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) return last_error("socketpair");
  const UniqueFd ours(pair[0]);
  UniqueFd theirs(pair[1]);
  const char* arguments[] = {"fusermount3", "-o", options, "--", dir, nullptr};
  const auto exit_code = run_fusermount(fusermount, arguments, theirs.get());
  theirs.reset();
  if (!exit_code) return exit_code.error();
  if (*exit_code != 0) return Error{EOPNOTSUPP, "fusermount3 refused"};
  char byte;
  iovec part{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  if (recvmsg(ours.get(), &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT) < 0) return last_error("fusermount3");
  const cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (header == nullptr || header->cmsg_type != SCM_RIGHTS) return Error{EIO, "fusermount3"};
  int fd;
  memcpy(&fd, CMSG_DATA(header), sizeof fd);
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  return UniqueFd(fd);
}

Status unmount_by_fusermount(const std::string& fusermount, const char* dir) {
  const char* arguments[] = {"fusermount3", "-u", "-z", "-q", "--", dir, nullptr};
  const auto exit_code = run_fusermount(fusermount, arguments, -1);
  if (!exit_code) return exit_code.error();
  if (*exit_code != 0) return Error{EIO, "fusermount3 -u"};
  return {};
}

}  // namespace mqueuefs::daemon
