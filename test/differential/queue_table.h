// The ten calls an actor makes: libc's, whoever has interposed them, or libmqueuefs's.
#pragma once

#include <mqueue.h>
#include <signal.h>
#include <time.h>

#include "differential/actor.h"

namespace mqueuefs::differential {

struct QueueTable {
  mqd_t (*open)(const char*, int, ...);
  int (*close)(mqd_t);
  int (*unlink)(const char*);
  int (*send)(mqd_t, const char*, size_t, unsigned);
  int (*timedsend)(mqd_t, const char*, size_t, unsigned, const timespec*);
  ssize_t (*receive)(mqd_t, char*, size_t, unsigned*);
  ssize_t (*timedreceive)(mqd_t, char*, size_t, unsigned*, const timespec*);
  int (*getattr)(mqd_t, mq_attr*);
  int (*setattr)(mqd_t, const mq_attr*, mq_attr*);
  int (*notify)(mqd_t, const sigevent*);
};

/// Aborts, with a line on stderr, where the library can't be loaded ($MQUEUEFS_LIBRARY or libmqueuefs.so.0).
const QueueTable& queue_table(TargetKind target);

}  // namespace mqueuefs::differential
