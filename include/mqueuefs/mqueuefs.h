/* POSIX message queues, and the ids of System V IPC, in user space: the C interface of libmqueuefs.
 *
 * The first ten functions are those of <mqueue.h> under other names, for queues of mqueuefs; the rest is what POSIX
 * lacks. Queues are named "/name". A descriptor is an ordinary file descriptor of the queue's file: poll(2), fork(2),
 * dup(2), close(2), fcntl(2), SCM_RIGHTS work on it, and every function here takes one that came from open(2) on a
 * mounted mqueuefs. Given a descriptor of the kernel's own message queues the first ten act as <mqueue.h>'s.
 *
 * Failure is -1 (or NULL) and errno. Beyond what is listed with a function, all may fail with
 *   EFAULT    a pointer leads nowhere (no crash); of a receive: the message is still in the queue
 *   ENOSYS    a daemon is needed, none answers and none can be started
 *   ENOTCONN  the daemon that had this queue is gone
 * Times are absolute CLOCK_REALTIME, as those of mq_timedsend(3); null is for ever.
 *
 * Thread-safe. fork-safe. Functions marked (signal) may be called in a signal handler, if the daemon runs. Those
 * marked (cancel) are cancellation points.
 */
#ifndef MQUEUEFS_MQUEUEFS_H_
#define MQUEUEFS_MQUEUEFS_H_

#include <mqueue.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* --- the calls of <mqueue.h> --- */

/* mq_open(3). With O_CREAT follow: mode_t mode, struct mq_attr *attr (may be null). Always close-on-exec.
 * Errors: EACCES EEXIST EINVAL EMFILE ENAMETOOLONG ENOENT ENOMEM ENOSPC EROFS. (signal) */
mqd_t mqueuefs_open(const char *name, int oflag, ...);

/* mq_close(3): close(2). Errors: EBADF. (signal) */
int mqueuefs_close(mqd_t queue);

/* Has this process send and receive in shared memory through this descriptor: without a system call while nobody waits.
 * A descriptor that is open for one direction only is mapped if the caller may open the queue for both. From now on close it with mqueuefs_close() only: the number must not become
 * another file's otherwise. (Under the preload library this is done by itself, and close(2) and its kin are seen.)
 * Errors: EBADF: not a queue, or open for neither direction; ENOTSUP: not possible here: everything goes on through the
 * daemon. */
int mqueuefs_map(mqd_t queue);

/* mq_unlink(3). Errors: EACCES EINVAL ENAMETOOLONG ENOENT EROFS. (signal) */
int mqueuefs_unlink(const char *name);

/* mq_send(3), mq_timedsend(3). Block while the queue is full, unless O_NONBLOCK is set.
 * Errors: EAGAIN EBADF EINTR EINVAL EMSGSIZE ETIMEDOUT. (signal) (cancel) */
int mqueuefs_send(mqd_t queue, const char *message, size_t size, unsigned priority);
int mqueuefs_timedsend(mqd_t queue, const char *message, size_t size, unsigned priority,
                       const struct timespec *deadline);

/* mq_receive(3), mq_timedreceive(3): the message's length. `size`, the buffer's, is at least the queue's mq_msgsize.
 * `priority` may be null. Block while the queue is empty, unless O_NONBLOCK is set.
 * Errors: EAGAIN EBADF EINTR EINVAL EMSGSIZE ETIMEDOUT. (signal) (cancel) */
ssize_t mqueuefs_receive(mqd_t queue, char *buffer, size_t size, unsigned *priority);
ssize_t mqueuefs_timedreceive(mqd_t queue, char *buffer, size_t size, unsigned *priority,
                              const struct timespec *deadline);

/* mq_getattr(3), mq_setattr(3): only O_NONBLOCK in mq_flags can be changed. Never block.
 * Errors: EBADF; setattr: EINVAL. (signal) */
int mqueuefs_getattr(mqd_t queue, struct mq_attr *attributes);
int mqueuefs_setattr(mqd_t queue, const struct mq_attr *attributes, struct mq_attr *old_attributes);

/* mq_notify(3). The function of SIGEV_THREAD runs in a thread of its own, with no signal blocked.
 * Errors: EBADF EBUSY EINVAL ENOMEM. */
int mqueuefs_notify(mqd_t queue, const struct sigevent *event);

/* --- named namespaces --- */

/* As mqueuefs_open and mqueuefs_unlink, in the namespace called `namespace_name` (see mqueuefs-ns(1)); "" is the
 * caller's own. `attributes` may be null. Errors: also ENOENT: no such namespace; EPERM: not the caller's. */
mqd_t mqueuefs_open_in(const char *namespace_name, const char *name, int oflag, mode_t mode,
                       const struct mq_attr *attributes);
