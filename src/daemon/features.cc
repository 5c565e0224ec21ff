#include "daemon/features.h"

#include <fcntl.h>
#include <linux/fuse.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <functional>

#include "base/unique_fd.h"
#include "daemon/fuse_mount.h"
#include "daemon/kernel_namespaces.h"
#include "daemon/namespace_probe.h"
#include "daemon/superblock_maker.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

namespace mqueuefs::daemon {
namespace {

constexpr uint64_t kHasResend = 1ULL << 39;  // FUSE_HAS_RESEND of linux/fuse.h
constexpr uint32_t kInitExt = 1U << 30;      // FUSE_INIT_EXT: flags2 counts
constexpr int kInitPatienceMs = 1000;

int try_fuse_device() {
  const UniqueFd device(open("/dev/fuse", O_RDWR | O_CLOEXEC));
  return device ? 0 : errno;
}

int try_mount_api() {
  const UniqueFd context(fsopen("fuse", FSOPEN_CLOEXEC));
  return context ? 0 : errno;
}

bool may_mount() { return try_fuse_device() == 0 && try_mount_api() == 0; }

// What `body` answers in a child, where it may change what it likes.
int in_child(const std::function<int()>& body) {
  const pid_t child = fork();
  if (child < 0) return errno;
  if (child == 0) _exit(body());
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : ECHILD;
}

// Making one in which fsopen(2) is permitted.
int try_user_namespaces() {
  return in_child([] { return unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0 ? errno : try_mount_api(); });
}

// The kernel's first request, which comes with the superblock and needs no answer for what is asked here.
Result<FuseProtocol> ask_fuse() {
  const auto device = open_fuse_device();
  if (!device) return device.error();
  SuperblockOptions options;
  options.uid = geteuid();
  options.gid = getegid();
  const auto mount = make_mount(device->get(), options, mount_attributes(0));
  if (!mount) return mount.error();
  pollfd readable{device->get(), POLLIN, 0};
  alignas(fuse_in_header) char request[FUSE_MIN_READ_BUFFER];
  if (poll(&readable, 1, kInitPatienceMs) != 1) return Error{ETIMEDOUT, "FUSE_INIT"};
  const ssize_t size = read(device->get(), request, sizeof request);
  // flags2, since protocol 7.36, follows flags.
  uint32_t words[5] = {};
  constexpr size_t kAtLeast = sizeof(fuse_in_header) + 4 * sizeof(uint32_t);
  if (size < static_cast<ssize_t>(kAtLeast)) return Error{EPROTO, "FUSE_INIT"};
  memcpy(words, request + sizeof(fuse_in_header), std::min(sizeof words, static_cast<size_t>(size) - sizeof(fuse_in_header)));
  FuseProtocol protocol;
  protocol.major = words[0];
  protocol.minor = words[1];
  const uint64_t flags = words[3] | ((words[3] & kInitExt) != 0 ? uint64_t{words[4]} << 32 : 0);
  protocol.resend = (flags & kHasResend) != 0;
  const auto again = make_mount(device->get(), options, mount_attributes(0));
  protocol.shares_superblock = again.ok();
  return protocol;
}

std::optional<FuseProtocol> fuse_protocol(bool in_user_namespace) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) < 0) return std::nullopt;
  const UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  const int outcome = in_child([&] {
    if (in_user_namespace && !enter_fresh_user_namespace()) return 1;
    const auto protocol = ask_fuse();
    if (!protocol) return 1;
    return write(writer.get(), &*protocol, sizeof *protocol) == sizeof *protocol ? 0 : 1;
  });
  FuseProtocol protocol;
  if (outcome != 0 || read(reader.get(), &protocol, sizeof protocol) != sizeof protocol) return std::nullopt;
  return protocol;
}

int try_seccomp_notification() {
  uint32_t action = SECCOMP_RET_USER_NOTIF;
  return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0 ? 0 : errno;
}

int try_kernel_queues() {
  // The empty name is ENOENT, unless there is no such call.
  return syscall(SYS_mq_unlink, "") == 0 || errno != ENOSYS ? 0 : ENOSYS;
}

bool has_peer_pidfd() {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) return false;
  const UniqueFd first(pair[0]);
  const UniqueFd second(pair[1]);
  int fd = -1;
  socklen_t size = sizeof fd;
  if (getsockopt(first.get(), SOL_SOCKET, SO_PEERPIDFD, &fd, &size) < 0) return false;
  const UniqueFd pidfd(fd);
  return true;
}

}  // namespace

Features detect_features() {
  Features features;
  features.nsfs_handles = nsfs_handles_work();
  features.namespace_probe = in_child([] { return namespace_probes_work() ? 0 : EOPNOTSUPP; }) == 0;
  features.peer_pidfd = has_peer_pidfd();
  features.mount_privilege = may_mount();
  features.user_namespaces = try_fuse_device() == 0 && try_user_namespaces() == 0;
  features.fusermount = !find_fusermount().empty();
  return features;
}

SystemReport examine_system() {
  SystemReport report;
  report.features = detect_features();
  report.fuse_device = try_fuse_device();
  report.mount_api = try_mount_api();
  report.user_namespaces = try_user_namespaces();
  report.ipc_namespaces = access("/proc/self/ns/ipc", F_OK) == 0 ? 0 : errno;
  report.seccomp_notification = try_seccomp_notification();
  report.kernel_queues = try_kernel_queues();
  const Features& features = report.features;
  if (features.mount_privilege || features.user_namespaces) report.fuse = fuse_protocol(!features.mount_privilege);
  return report;
}

Status remove_features(Features& features, std::string_view names) {
  while (!names.empty()) {
    const size_t comma = names.find(',');
    const std::string_view name = names.substr(0, comma);
    names.remove_prefix(comma == std::string_view::npos ? names.size() : comma + 1);
    if (name == "nsfs-handles") {
      features.nsfs_handles = false;
    } else if (name == "namespace-probe") {
      features.namespace_probe = false;
    } else if (name == "pidfd-messages") {
      features.peer_pidfd = false;
    } else if (name == "mount-privilege") {
      features.mount_privilege = false;
    } else if (name == "user-namespaces") {
      features.user_namespaces = features.enter_user_namespaces = false;
    } else if (name == "fusermount") {
      features.fusermount = false;
    } else {
      return Error{EINVAL, "unknown feature"};
    }
  }
  return {};
}

}  // namespace mqueuefs::daemon
