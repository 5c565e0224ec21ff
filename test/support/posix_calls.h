// The ten calls of <mqueue.h> on the target, names with their slash: the layer that programs see.
//
//   target      what is called                           name rules of
//   kernel      libc's mq_*                              libc
//   preload     libc's mq_*; the binary was started      libmqueuefs-preload.so
//               by `mqueuefs run`, which interposes them
//   library     mqueuefs_* of libmqueuefs, loaded        libmqueuefs
//               from $MQUEUEFS_LIBRARY or the usual places
//   seccomp     libc's mq_*, linked statically; the      libc
//               binary was started by `mqueuefs run
//               --via seccomp`, which answers the
//               system calls that they make
//   mqueuefs    QueueCalls below libc's layer            this file
//
// The layer below, without a slash, is support/queue_calls.h; its short forms (`create_queue`, `send`,
// `receive_text`) serve tests that care for neither names nor which of two similar calls it is.
#pragma once

#include <mqueue.h>
#include <signal.h>
#include <time.h>

#include <memory>
#include <string>

#include "support/queue_calls.h"

namespace mqueuefs::test {

/// Pointers, so that null arguments may be passed without the compiler's knowing better.
struct PosixCalls {
  mqd_t (*open)(const char* name, int oflag, mode_t mode, const mq_attr* attributes);
  int (*close)(mqd_t);
  int (*unlink)(const char* name);
  int (*send)(mqd_t, const char* data, size_t size, unsigned priority);
  int (*timedsend)(mqd_t, const char* data, size_t size, unsigned priority, const timespec* deadline);
  ssize_t (*receive)(mqd_t, char* buffer, size_t size, unsigned* priority);
  ssize_t (*timedreceive)(mqd_t, char* buffer, size_t size, unsigned* priority, const timespec* deadline);
  int (*getattr)(mqd_t, mq_attr*);
  int (*setattr)(mqd_t, const mq_attr*, mq_attr* old_attributes);
  int (*notify)(mqd_t, const sigevent*);
};

/// Of the current target.
const PosixCalls& mq();

/// Why mq() can't be used on this target here; empty if it can.
std::string missing_posix_calls();

/// Whether this process carries a seccomp filter.
bool system_calls_are_caught();

/// libc's symbols, whoever has interposed them.
const PosixCalls& libc_calls();

/// QueueCalls over such a table: puts the slash in front.
std::unique_ptr<QueueCalls> make_posix_queue_calls(const PosixCalls& (*table)());

/// libmqueuefs, if it can be loaded; `missing_posix_calls` tells.
const PosixCalls& library_calls();

/// Now and `ms` later (or earlier) on CLOCK_REALTIME.
timespec deadline_in_ms(int64_t ms);

/// A sigevent of type `notify`, all else zero.
sigevent event_of(int notify, int signo = 0, void* value = nullptr);

}  // namespace mqueuefs::test
