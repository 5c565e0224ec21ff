#include "daemon/proc_files.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/proc_text.h"

namespace mqueuefs::daemon {
namespace {

constexpr size_t kMostBytes = 1 << 20;  // the Groups line of a status can be long

struct ProcPath {
  ProcPath(pid_t task, const char* file) { snprintf(text, sizeof text, "/proc/%d/%s", task, file); }
  char text[64];
};

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

Result<uint64_t> namespace_inode_of(pid_t task, const char* kind) {
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
