// libmqueuefs-preload.so: the C library's own names for what libmqueuefs does, for programs as they are.
//
// Loaded before the C library (LD_PRELOAD), so that a program's mq_open() is found here; what is exported has no
// version and so stands in for every version of the C library's. No logic: that is in client/.
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "client/mount_call.h"
#include "mqueuefs/mqueuefs.h"

#define MQUEUEFS_EXPORT __attribute__((visibility("default")))

// Declared nowhere: called by programs that were built with _FORTIFY_SOURCE.
extern "C" mqd_t __mq_open_2(const char* name, int oflag);

extern "C" {

MQUEUEFS_EXPORT mqd_t mq_open(const char* name, int oflag, ...) {
  if ((oflag & O_CREAT) == 0) return mqueuefs_open(name, oflag);
  va_list arguments;
  va_start(arguments, oflag);
  const mode_t mode = va_arg(arguments, mode_t);
  mq_attr* const attributes = va_arg(arguments, mq_attr*);
  va_end(arguments);
  return mqueuefs_open(name, oflag, mode, attributes);
}

MQUEUEFS_EXPORT mqd_t __mq_open_2(const char* name, int oflag) {
  if ((oflag & O_CREAT) != 0) {
    // The words of the C library.
    dprintf(STDERR_FILENO, "*** invalid mq_open call: O_CREAT without mode and attr ***: terminated\n");
    abort();
  }
  return mqueuefs_open(name, oflag);
}

MQUEUEFS_EXPORT int mq_close(mqd_t queue) { return mqueuefs_close(queue); }
MQUEUEFS_EXPORT int mq_unlink(const char* name) { return mqueuefs_unlink(name); }

MQUEUEFS_EXPORT int mq_send(mqd_t queue, const char* message, size_t size, unsigned priority) {
  return mqueuefs_send(queue, message, size, priority);
}
MQUEUEFS_EXPORT int mq_timedsend(mqd_t queue, const char* message, size_t size, unsigned priority,
                                 const struct timespec* deadline) {
  return mqueuefs_timedsend(queue, message, size, priority, deadline);
}
MQUEUEFS_EXPORT ssize_t mq_receive(mqd_t queue, char* buffer, size_t size, unsigned* priority) {
  return mqueuefs_receive(queue, buffer, size, priority);
}
MQUEUEFS_EXPORT ssize_t mq_timedreceive(mqd_t queue, char* buffer, size_t size, unsigned* priority,
                                        const struct timespec* deadline) {
  return mqueuefs_timedreceive(queue, buffer, size, priority, deadline);
}

MQUEUEFS_EXPORT int mq_getattr(mqd_t queue, struct mq_attr* attributes) {
  return mqueuefs_getattr(queue, attributes);
}
MQUEUEFS_EXPORT int mq_setattr(mqd_t queue, const struct mq_attr* attributes, struct mq_attr* old_attributes) {
  return mqueuefs_setattr(queue, attributes, old_attributes);
}
MQUEUEFS_EXPORT int mq_notify(mqd_t queue, const struct sigevent* event) { return mqueuefs_notify(queue, event); }

MQUEUEFS_EXPORT int mount(const char* source, const char* target, const char* type, unsigned long flags,
                          const void* data) noexcept {
  return mqueuefs::client::mount_call(source, target, type, flags, data);
}
MQUEUEFS_EXPORT int fsopen(const char* type, unsigned flags) noexcept {
  return mqueuefs::client::fsopen_call(type, flags);
}
MQUEUEFS_EXPORT int fsconfig(int context, unsigned command, const char* key, const void* value, int auxiliary) noexcept {
  return mqueuefs::client::fsconfig_call(context, command, key, value, auxiliary);
}
MQUEUEFS_EXPORT int fsmount(int context, unsigned flags, unsigned attributes) noexcept {
  return mqueuefs::client::fsmount_call(context, flags, attributes);
}
MQUEUEFS_EXPORT int umount(const char* target) noexcept { return mqueuefs::client::umount_call(target, 0); }
MQUEUEFS_EXPORT int umount2(const char* target, int flags) noexcept {
  return mqueuefs::client::umount_call(target, flags);
}

}  // extern "C"
