// Ours: the client library, and of the ioctls the two that it leaves to its users.
//
// Each call makes a connection of its own: the daemon refuses one that a fork or a change of user inherited,
// and the tests do both all the time. Only a registration of SIGEV_THREAD needs its connection for longer.
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <span>
#include <vector>

#include "client/connection.h"
#include "client/queue.h"
#include "client/transfer.h"
#include "control/queue_ioctl.h"
#include "support/queue_calls.h"
#include "support/run_command.h"

namespace mqueuefs::test {
namespace {

using client::Connection;

int fail(int code) {
  errno = code;
  return -1;
}

Result<Connection> connect() {
  char program[4096];
  const bool found = realpath(mqueuefs_program().c_str(), program) != nullptr;
  return Connection::connect(found ? client::StartDaemon::kIfNone : client::StartDaemon::kNever, program);
}

class MqueuefsQueueCalls : public QueueCalls {
 public:
  int open_queue(const char* name, int oflag, mode_t mode, const mq_attr* attributes) override {
    auto connection = connect();
    if (!connection) return fail(connection.code());
    client::Attributes wanted;
    if (attributes != nullptr) wanted = {attributes->mq_maxmsg, attributes->mq_msgsize};
    auto queue =
        client::open_queue(*connection, "", name, oflag, mode, attributes != nullptr ? &wanted : nullptr);
    return queue ? queue->release() : fail(queue.code());
  }

  int unlink_queue(const char* name) override {
    auto connection = connect();
    if (!connection) return fail(connection.code());
    const Status status = client::unlink_queue(*connection, "", name);
    return status ? 0 : fail(status.code());
  }

  int send(int fd, const char* data, size_t size, unsigned priority, const timespec* timeout) override {
    auto connection = connect();
    if (!connection) return fail(connection.code());
    const auto deadline = client::deadline_of(timeout);
    if (!deadline) return fail(deadline.code());
    const Status status =
        client::send(*connection, fd, std::as_bytes(std::span(data, size)), priority, *deadline);
    return status ? 0 : fail(status.code());
  }

  ssize_t receive(int fd, char* buffer, size_t size, unsigned* priority, const timespec* timeout) override {
    auto connection = connect();
    if (!connection) return fail(connection.code());
    const auto deadline = client::deadline_of(timeout);
    if (!deadline) return fail(deadline.code());
    const auto received =
        client::receive(*connection, fd, std::as_writable_bytes(std::span(buffer, size)), *deadline);
    if (!received) return fail(received.code());
    if (priority != nullptr) *priority = received->priority;
    return static_cast<ssize_t>(received->size);
  }

  int get_attributes(int fd, mq_attr* attributes) override {
    const auto status = client::get_status(fd);
    if (!status) return fail(status.code());
    *attributes = {};
    attributes->mq_flags = fcntl(fd, F_GETFL) & O_NONBLOCK;
    attributes->mq_maxmsg = status->maxmsg;
    attributes->mq_msgsize = status->msgsize;
    attributes->mq_curmsgs = status->curmsgs;
    return 0;
  }

  int set_attributes(int fd, const mq_attr* attributes, mq_attr* old_attributes) override {
    if (attributes != nullptr && (attributes->mq_flags & ~static_cast<long>(O_NONBLOCK)) != 0)
      return fail(EINVAL);
    mq_attr before{};
    if (get_attributes(fd, &before) != 0) return -1;
    if (old_attributes != nullptr) *old_attributes = before;
    if (attributes == nullptr) return 0;
    const int flags = fcntl(fd, F_GETFL) & ~O_NONBLOCK;
    if (fcntl(fd, F_SETFL, flags | static_cast<int>(attributes->mq_flags)) != 0) return -1;
    return ioctl(fd, control::queue_ioctl(control::QueueIoctl::kTouch, 0), nullptr);
  }

  int notify(int fd, const sigevent* event) override {
    control::NotifyHeader header{};
    if (event != nullptr) {
      header.register_it = 1;
      header.type = event->sigev_notify;
      header.signo = event->sigev_signo;
      static_assert(sizeof header.value == sizeof event->sigev_value);
      header.value = reinterpret_cast<uint64_t>(event->sigev_value.sival_ptr);
      if (event->sigev_notify == SIGEV_THREAD) {
        auto connection = connect();
        if (!connection) return fail(connection.code());
        header.channel = connection->channel();
        listening_.push_back(std::move(*connection));
      }
    }
    const int result = ioctl(fd, control::queue_ioctl(control::QueueIoctl::kNotify, sizeof header), &header);
    return result < 0 && errno == ENOTTY ? fail(EBADF) : result;
  }

 private:
  std::vector<Connection> listening_;
};

}  // namespace

std::unique_ptr<QueueCalls> make_mqueuefs_queue_calls() {
  return std::make_unique<MqueuefsQueueCalls>();
}

}  // namespace mqueuefs::test
