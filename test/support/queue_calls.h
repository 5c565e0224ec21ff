// The mq_* calls of the target: the kernel's own, or those of the client library. Same values, same errno.
//
// Names have no slash in front: this is the layer of the system calls, below what libc makes of a name
// (doc/behaviour.md C1, C8). All act in the calling thread's IPC namespace.
#pragma once

#include <mqueue.h>
#include <signal.h>
#include <time.h>

#include <memory>
#include <string>
#include <string_view>

namespace mqueuefs::test {

class QueueCalls {
 public:
  virtual ~QueueCalls() = default;
  virtual int open_queue(const char* name, int oflag, mode_t mode, const mq_attr* attributes) = 0;
  virtual int unlink_queue(const char* name) = 0;
  virtual int send(int fd, const char* data, size_t size, unsigned priority, const timespec* deadline) = 0;
  virtual ssize_t receive(int fd, char* buffer, size_t size, unsigned* priority,
                          const timespec* deadline) = 0;
  virtual int get_attributes(int fd, mq_attr* attributes) = 0;
  virtual int set_attributes(int fd, const mq_attr* attributes, mq_attr* old_attributes) = 0;
  virtual int notify(int fd, const sigevent* event) = 0;
};

std::unique_ptr<QueueCalls> make_kernel_queue_calls();
std::unique_ptr<QueueCalls> make_mqueuefs_queue_calls();

// Short forms on the current target.

/// mq_open: a descriptor, or -1 and errno. Without `attributes` a new queue has the defaults.
int open_queue(const std::string& name, int oflag, mode_t mode = 0600, const mq_attr* attributes = nullptr);
/// The same with the two attributes that count.
int create_queue(const std::string& name, long maxmsg, long msgsize, int oflag = O_RDWR | O_CREAT | O_EXCL,
                 mode_t mode = 0600);
/// mq_unlink, the raw call.
int unlink_queue(const std::string& name);
/// mq_send, or with `deadline` mq_timedsend.
int send(int fd, std::string_view message, unsigned priority = 0, const timespec* deadline = nullptr);
/// mq_receive, or with `deadline` mq_timedreceive.
ssize_t receive(int fd, char* buffer, size_t size, unsigned* priority = nullptr,
                const timespec* deadline = nullptr);
/// Receives whatever comes, into a buffer of the queue's msgsize. A failure is shown as "<EAGAIN>".
std::string receive_text(int fd);
int get_attributes(int fd, mq_attr* attributes);
int set_attributes(int fd, const mq_attr* attributes, mq_attr* old_attributes = nullptr);
/// mq_notify.
int notify(int fd, const sigevent* event);

}  // namespace mqueuefs::test
