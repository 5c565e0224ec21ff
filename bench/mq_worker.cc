// See mq_worker.h.
#include "mq_worker.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace mqueuefs::bench {
namespace {

void write_all(int fd, const void* data, size_t size) {
  const char* at = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t written = write(fd, at, size);
    if (written <= 0) fail("write to a pipe");
    at += written;
    size -= static_cast<size_t>(written);
  }
}

// False: the other end is gone.
bool read_all(int fd, void* data, size_t size) {
  char* at = static_cast<char*>(data);
  while (size > 0) {
    const ssize_t got = read(fd, at, size);
    if (got <= 0) return false;
    at += got;
    size -= static_cast<size_t>(got);
  }
  return true;
}

// 'R', 'S', ...; proc_pid_stat(5).
char state_of(pid_t pid) {
  const std::string path = "/proc/" + std::to_string(pid) + "/stat";
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 'X';
  char text[256] = {};
  const ssize_t size = read(fd, text, sizeof text - 1);
  close(fd);
  const char* const name_end = size > 0 ? strrchr(text, ')') : nullptr;
  return name_end != nullptr ? name_end[2] : 'X';
}

}  // namespace

Worker::Descriptor::~Descriptor() {
  if (fd >= 0) close(fd);
}

Worker Worker::start(const std::function<BatchFunction()>& setup) {
  int ask[2];
  int answer[2];
  if (pipe2(ask, O_CLOEXEC) != 0 || pipe2(answer, O_CLOEXEC) != 0) fail("pipe");
  Child child = Child::start([&] {
    close(ask[1]);
    close(answer[0]);
    const BatchFunction batch = setup();
    const char able = batch ? 1 : 0;
    write_all(answer[1], &able, 1);
    char asked;
    while (batch && read_all(ask[0], &asked, 1)) {
      const Batch done = batch();
      const auto count = static_cast<int64_t>(done.each_ns.size());
      write_all(answer[1], &done.total_ns, sizeof done.total_ns);
      write_all(answer[1], &done.operations, sizeof done.operations);
      write_all(answer[1], &count, sizeof count);
      write_all(answer[1], done.each_ns.data(), done.each_ns.size() * sizeof(uint32_t));
    }
    return 0;
  });
  close(ask[0]);
  close(answer[1]);
  Worker worker(std::move(child), ask[1], answer[0]);
  char able = 0;
  if (!read_all(answer[0], &able, 1)) fail("a contender ended");
  worker.able_ = able != 0;
  return worker;
}

Batch Worker::run() {
  Batch batch;
  int64_t count = 0;
  write_all(ask_.fd, "g", 1);
  if (!read_all(answer_.fd, &batch.total_ns, sizeof batch.total_ns) ||
      !read_all(answer_.fd, &batch.operations, sizeof batch.operations) ||
      !read_all(answer_.fd, &count, sizeof count)) {
    errno = EPIPE;
    fail("a contender ended");
  }
  batch.each_ns.resize(static_cast<size_t>(count));
  if (!read_all(answer_.fd, batch.each_ns.data(), batch.each_ns.size() * sizeof(uint32_t))) fail("a contender ended");
  return batch;
}

Peers::Peers() {
  if (pipe2(go_, O_CLOEXEC) != 0 || pipe2(done_, O_CLOEXEC) != 0) fail("pipe");
}

void Peers::start(int count, const std::function<std::function<void()>()>& setup) {
  for (int index = 0; index < count; ++index) {
    children_.push_back(Child::start([&] {
      const std::function<void()> part = setup();
      char token;
      while (read_all(go_[0], &token, 1)) {
        part();
        write_all(done_[1], "d", 1);
      }
      return 0;
    }));
  }
}

void Peers::go() {
  const std::string tokens(children_.size(), 'g');
  write_all(go_[1], tokens.data(), tokens.size());
}

void Peers::wait() {
  std::string tokens(children_.size(), ' ');
  if (!read_all(done_[0], tokens.data(), tokens.size())) fail("a peer ended");
}

void Peers::wait_until_asleep() {
  for (const Child& child : children_) {
    // Twice, and a while after: a process may sleep for a moment on its way.
    for (int asleep = 0; asleep < 2;) {
      usleep(50);
      const char state = state_of(child.pid());
      asleep = state != 'R' ? asleep + 1 : 0;
    }
  }
  usleep(200);
}

}  // namespace mqueuefs::bench
