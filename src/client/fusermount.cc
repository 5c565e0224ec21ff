// fusermount3: the set-uid helper that mounts for an ordinary user. It passes /dev/fuse back over a socket whose
// number is in $_FUSE_COMMFD (libfuse's lib/mount.c; stable since 2004).
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/mount.h"

namespace mqueuefs::client {
namespace {

constexpr const char* kProgram = "fusermount3";

// The environment of a fresh process: nothing of the caller's is needed, and a set-uid helper is better without.
struct Environment {
  char search_path[40] = "PATH=/usr/local/bin:/usr/bin:/bin";
  char socket[40] = "";
  char* list[3] = {search_path, nullptr, nullptr};
};

Result<pid_t> spawn(char* const* argv, Environment& environment) {
  pid_t pid;
  const int failed = posix_spawnp(&pid, kProgram, nullptr, nullptr, argv, environment.list);
  if (failed != 0) return Error{failed, kProgram};
  return pid;
}

Status wait_for(pid_t pid) {
  int status = 0;
  while (waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) return last_error("waitpid");
  }
  return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? Status{} : Error{EPERM, kProgram};
}

Result<UniqueFd> receive_descriptor(int socket) {
  char byte;
  iovec part{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t received;
  do {
    received = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  } while (received < 0 && errno == EINTR);
  if (received < 0) return last_error("recvmsg");
  const cmsghdr* header = received > 0 ? CMSG_FIRSTHDR(&message) : nullptr;
  if (header == nullptr || header->cmsg_type != SCM_RIGHTS) return Error{EPERM, kProgram};
  int fd;
  memcpy(&fd, CMSG_DATA(header), sizeof fd);
  return UniqueFd(fd);
}

}  // namespace

Result<UniqueFd> fusermount(const char* dir, const char* options) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return last_error("socketpair");
  UniqueFd ours(ends[0]);
  UniqueFd helpers(ends[1]);
  fcntl(helpers.get(), F_SETFD, 0);
  Environment environment;
  snprintf(environment.socket, sizeof environment.socket, "_FUSE_COMMFD=%d", helpers.get());
  environment.list[1] = environment.socket;
  char* const argv[] = {const_cast<char*>(kProgram), const_cast<char*>("-o"), const_cast<char*>(options),
                        const_cast<char*>("--"), const_cast<char*>(dir), nullptr};
  const auto helper = spawn(argv, environment);
  if (!helper) return helper.error();
  helpers.reset();
  auto device = receive_descriptor(ours.get());
  const Status ended = wait_for(*helper);
  if (!ended) return ended.error();
  return device;
}

Status fusermount_unmount(const char* dir) {
  Environment environment;
  char* const argv[] = {const_cast<char*>(kProgram), const_cast<char*>("-u"), const_cast<char*>("-z"),
                        const_cast<char*>("--"), const_cast<char*>(dir), nullptr};
  const auto helper = spawn(argv, environment);
  if (!helper) return helper.error();
  return wait_for(*helper);
}

}  // namespace mqueuefs::client
