// boost::interprocess::message_queue, where its headers are there. See mq_calls.h.
#include "mq_calls.h"

#ifdef MQUEUEFS_HAVE_BOOST

#include <boost/interprocess/ipc/message_queue.hpp>
#include <cstdio>

namespace mqueuefs::bench {
namespace {

namespace ipc = boost::interprocess;

// Its errors are exceptions: nobody catches them, which ends the process with what they say.
class BoostCalls final : public MessageCalls {
 public:
  bool create(const std::string& name, long maxmsg, long msgsize) override {
    ipc::message_queue(ipc::create_only, name.c_str(), static_cast<size_t>(maxmsg), static_cast<size_t>(msgsize));
    return true;
  }
  long open(const std::string& name) override {
    return reinterpret_cast<long>(new ipc::message_queue(ipc::open_only, name.c_str()));
  }
  void close(long queue) override { delete of(queue); }
  void remove(const std::string& name) override { ipc::message_queue::remove(name.c_str()); }
  void send(long queue, const char* message, size_t size, unsigned priority) override {
    of(queue)->send(message, size, priority);
  }
  size_t receive(long queue, char* buffer, size_t size) override {
    size_t received = 0;
    unsigned priority = 0;
    of(queue)->receive(buffer, size, received, priority);
    return received;
  }

 private:
  static ipc::message_queue* of(long queue) { return reinterpret_cast<ipc::message_queue*>(queue); }
};

}  // namespace

std::unique_ptr<MessageCalls> boost_calls() { return std::make_unique<BoostCalls>(); }
bool have_boost() { return true; }

}  // namespace mqueuefs::bench

#else

namespace mqueuefs::bench {

std::unique_ptr<MessageCalls> boost_calls() { return nullptr; }
bool have_boost() { return false; }

}  // namespace mqueuefs::bench

#endif
