#include "support/stalling_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/fuse.h>
#include <poll.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "support/expect.h"

namespace mqueuefs::test {
namespace {

void reply(int device, uint64_t unique, int error, const void* answer = nullptr, size_t size = 0) {
  fuse_out_header header{};
  header.len = static_cast<uint32_t>(sizeof header + size);
  header.error = -error;
  header.unique = unique;
  const iovec parts[] = {{&header, sizeof header}, {const_cast<void*>(answer), size}};
  static_cast<void>(writev(device, parts, 2));
}

fuse_attr attributes() {
  fuse_attr attr{};
  attr.ino = FUSE_ROOT_ID;
  attr.size = kStallingFileSize;
  attr.mode = S_IFREG | 0666;
  attr.nlink = 1;
  return attr;
}

[[noreturn]] void serve(int device, int readers, Stalls stalls) {
  std::vector<char> request(FUSE_MIN_READ_BUFFER + 128 * 1024);
  for (;;) {
    const ssize_t got = read(device, request.data(), request.size());
    if (got < 0 && (errno == EINTR || errno == ENOENT)) continue;
    if (got < static_cast<ssize_t>(sizeof(fuse_in_header))) _exit(0);
    fuse_in_header header;
    memcpy(&header, request.data(), sizeof header);
    if (header.opcode == (stalls == Stalls::kRead ? FUSE_READ : FUSE_FLUSH)) {
      static_cast<void>(write(readers, "", 1));
      continue;
    }
    switch (header.opcode) {
      case FUSE_INIT: {
        fuse_init_out answer{};
        answer.major = FUSE_KERNEL_VERSION;
        answer.minor = FUSE_KERNEL_MINOR_VERSION;
        answer.max_write = 4096;
        reply(device, header.unique, 0, &answer, sizeof answer);
        break;
      }
      case FUSE_GETATTR: {
        fuse_attr_out answer{};
        answer.attr_valid = 1000;
        answer.attr = attributes();
        reply(device, header.unique, 0, &answer, sizeof answer);
        break;
      }
      case FUSE_OPEN: {
        fuse_open_out answer{};
        answer.open_flags = FOPEN_KEEP_CACHE;  // else open(2) would wait for the page, too
        reply(device, header.unique, 0, &answer, sizeof answer);
        break;
      }
      case FUSE_FORGET:
      case FUSE_BATCH_FORGET:
      case FUSE_INTERRUPT:
        break;
      default:
        reply(device, header.unique, ENOSYS);
    }
  }
}

}  // namespace

StallingFile::StallingFile(const std::string& path, Stalls stalls) : path_(path) {
  EXPECT_OK(close(open(path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0666)));
  device_ = UniqueFd(open("/dev/fuse", O_RDWR | O_CLOEXEC));
  EXPECT_OK(device_.get());
  const std::string options =
      "fd=" + std::to_string(device_.get()) + ",rootmode=100666,user_id=0,group_id=0,allow_other";
  EXPECT_OK(mount("stalling", path.c_str(), "fuse", MS_NODEV | MS_NOSUID, options.c_str()));
  int ends[2];
  EXPECT_OK(pipe2(ends, O_CLOEXEC));
  readers_ = UniqueFd(ends[0]);
  const UniqueFd readers(ends[1]);
  server_ = fork();
  if (server_ == 0) serve(device_.get(), readers.get(), stalls);
  // Its only holder is the server: with that the connection ends.
  device_.reset();
  // Its size is known only to who has asked.
  struct stat status {};
  EXPECT_OK(stat(path.c_str(), &status));
  EXPECT_EQ(static_cast<off_t>(kStallingFileSize), status.st_size);
}

StallingFile::~StallingFile() {
  fail();
  umount2(path_.c_str(), MNT_DETACH);
  unlink(path_.c_str());
}

bool StallingFile::wait_for_a_reader() const {
  pollfd ready{readers_.get(), POLLIN, 0};
  char one;
  return poll(&ready, 1, 10'000) == 1 && read(readers_.get(), &one, 1) == 1;
}

void StallingFile::fail() {
  if (server_ <= 0) return;
  kill(server_, SIGKILL);
  waitpid(server_, nullptr, 0);
  server_ = -1;
}

}  // namespace mqueuefs::test
