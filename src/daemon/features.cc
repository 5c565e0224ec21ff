#include "daemon/features.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/unique_fd.h"
#include "daemon/fuse_mount.h"
#include "daemon/kernel_namespaces.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

namespace mqueuefs::daemon {
namespace {

bool may_mount() {
  const UniqueFd device(open("/dev/fuse", O_RDWR | O_CLOEXEC));
  const UniqueFd context(fsopen("fuse", FSOPEN_CLOEXEC));
  return device && context;
}

bool may_mount_in_user_namespace() {
  const pid_t child = fork();
  if (child < 0) return false;
  if (child == 0) _exit(unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0 && may_mount() ? 0 : 1);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
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
  features.peer_pidfd = has_peer_pidfd();
  features.mount_privilege = may_mount();
  features.user_namespaces = may_mount_in_user_namespace();
  features.fusermount = !find_fusermount().empty();
  return features;
}

Status remove_features(Features& features, std::string_view names) {
  while (!names.empty()) {
    const size_t comma = names.find(',');
    const std::string_view name = names.substr(0, comma);
    names.remove_prefix(comma == std::string_view::npos ? names.size() : comma + 1);
    if (name == "nsfs-handles") {
      features.nsfs_handles = false;
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
