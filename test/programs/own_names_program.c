/* A program that has functions of its own under names that the C library gives to system calls, as a C program may,
 * and uses message queues. Whoever calls one of them in the belief that it is the C library's is named on stderr, and
 * the program fails. Exit code 0 otherwise. Passes on the kernel's message queues. */
#include <errno.h>
#include <limits.h>
#include <mqueue.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static void fail(const char *what) {
  syscall(SYS_write, 2, what, strlen(what));
  syscall(SYS_write, 2, "\n", 1);
  _exit(1);
}
#define STRING(x) #x
#define LINE(x) STRING(x)
#define EXPECT(condition) \
  do { \
    if (!(condition)) fail("line " LINE(__LINE__) ": expected " #condition); \
  } while (0)

#define THEIRS(name) \
  void theirs_##name(void) __asm__(#name); \
  void theirs_##name(void) { fail(#name "() is the program's own"); }

THEIRS(shutdown) THEIRS(connect) THEIRS(socket) THEIRS(socketpair) THEIRS(getsockopt) THEIRS(setsockopt)
THEIRS(send) THEIRS(recv) THEIRS(sendto) THEIRS(recvfrom) THEIRS(sendmsg) THEIRS(recvmsg) THEIRS(bind) THEIRS(listen)
THEIRS(poll) THEIRS(ppoll) THEIRS(select) THEIRS(pipe) THEIRS(pipe2) THEIRS(eventfd) THEIRS(signalfd)
THEIRS(close) THEIRS(open) THEIRS(open64) THEIRS(openat) THEIRS(openat64) THEIRS(read) THEIRS(write) THEIRS(fcntl)
THEIRS(fcntl64) THEIRS(ioctl) THEIRS(dup) THEIRS(dup2) THEIRS(dup3) THEIRS(lseek) THEIRS(pread) THEIRS(pwrite)
THEIRS(stat) THEIRS(stat64) THEIRS(fstat) THEIRS(fstat64) THEIRS(lstat) THEIRS(fstatat) THEIRS(fstatat64) THEIRS(statx)
THEIRS(statfs) THEIRS(statfs64) THEIRS(fstatfs) THEIRS(fstatfs64) THEIRS(access) THEIRS(readlink) THEIRS(unlink)
THEIRS(unlinkat) THEIRS(mkdir) THEIRS(rmdir) THEIRS(chdir) THEIRS(mmap) THEIRS(mmap64) THEIRS(munmap) THEIRS(madvise)
THEIRS(getpid) THEIRS(gettid) THEIRS(getuid) THEIRS(geteuid) THEIRS(getegid) THEIRS(setsid) THEIRS(kill) THEIRS(fork)
THEIRS(vfork) THEIRS(wait) THEIRS(waitpid) THEIRS(execve) THEIRS(clock_gettime) THEIRS(nanosleep) THEIRS(usleep)
THEIRS(sigprocmask) THEIRS(sigaction) THEIRS(sigpending) THEIRS(sigemptyset) THEIRS(sigfillset) THEIRS(sigaddset)
THEIRS(sigismember) THEIRS(getpagesize) THEIRS(strnlen) THEIRS(strdup) THEIRS(dprintf) THEIRS(index) THEIRS(error)
THEIRS(bzero) THEIRS(basename)

static mqd_t queue;
static char buffer[8192];
static volatile int called;

static void on_message(union sigval value) { called = value.sival_int; }

static void *send_later(void *unused) {
  struct timespec moment = {0, 200000000};
  syscall(SYS_nanosleep, &moment, NULL);
  EXPECT(mq_send(queue, "later", 5, 0) == 0);
  return unused;
}

static void *receive_for_ever(void *unused) {
  mq_receive(queue, buffer, sizeof buffer, NULL);
  return unused;
}

int main(void) {
  struct mq_attr attributes = {.mq_maxmsg = 1, .mq_msgsize = 8192}, got;
  struct timespec past = {1, 0}, moment = {0, 200000000};
  struct sigevent event = {.sigev_notify = SIGEV_THREAD, .sigev_notify_function = on_message, .sigev_value.sival_int = 7};
  pthread_t thread;
  EXPECT(mq_open("/own-names", O_RDWR) == -1 && errno == ENOENT);
  queue = mq_open("/own-names", O_RDWR | O_CREAT | O_EXCL, 0600, &attributes);
  EXPECT(queue >= 0);
  EXPECT(mq_getattr(queue, &got) == 0 && got.mq_msgsize == 8192);
  EXPECT(mq_timedreceive(queue, buffer, sizeof buffer, NULL, &past) == -1 && errno == ETIMEDOUT);
  EXPECT(pthread_create(&thread, NULL, send_later, NULL) == 0);
  EXPECT(mq_receive(queue, buffer, sizeof buffer, NULL) == 5);
  EXPECT(pthread_join(thread, NULL) == 0);
  EXPECT(mq_notify(queue, &event) == 0);
  EXPECT(mq_send(queue, buffer, sizeof buffer, 3) == 0);
  for (int i = 0; i < 100 && called != 7; i++) syscall(SYS_nanosleep, &moment, NULL);
  EXPECT(called == 7);
  EXPECT(mq_timedsend(queue, "x", 1, 0, &past) == -1 && errno == ETIMEDOUT);
  EXPECT(mq_receive(queue, buffer, sizeof buffer, NULL) == sizeof buffer);
  EXPECT(pthread_create(&thread, NULL, receive_for_ever, NULL) == 0);
  syscall(SYS_nanosleep, &moment, NULL);
  EXPECT(pthread_cancel(thread) == 0 && pthread_join(thread, NULL) == 0);
  got.mq_flags = O_NONBLOCK;
  EXPECT(mq_setattr(queue, &got, NULL) == 0);
  EXPECT(mq_receive(queue, buffer, sizeof buffer, NULL) == -1 && errno == EAGAIN);
  EXPECT(mq_send(0, "x", 1, 0) == -1 && errno == EBADF);
  const long child = syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
  if (child == 0) {
    EXPECT(mq_send(queue, "child", 5, 0) == 0);
    EXPECT(mq_open("/own-names", O_RDONLY) >= 0);
    _exit(0);
  }
  int status = 1;
  EXPECT(syscall(SYS_wait4, child, &status, 0, NULL) == child && status == 0);
  EXPECT(mq_receive(queue, buffer, sizeof buffer, NULL) == 5);
  EXPECT(mq_unlink("/own-names") == 0);
  EXPECT(mq_close(queue) == 0);
  return 0;
}