int mqueuefs_unlink_in(const char *namespace_name, const char *name);

/* --- looking without taking --- */

/* A walk over the messages in the order in which they would be received. Nothing is taken, nobody is woken, no time
 * of the file changes. What comes and goes meanwhile may be seen or not, but no message is seen twice or in part. */
struct mqueuefs_peek;

/* Begins a walk; end it with mqueuefs_peek_end. The descriptor must stay open. Errors: EBADF ENOMEM. */
struct mqueuefs_peek *mqueuefs_peek_begin(mqd_t queue);

/* The next message's length; the message is in `buffer`, which has the queue's mq_msgsize. Never blocks.
 * Errors: ENOMSG: that was all; EBADF: not open for reading; EMSGSIZE: `size` is too small. */
ssize_t mqueuefs_peek_next(struct mqueuefs_peek *walk, char *buffer, size_t size, unsigned *priority);

/* Null is allowed. */
void mqueuefs_peek_end(struct mqueuefs_peek *walk);

/* --- several messages in one call --- */

struct mqueuefs_message {
  void *data;        /* the message, or where it goes */
  size_t size;       /* bytes at `data`; the receive functions: at least the queue's mq_msgsize */
  size_t length;     /* out, receive: the message's length */
  unsigned priority; /* send: in; receive: out */
};

/* Sends the messages in their order, each as mqueuefs_timedsend would, and returns how many went: at least one, or -1.
 * Blocks for the first only (unless O_NONBLOCK is set): what the queue has no room for after that is left.
 * Short messages travel to the daemon together. `count` 0 returns 0. Errors: the first message's. (cancel) */
ssize_t mqueuefs_send_many(mqd_t queue, const struct mqueuefs_message *messages, size_t count,
                           const struct timespec *deadline);

/* Receives at most `count` messages, as many as there are, and returns how many: at least one, or -1. Blocks for the
 * first only. Errors: as mqueuefs_timedreceive. (cancel) */
ssize_t mqueuefs_receive_many(mqd_t queue, struct mqueuefs_message *messages, size_t count,
                              const struct timespec *deadline);

/* --- waiting for several queues --- */

enum {
  MQUEUEFS_READABLE = 1, /* there is a message */
  MQUEUEFS_WRITABLE = 2, /* there is room for one */
  MQUEUEFS_BROKEN = 4    /* out only: not an open descriptor, or its daemon is gone */
};

struct mqueuefs_waiting {
  mqd_t queue; /* -1: skip this one */
  int wanted;  /* MQUEUEFS_READABLE | MQUEUEFS_WRITABLE */
  int ready;   /* out: which of them, or MQUEUEFS_BROKEN */
};

/* Sleeps until one of the queues is ready, and returns how many are; 0: the deadline has passed. Ready means that a
 * call would not have blocked then; somebody else may have been faster since, so set O_NONBLOCK.
 * Errors: EINTR: a signal (whatever SA_RESTART says, as poll(2)); EINVAL; ENOMEM. (cancel) */
int mqueuefs_wait(struct mqueuefs_waiting *queues, size_t count, const struct timespec *deadline);

/* --- ids of System V IPC --- */

/* In the namespace called `namespace_name` ("" or null: the caller's own) the message queue, semaphore array or shared
 * memory segment `id` is `new_id` from now on. Nothing else of it changes: key, permissions, contents, and who waits in
 * it or has it attached. An id is sequence * 32768 + index; the index of `new_id` must be nobody else's.
 * Errors: EINVAL: no such object, or `new_id` is negative; EBUSY: the index is another's; EPERM: neither the namespace's
 * owner nor with CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE over it; ENOENT: no such namespace. (signal) */
int mqueuefs_msg_chid(const char *namespace_name, int id, int new_id);
int mqueuefs_sem_chid(const char *namespace_name, int id, int new_id);
int mqueuefs_shm_chid(const char *namespace_name, int id, int new_id);

enum { MQUEUEFS_MSG = 0, MQUEUEFS_SEM = 1, MQUEUEFS_SHM = 2 };

struct mqueuefs_id_pair {
  int id;
  int new_id;
};

/* The same for `count` objects of one kind (MQUEUEFS_MSG ...) in one step, in which each leaves its index before any
 * takes its new one: so one may become the other while the other becomes the one. All or nothing. Errors: as above for
 * any of the pairs; EINVAL: an id or an index occurs twice, a kind that there is not, `count` over 32768. (signal) */
int mqueuefs_ipc_permute(const char *namespace_name, int kind, const struct mqueuefs_id_pair *pairs, size_t count);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif /* MQUEUEFS_MQUEUEFS_H_ */
