// The oracle: the kernel's system calls, without libc between.
#include <sys/syscall.h>
#include <unistd.h>

#include "support/queue_calls.h"

namespace mqueuefs::test {
namespace {

class KernelQueueCalls : public QueueCalls {
 public:
  int open_queue(const char* name, int oflag, mode_t mode, const mq_attr* attributes) override {
    return static_cast<int>(syscall(SYS_mq_open, name, oflag, mode, attributes));
  }
  int unlink_queue(const char* name) override { return static_cast<int>(syscall(SYS_mq_unlink, name)); }
  int send(int fd, const char* data, size_t size, unsigned priority, const timespec* deadline) override {
    return mq_timedsend(fd, data, size, priority, deadline);
  }
  ssize_t receive(int fd, char* buffer, size_t size, unsigned* priority, const timespec* deadline) override {
    return mq_timedreceive(fd, buffer, size, priority, deadline);
  }
  int get_attributes(int fd, mq_attr* attributes) override { return mq_getattr(fd, attributes); }
  int set_attributes(int fd, const mq_attr* attributes, mq_attr* old_attributes) override {
    return mq_setattr(fd, attributes, old_attributes);
  }
  int notify(int fd, const sigevent* event) override { return mq_notify(fd, event); }
};

}  // namespace

std::unique_ptr<QueueCalls> make_kernel_queue_calls() {
  return std::make_unique<KernelQueueCalls>();
}

}  // namespace mqueuefs::test
