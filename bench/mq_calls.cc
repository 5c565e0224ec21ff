// See mq_calls.h.
#include "mq_calls.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <mqueue.h>

#include <cerrno>

#include "sandbox.h"

namespace mqueuefs::bench {
namespace {

struct PosixFunctions {
  mqd_t (*open)(const char*, int, ...);
  int (*close)(mqd_t);
  int (*unlink)(const char*);
  int (*send)(mqd_t, const char*, size_t, unsigned);
  ssize_t (*receive)(mqd_t, char*, size_t, unsigned*);
  int (*map)(mqd_t) = nullptr;
};

class PosixCalls final : public MessageCalls {
 public:
  PosixCalls(const std::string& who, const PosixFunctions& functions) : who_(who), functions_(functions) {}

  bool create(const std::string& name, long maxmsg, long msgsize) override {
    mq_attr attributes{};
    attributes.mq_maxmsg = maxmsg;
    attributes.mq_msgsize = msgsize;
    const mqd_t queue = functions_.open(path(name).c_str(), O_RDWR | O_CREAT | O_EXCL, 0600, &attributes);
    if (queue < 0 && (errno == EMFILE || errno == EINVAL || errno == ENOMEM)) return false;
    if (queue < 0) fail(who_ + ": creating " + name);
    functions_.close(queue);
    return true;
  }
  long open(const std::string& name) override {
    const mqd_t queue = functions_.open(path(name).c_str(), O_RDWR);
    if (queue < 0) fail(who_ + ": opening " + name);
    if (functions_.map != nullptr && functions_.map(queue) != 0) fail(who_ + ": mapping " + name);
    return queue;
  }
  void close(long queue) override { functions_.close(static_cast<mqd_t>(queue)); }
  void remove(const std::string& name) override { functions_.unlink(path(name).c_str()); }
  void send(long queue, const char* message, size_t size, unsigned priority) override {
    if (functions_.send(static_cast<mqd_t>(queue), message, size, priority) != 0) fail(who_ + ": send");
  }
  size_t receive(long queue, char* buffer, size_t size) override {
    const ssize_t received = functions_.receive(static_cast<mqd_t>(queue), buffer, size, nullptr);
    if (received < 0) fail(who_ + ": receive");
    return static_cast<size_t>(received);
  }

 private:
  static std::string path(const std::string& name) { return "/" + name; }

  const std::string who_;
  const PosixFunctions functions_;
};

template <typename Function>
Function* find(void* library, const char* symbol) {
  void* const found = dlsym(library, symbol);
  if (found == nullptr) fail(std::string("dlsym ") + symbol);
  return reinterpret_cast<Function*>(found);
}

}  // namespace

std::unique_ptr<MessageCalls> kernel_calls() {
  return std::make_unique<PosixCalls>("kernel", PosixFunctions{mq_open, mq_close, mq_unlink, mq_send, mq_receive, nullptr});
}

std::unique_ptr<MessageCalls> mqueuefs_calls(const std::string& library, Way way) {
  void* const loaded = dlopen(library.c_str(), RTLD_NOW);
  if (loaded == nullptr) fail("dlopen " + library);
  PosixFunctions functions{};
  functions.open = find<mqd_t(const char*, int, ...)>(loaded, "mqueuefs_open");
  functions.close = find<int(mqd_t)>(loaded, "mqueuefs_close");
  functions.unlink = find<int(const char*)>(loaded, "mqueuefs_unlink");
  functions.send = find<int(mqd_t, const char*, size_t, unsigned)>(loaded, "mqueuefs_send");
  functions.receive = find<ssize_t(mqd_t, char*, size_t, unsigned*)>(loaded, "mqueuefs_receive");
  if (way == Way::kMapped) functions.map = find<int(mqd_t)>(loaded, "mqueuefs_map");
  return std::make_unique<PosixCalls>("mqueuefs", functions);
}

}  // namespace mqueuefs::bench
