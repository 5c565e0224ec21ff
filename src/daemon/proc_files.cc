#include "daemon/proc_files.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <string_view>

#include "daemon/proc_text.h"

#ifndef PIDFD_THREAD
#define PIDFD_THREAD O_EXCL
#endif

namespace mqueuefs::daemon {
namespace {

constexpr size_t kMostBytes = 1 << 20;  // the Groups line of a status can be long

struct ProcPath {
  ProcPath(pid_t task, const char* file) { snprintf(text, sizeof text, "/proc/%d/%s", task, file); }
  char text[64];
};

// include/uapi/linux/pidfd.h, Linux 6.11: PIDFD_GET_IPC_NAMESPACE and its like. 0: not one of those asked for here.
unsigned long namespace_request(std::string_view kind) {
  constexpr int kPidfsMagic = 0xFF;
  if (kind == "ipc") return _IO(kPidfsMagic, 2);
  if (kind == "pid") return _IO(kPidfsMagic, 5);
  if (kind == "user") return _IO(kPidfsMagic, 9);
  return 0;
}

Result<UniqueFd> open_namespace_by_pidfd(pid_t task, unsigned long request) {
  const UniqueFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, task, PIDFD_THREAD)));
  if (!pidfd) return last_error("pidfd_open");
  UniqueFd fd(ioctl(pidfd.get(), request, 0));
  if (!fd) return last_error("PIDFD_GET_NAMESPACE");
  return fd;
}

// Asked of this process itself, which there is: so that an error means the kernel, not the task.
bool pidfds_tell_namespaces() {
  static const bool tell = open_namespace_by_pidfd(getpid(), namespace_request("user")).ok();
  return tell;
}

}  // namespace

Result<UniqueFd> open_proc(pid_t task, const char* file) {
  UniqueFd fd(open(ProcPath(task, file).text, O_RDONLY | O_CLOEXEC));
  if (!fd) return last_error("open /proc/PID");
  return fd;
}

Result<std::string> read_proc(pid_t task, const char* file) {
  const auto fd = open_proc(task, file);
  if (!fd) return fd.error();
  std::string text(4096, '\0');
  size_t length = 0;
  while (length < kMostBytes) {
    if (length == text.size()) text.resize(2 * text.size());
    const ssize_t got = read(fd->get(), text.data() + length, text.size() - length);
    if (got < 0) return last_error("read /proc/PID");
    if (got == 0) break;
    length += static_cast<size_t>(got);
  }
  text.resize(length);
  return text;
}

Result<UniqueFd> open_namespace_of(pid_t task, const char* kind) {
  const unsigned long request = namespace_request(kind);
  if (request != 0 && pidfds_tell_namespaces()) return open_namespace_by_pidfd(task, request);
  char file[24];
  snprintf(file, sizeof file, "ns/%s", kind);
  return open_proc(task, file);
}

Result<uint64_t> namespace_inode_of(pid_t task, const char* kind) {
  if (pidfds_tell_namespaces()) {
    const auto fd = open_namespace_of(task, kind);
    if (!fd) return fd.error();
    return inode_of(fd->get());
  }
  char file[24];
  snprintf(file, sizeof file, "ns/%s", kind);
  char link[64];
  const ssize_t length = readlink(ProcPath(task, file).text, link, sizeof link);
  if (length < 0) return last_error("readlink /proc/PID/ns");
  const auto inode = namespace_inode(std::string_view(link, static_cast<size_t>(length)));
  if (!inode) return Error{EIO, "readlink /proc/PID/ns"};
  return *inode;
}

Result<uint64_t> inode_of(int fd) {
  struct stat status {};
  if (fstat(fd, &status) < 0) return last_error("fstat");
  return status.st_ino;
}

}  // namespace mqueuefs::daemon
