#include "differential/queue_table.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

namespace mqueuefs::differential {
namespace {

template <typename Function>
void find(void* handle, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(handle, name));
  if (function != nullptr) return;
  fprintf(stderr, "libmqueuefs has no %s\n", name);
  abort();
}

QueueTable load_library() {
  const char* path = getenv("MQUEUEFS_LIBRARY");
  void* handle = dlopen(path != nullptr ? path : "libmqueuefs.so.0", RTLD_NOW);
  if (handle == nullptr) {
    fprintf(stderr, "%s\n", dlerror());
    abort();
  }
  QueueTable table{};
  find(handle, "mqueuefs_open", table.open);
  find(handle, "mqueuefs_close", table.close);
  find(handle, "mqueuefs_unlink", table.unlink);
  find(handle, "mqueuefs_send", table.send);
  find(handle, "mqueuefs_timedsend", table.timedsend);
  find(handle, "mqueuefs_receive", table.receive);
  find(handle, "mqueuefs_timedreceive", table.timedreceive);
  find(handle, "mqueuefs_getattr", table.getattr);
  find(handle, "mqueuefs_setattr", table.setattr);
  find(handle, "mqueuefs_notify", table.notify);
  return table;
}

// The mistake: priorities above 30000 are taken for 30000. It shows only once two such messages meet, or one
// is received with its priority.
int broken_send(mqd_t queue, const char* data, size_t size, unsigned priority) {
  return mq_send(queue, data, size, priority > 30000 && priority < 32768 ? 30000 : priority);
}

}  // namespace

const QueueTable& queue_table(TargetKind target) {
  static const QueueTable libc = {mq_open,    mq_close,        mq_unlink,  mq_send,    mq_timedsend,
                                  mq_receive, mq_timedreceive, mq_getattr, mq_setattr, mq_notify};
  if (target == TargetKind::kLibrary) {
    static const QueueTable library = load_library();
    return library;
  }
  if (target == TargetKind::kBroken) {
    static const QueueTable broken = [] {
      QueueTable table = libc;
      table.send = broken_send;
      return table;
    }();
    return broken;
  }
  return libc;
}

}  // namespace mqueuefs::differential
