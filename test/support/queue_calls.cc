#include "support/queue_calls.h"

#include <cerrno>
#include <vector>

#include "support/expect.h"
#include "support/target.h"

namespace mqueuefs::test {
namespace {

QueueCalls& calls() {
  return Target::current().queue_calls();
}

}  // namespace

int open_queue(const std::string& name, int oflag, mode_t mode, const mq_attr* attributes) {
  return calls().open_queue(name.c_str(), oflag, mode, attributes);
}

int create_queue(const std::string& name, long maxmsg, long msgsize, int oflag, mode_t mode) {
  mq_attr attributes{};
  attributes.mq_maxmsg = maxmsg;
  attributes.mq_msgsize = msgsize;
  return open_queue(name, oflag, mode, &attributes);
}

int unlink_queue(const std::string& name) {
  return calls().unlink_queue(name.c_str());
}

int send(int fd, std::string_view message, unsigned priority, const timespec* deadline) {
  return calls().send(fd, message.data(), message.size(), priority, deadline);
}

ssize_t receive(int fd, char* buffer, size_t size, unsigned* priority, const timespec* deadline) {
  return calls().receive(fd, buffer, size, priority, deadline);
}

std::string receive_text(int fd) {
  mq_attr attributes{};
  if (get_attributes(fd, &attributes) != 0) return std::string("<") + errno_name(errno) + ">";
  std::vector<char> buffer(static_cast<size_t>(attributes.mq_msgsize));
  const ssize_t n = receive(fd, buffer.data(), buffer.size());
  if (n < 0) return std::string("<") + errno_name(errno) + ">";
  return std::string(buffer.data(), static_cast<size_t>(n));
}

int get_attributes(int fd, mq_attr* attributes) {
  return calls().get_attributes(fd, attributes);
}

int set_attributes(int fd, const mq_attr* attributes, mq_attr* old_attributes) {
  return calls().set_attributes(fd, attributes, old_attributes);
}

int notify(int fd, const sigevent* event) {
  return calls().notify(fd, event);
}

}  // namespace mqueuefs::test
