/* A program as programs are: plain <mqueue.h>, no knowledge of mqueuefs. One scenario a run, chosen by argv[1]; it
 * passes on the kernel's message queues, and has to under the preload library. Exit code 0, or a line on stderr that
 * says what was expected. "list" prints the names of the scenarios. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <mqueue.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define EXPECT(condition)                                                                          \
  do {                                                                                             \
    if (!(condition)) {                                                                            \
      fprintf(stderr, "%s:%d: expected %s (errno %s)\n", __func__, __LINE__, #condition, strerrorname_np(errno)); \
      _exit(1);                                                                                    \
    }                                                                                              \
  } while (0)
#define EXPECT_ERRNO(code, call) EXPECT((errno = 0, (call) == -1 && errno == (code)))

static char buffer[8192];

static mqd_t open_queue(const char *name, long maxmsg, long msgsize, int flags) {
  struct mq_attr attributes = {.mq_maxmsg = maxmsg, .mq_msgsize = msgsize};
  mq_unlink(name);
  mqd_t queue = mq_open(name, O_CREAT | O_EXCL | O_RDWR | flags, 0600, &attributes);
  EXPECT(queue >= 0);
  return queue;
}

static void send_text(mqd_t queue, const char *text) { EXPECT(mq_send(queue, text, strlen(text), 0) == 0); }

static void expect_text(mqd_t queue, const char *text) {
  ssize_t size = mq_receive(queue, buffer, sizeof buffer, NULL);
  EXPECT(size == (ssize_t)strlen(text));
  EXPECT(memcmp(buffer, text, (size_t)size) == 0);
}

static struct timespec from_now_ms(long ms) {
  struct timespec time;
  clock_gettime(CLOCK_REALTIME, &time);
  time.tv_sec += ms / 1000;
  time.tv_nsec += ms % 1000 * 1000000;
  if (time.tv_nsec >= 1000000000) time.tv_sec++, time.tv_nsec -= 1000000000;
  return time;
}

static void expect_child_ok(pid_t child) {
  int status = 0;
  pid_t ended;
  do ended = waitpid(child, &status, 0);
  while (ended < 0 && errno == EINTR);
  EXPECT(ended == child);
  EXPECT(status == 0);
}

/* Until thread `tid` of process `pid` sleeps in its call. */
static void wait_until_asleep(pid_t pid, pid_t tid) {
  char path[64], text[512], state = 0;
  snprintf(path, sizeof path, "/proc/%d/task/%d/stat", pid, tid);
  for (int calm = 0; calm < 10;) {
    FILE *file = fopen(path, "r");
    EXPECT(file != NULL);
    EXPECT(fgets(text, sizeof text, file) != NULL);
    fclose(file);
    state = strrchr(text, ')')[2];
    calm = state == 'S' ? calm + 1 : 0;
    usleep(3000);
  }
}

/* --- names, attributes, order of checks --- */

static void names(void) {
  char longest[258];
  memset(longest, 'n', sizeof longest);
  longest[0] = '/';
  longest[256] = 0;
  EXPECT_ERRNO(EINVAL, mq_open("no-slash", O_RDWR));
  EXPECT_ERRNO(EINVAL, mq_open("", O_RDWR));
  EXPECT_ERRNO(ENOENT, mq_open("/", O_RDWR));
  EXPECT_ERRNO(EACCES, mq_open("//a", O_RDWR));
  EXPECT_ERRNO(EACCES, mq_open("/a/b", O_RDWR | O_CREAT, 0600, NULL));
  EXPECT_ERRNO(EACCES, mq_open("/.", O_RDWR | O_CREAT, 0600, NULL));
  EXPECT_ERRNO(EACCES, mq_open("/..", O_RDWR | O_CREAT, 0600, NULL));
  EXPECT_ERRNO(ENOENT, mq_open("/missing", O_RDWR));
  EXPECT_ERRNO(ENOENT, mq_open("/missing", O_RDWR | O_EXCL));
  EXPECT_ERRNO(ENOENT, mq_unlink("/missing"));
  EXPECT_ERRNO(EINVAL, mq_unlink("missing"));
  const char *odd[] = {longest, "/.dot", "/...", "/ \n\x01\xff", "/-n"};
  for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
    mqd_t queue = open_queue(odd[i], 1, 10, 0);
    EXPECT(fcntl(queue, F_GETFD) == FD_CLOEXEC);
    EXPECT(mq_close(queue) == 0);
    EXPECT_ERRNO(EEXIST, mq_open(odd[i], O_CREAT | O_EXCL | 3, 0600, NULL));
    EXPECT_ERRNO(EINVAL, mq_open(odd[i], 3));
    EXPECT(mq_unlink(odd[i]) == 0);
  }
  longest[256] = 'n';
  longest[257] = 0;
  EXPECT_ERRNO(ENAMETOOLONG, mq_open(longest, O_RDWR | O_CREAT, 0600, NULL));
  EXPECT_ERRNO(ENAMETOOLONG, mq_unlink(longest));
  struct mq_attr bad = {.mq_maxmsg = 0, .mq_msgsize = 10};
  EXPECT_ERRNO(EINVAL, mq_open("/bad", O_RDWR | O_CREAT, 0600, &bad));
  int next = dup(0);
  close(next);
  EXPECT(open_queue("/lowest", 1, 1, 0) == next);
}

static void attributes(void) {
  struct mq_attr set = {.mq_flags = O_NONBLOCK}, got = {0};
  mqd_t queue = open_queue("/attributes", 3, 100, 0);
  send_text(queue, "one");
  EXPECT(mq_setattr(queue, &set, &got) == 0);
  EXPECT(got.mq_flags == 0 && got.mq_maxmsg == 3 && got.mq_msgsize == 100 && got.mq_curmsgs == 1);
  EXPECT(mq_getattr(queue, &got) == 0 && got.mq_flags == O_NONBLOCK);
  EXPECT(fcntl(queue, F_GETFL) & O_NONBLOCK);
  expect_text(queue, "one");
  EXPECT_ERRNO(EAGAIN, mq_receive(queue, buffer, sizeof buffer, NULL));
  set.mq_flags = O_APPEND;
  EXPECT_ERRNO(EINVAL, mq_setattr(queue, &set, NULL));
  EXPECT_ERRNO(EINVAL, mq_setattr(-1, &set, NULL));
  EXPECT_ERRNO(EBADF, mq_getattr(-1, &got));
  EXPECT_ERRNO(EBADF, mq_getattr(0, &got));
  EXPECT_ERRNO(EBADF, mq_close(-1));
}

static void checks(void) {
  struct timespec bad = {.tv_sec = -1}, worse = {.tv_nsec = 1000000000}, past = {.tv_sec = 1};
  mqd_t queue = open_queue("/checks", 1, 100, 0);
  mqd_t reader = mq_open("/checks", O_RDONLY), writer = mq_open("/checks", O_WRONLY);
  int plain = open("/proc/self/exe", O_RDONLY);
  EXPECT_ERRNO(EINVAL, mq_timedsend(-1, "x", 1, 0, &bad));
  EXPECT_ERRNO(EINVAL, mq_timedreceive(-1, buffer, sizeof buffer, NULL, &worse));
  EXPECT_ERRNO(EINVAL, mq_timedsend(queue, "x", 1, 0, &worse));
  EXPECT_ERRNO(EINVAL, mq_send(-1, "x", 1, 32768));
  EXPECT_ERRNO(EINVAL, mq_send(queue, "x", 1, 32768));
  EXPECT_ERRNO(EBADF, mq_send(-1, "x", 1, 0));
  EXPECT_ERRNO(EBADF, mq_send(plain, "x", 1, 0));
  EXPECT_ERRNO(EBADF, mq_send(reader, "x", 1, 0));
  EXPECT_ERRNO(EBADF, mq_send(reader, buffer, 101, 0));
  EXPECT_ERRNO(EBADF, mq_receive(writer, buffer, 1, NULL));
  EXPECT_ERRNO(EMSGSIZE, mq_send(queue, buffer, 101, 0));
  EXPECT_ERRNO(EMSGSIZE, mq_receive(queue, buffer, 99, NULL));
  EXPECT_ERRNO(ETIMEDOUT, mq_timedreceive(queue, buffer, 100, NULL, &past));
  EXPECT(mq_timedsend(queue, "", 0, 32767, &past) == 0);
  EXPECT_ERRNO(ETIMEDOUT, mq_timedsend(queue, "x", 1, 0, &past));
  unsigned priority = 0;
  EXPECT(mq_timedreceive(queue, buffer, 100, &priority, &past) == 0 && priority == 32767);
  struct timespec soon = from_now_ms(50);
  EXPECT_ERRNO(ETIMEDOUT, mq_timedreceive(queue, buffer, 100, NULL, &soon));
  errno = 77;
  send_text(queue, "keeps errno");
  EXPECT(errno == 77);
}

static void bad_pointers(void) {
  char *const nowhere = (char *)8;
  char *const read_only = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  mqd_t queue = open_queue("/bad-pointers", 2, 100, O_NONBLOCK);
  EXPECT_ERRNO(EFAULT, mq_open("/bad-pointers", O_RDWR | O_CREAT, 0600, nowhere));
  EXPECT_ERRNO(EFAULT, mq_send(queue, nowhere, 5, 0));
  EXPECT_ERRNO(EMSGSIZE, mq_send(queue, nowhere, 101, 0));
  EXPECT(mq_send(queue, nowhere, 0, 0) == 0);
  EXPECT(mq_receive(queue, buffer, 100, NULL) == 0);
  EXPECT_ERRNO(EAGAIN, mq_receive(queue, nowhere, 100, NULL));
  EXPECT_ERRNO(EMSGSIZE, mq_receive(queue, nowhere, 99, NULL));
  send_text(queue, "kept or lost");
  EXPECT_ERRNO(EFAULT, mq_receive(queue, nowhere, 100, NULL));
  mq_receive(queue, buffer, 100, NULL);
  send_text(queue, "kept or lost");
  EXPECT_ERRNO(EFAULT, mq_receive(queue, read_only, 100, NULL));
  mq_receive(queue, buffer, 100, NULL);
  send_text(queue, "kept or lost");
  EXPECT_ERRNO(EFAULT, mq_receive(queue, buffer, 100, (unsigned *)nowhere));
  mq_receive(queue, buffer, 100, NULL);
  EXPECT_ERRNO(EFAULT, mq_timedsend(queue, "x", 1, 0, (struct timespec *)nowhere));
  EXPECT_ERRNO(EFAULT, mq_getattr(queue, (struct mq_attr *)nowhere));
  EXPECT_ERRNO(EFAULT, mq_setattr(queue, (struct mq_attr *)nowhere, NULL));
}

/* Not so with the kernel, which loses the message here. A receiver that gets EFAULT leaves it in its place. */
static void bad_pointer_keeps_message(void) {
  mqd_t queue = open_queue("/keeps", 3, 100, O_NONBLOCK);
  EXPECT(mq_send(queue, "first", 5, 1) == 0 && mq_send(queue, "second", 6, 1) == 0);
  EXPECT_ERRNO(EFAULT, mq_receive(queue, (char *)8, 100, NULL));
  expect_text(queue, "first");
  expect_text(queue, "second");
  /* Here the C library would look itself. */
  EXPECT_ERRNO(EFAULT, mq_notify(queue, (struct sigevent *)8));
  EXPECT_ERRNO(EFAULT, mq_open((char *)8, O_RDWR));
  EXPECT_ERRNO(EFAULT, mq_unlink((char *)8));
}

static void large(void) {
  enum { kBig = 300000 }; /* two of them fit into the usual RLIMIT_MSGQUEUE */
  char *out = malloc(kBig), *in = malloc(kBig);
  mqd_t queue = open_queue("/large", 2, kBig, O_NONBLOCK);
  for (int size = 16000; size <= kBig; size = size * 2 > kBig && size != kBig ? kBig : size * 2 + 1) {
    if (size > kBig) break;
    for (int i = 0; i < size; i++) out[i] = (char)(i * 7 + size);
    EXPECT(mq_send(queue, out, (size_t)size, 5) == 0);
    EXPECT(mq_send(queue, "small", 5, 1) == 0);
    EXPECT_ERRNO(EAGAIN, mq_send(queue, out, (size_t)size, 5));
    EXPECT(mq_receive(queue, in, kBig, NULL) == size);
    EXPECT(memcmp(in, out, (size_t)size) == 0);
    EXPECT(mq_receive(queue, in, kBig, NULL) == 5);
  }
  EXPECT_ERRNO(EMSGSIZE, mq_send(queue, out, kBig + 1, 5));
  EXPECT_ERRNO(EFAULT, mq_send(queue, (char *)8, kBig, 5));
}

/* --- processes and descriptors --- */

static void fork_shares(void) {
  mqd_t queue = open_queue("/fork", 5, 100, 0);
  for (int round = 0; round < 3; round++) {
    pid_t child = fork();
    if (child == 0) {
      expect_text(queue, "to the child");
      mqd_t again = mq_open("/fork", O_WRONLY);
      EXPECT(again >= 0);
      send_text(again, "to the parent");
      _exit(0);
    }
    wait_until_asleep(child, child);
    send_text(queue, "to the child");
    expect_child_ok(child);
    expect_text(queue, "to the parent");
  }
}

/* A child that no fork handler has seen. */
static void raw_clone(void) {
  mqd_t queue = open_queue("/clone", 5, 100, 0);
  struct timespec soon = from_now_ms(20);
  EXPECT_ERRNO(ETIMEDOUT, mq_timedreceive(queue, buffer, sizeof buffer, NULL, &soon));
  pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
  if (child == 0) {
    expect_text(queue, "to the clone");
    EXPECT(mq_open("/clone", O_RDWR) >= 0);
    _exit(0);
  }
  wait_until_asleep(child, child);
  send_text(queue, "to the clone");
  expect_child_ok(child);
  expect_text(open_queue("/clone-2", 1, 10, O_NONBLOCK) >= 0 ? (send_text(queue, "x"), queue) : -1, "x");
}

static void vfork_child(void) {
  mqd_t queue = open_queue("/vfork", 5, 100, 0);
  struct timespec soon = from_now_ms(20);
  EXPECT_ERRNO(ETIMEDOUT, mq_timedreceive(queue, buffer, sizeof buffer, NULL, &soon));
  pid_t child = vfork();
  if (child == 0) {
    mqd_t mine = mq_open("/vfork", O_RDWR);
    if (mine < 0 || mq_send(mine, "from vfork", 10, 0) != 0) _exit(1);
    soon = from_now_ms(20);
    char other[100];
    if (mq_timedreceive(mine, other, 100, NULL, &soon) != 10) _exit(2);
    soon = from_now_ms(20);
    if (mq_timedreceive(mine, other, 100, NULL, &soon) != -1 || errno != ETIMEDOUT) _exit(3);
    _exit(0);
  }
  expect_child_ok(child);
  soon = from_now_ms(20);
  EXPECT_ERRNO(ETIMEDOUT, mq_timedreceive(queue, buffer, sizeof buffer, NULL, &soon));
  EXPECT(mq_open("/vfork", O_RDWR) >= 0);
}

static void exec_child(void) {
  mqd_t queue = open_queue("/exec", 5, 100, 0);
  int kept = dup(queue);
  EXPECT(fcntl(kept, F_GETFD) == 0);
  char number[16], closed[16];
  snprintf(number, sizeof number, "%d", kept);
  snprintf(closed, sizeof closed, "%d", queue);
  pid_t child = fork();
  if (child == 0) {
    execl("/proc/self/exe", "mq_program", "after_exec", number, closed, NULL);
    _exit(127);
  }
  expect_child_ok(child);
  expect_text(queue, "from after exec");
}

static void after_exec(char **arguments) {
  mqd_t queue = atoi(arguments[0]);
  EXPECT_ERRNO(EBADF, mq_send(atoi(arguments[1]), "x", 1, 0));
  send_text(queue, "from after exec");
}

static void replaced_descriptor(void) {
  mqd_t one = open_queue("/one", 5, 100, O_NONBLOCK), two = open_queue("/two", 5, 100, O_NONBLOCK);
  EXPECT(dup2(two, one) == one);
  send_text(one, "for two");
  expect_text(two, "for two");
  EXPECT(close(one) == 0);
  EXPECT_ERRNO(EBADF, mq_send(one, "x", 1, 0));
  int ends[2];
  EXPECT(pipe(ends) == 0 && (ends[0] == one || ends[1] == one));
  EXPECT_ERRNO(EBADF, mq_send(one, "x", 1, 0));
  EXPECT_ERRNO(EBADF, mq_getattr(one, &(struct mq_attr){0}));
}

static void passed_descriptor(void) {
  int ends[2];
  EXPECT(socketpair(AF_UNIX, SOCK_DGRAM, 0, ends) == 0);
  mqd_t queue = open_queue("/passed", 5, 100, 0);
  char control[CMSG_SPACE(sizeof(int))] = {0}, byte = 0;
  struct iovec part = {&byte, 1};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  pid_t child = fork();
  if (child == 0) {
    EXPECT(recvmsg(ends[1], &message, 0) == 1);
    mqd_t mine;
    memcpy(&mine, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof mine);
    expect_text(mine, "over the socket");
    _exit(0);
  }
  struct cmsghdr *head = CMSG_FIRSTHDR(&message);
  head->cmsg_level = SOL_SOCKET, head->cmsg_type = SCM_RIGHTS, head->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(head), &queue, sizeof queue);
  EXPECT(sendmsg(ends[0], &message, 0) == 1);
  send_text(queue, "over the socket");
  expect_child_ok(child);
}

static void close_all(void) {
  mqd_t queue = open_queue("/close-all", 5, 100, 0);
  struct timespec soon = from_now_ms(20);
  EXPECT_ERRNO(ETIMEDOUT, mq_timedreceive(queue, buffer, sizeof buffer, NULL, &soon));
  for (int round = 0; round < 2; round++) {
    for (int fd = 3; fd < 1024; fd++) close(fd);
    if (round == 1) {
      /* Others take the numbers. */
      for (int fd = 3; fd < 1000; fd++) EXPECT(dup2(0, fd) == fd);
      close(3);
    }
    queue = mq_open("/close-all", O_RDWR);
    EXPECT(queue == 3);
    soon = from_now_ms(20);
    EXPECT_ERRNO(ETIMEDOUT, mq_timedreceive(queue, buffer, sizeof buffer, NULL, &soon));
    send_text(queue, "still here");
    expect_text(queue, "still here");
  }
  EXPECT(fcntl(500, F_GETFD) == 0);
}

static void polls(void) {
  mqd_t queue = open_queue("/poll", 1, 100, 0);
  struct pollfd polled = {queue, POLLIN | POLLOUT, 0};
  EXPECT(poll(&polled, 1, 0) == 1 && polled.revents == POLLOUT);
  pid_t child = fork();
  if (child == 0) {
    send_text(queue, "ready");
    _exit(0);
  }
  polled.events = POLLIN;
  EXPECT(poll(&polled, 1, 10000) == 1 && polled.revents == POLLIN);
  expect_child_ok(child);
}

/* --- waiting --- */

static volatile sig_atomic_t signals;
static void count_signal(int number) {
  (void)number;
  signals++;
}

static void handle(int number, int flags) {
  struct sigaction action = {.sa_handler = count_signal, .sa_flags = flags};
  EXPECT(sigaction(number, &action, NULL) == 0);
}

static pid_t signal_me_when_asleep(int number, mqd_t then_send_to) {
  pid_t me = getpid(), child = fork();
  if (child == 0) {
    wait_until_asleep(me, me);
    kill(me, number);
    if (then_send_to >= 0) {
      usleep(50000);
      send_text(then_send_to, "after the signal");
    }
    _exit(0);
  }
  return child;
}

static void interrupted(void) {
  mqd_t queue = open_queue("/interrupted", 1, 100, 0);
  handle(SIGUSR1, 0);
  pid_t child = signal_me_when_asleep(SIGUSR1, -1);
  EXPECT_ERRNO(EINTR, mq_receive(queue, buffer, sizeof buffer, NULL));
  EXPECT(signals == 1);
  expect_child_ok(child);
  send_text(queue, "fills it");
  child = signal_me_when_asleep(SIGUSR1, -1);
  EXPECT_ERRNO(EINTR, mq_send(queue, "x", 1, 0));
  expect_child_ok(child);
  expect_text(queue, "fills it");
  struct mq_attr got;
  EXPECT(mq_getattr(queue, &got) == 0 && got.mq_curmsgs == 0);
}

static void restarted(void) {
  mqd_t queue = open_queue("/restarted", 1, 100, 0);
  handle(SIGUSR1, SA_RESTART);
  pid_t child = signal_me_when_asleep(SIGUSR1, queue);
  expect_text(queue, "after the signal");
  EXPECT(signals == 1);
  expect_child_ok(child);
  child = signal_me_when_asleep(SIGUSR1, -1);
  struct timespec soon = from_now_ms(400);
  EXPECT_ERRNO(ETIMEDOUT, mq_timedreceive(queue, buffer, sizeof buffer, NULL, &soon));
  expect_child_ok(child);
}

static void stopped_and_continued(void) {
  mqd_t queue = open_queue("/stopped", 1, 100, 0);
  pid_t child = fork();
  if (child == 0) {
    expect_text(queue, "after the stop");
    _exit(0);
  }
  wait_until_asleep(child, child);
  int status;
  EXPECT(kill(child, SIGSTOP) == 0 && waitpid(child, &status, WUNTRACED) == child && WIFSTOPPED(status));
  EXPECT(kill(child, SIGCONT) == 0);
  usleep(20000);
  send_text(queue, "after the stop");
  expect_child_ok(child);
}

static void killed_receiver(void) {
  mqd_t queue = open_queue("/killed", 3, 100, 0);
  for (int round = 0; round < 10; round++) {
    pid_t child = fork();
    if (child == 0) {
      mq_receive(queue, buffer, sizeof buffer, NULL);
      for (;;) pause();
    }
    wait_until_asleep(child, child);
    EXPECT(kill(child, SIGKILL) == 0 && waitpid(child, NULL, 0) == child);
    send_text(queue, "for who lives");
    expect_text(queue, "for who lives");
  }
}

struct thread {
  mqd_t queue;
  _Atomic pid_t tid;
  int result;
  int code;
};

static void *receive_in_thread(void *argument) {
  struct thread *self = argument;
  char mine[100];
  self->tid = gettid();
  self->result = (int)mq_receive(self->queue, mine, sizeof mine, NULL);
  self->code = errno;
  return NULL;
}

static pthread_t start(struct thread *thread) {
  pthread_t handle;
  EXPECT(pthread_create(&handle, NULL, receive_in_thread, thread) == 0);
  while (thread->tid == 0) usleep(1000);
  wait_until_asleep(getpid(), thread->tid);
  return handle;
}

static void cancelled(void) {
  mqd_t queue = open_queue("/cancelled", 1, 100, 0);
  for (int round = 0; round < 3; round++) {
    struct thread thread = {.queue = queue};
    pthread_t handle = start(&thread);
    void *result = NULL;
    EXPECT(pthread_cancel(handle) == 0 && pthread_join(handle, &result) == 0 && result == PTHREAD_CANCELED);
    send_text(queue, "nobody took it");
    expect_text(queue, "nobody took it");
  }
}

static void *cancel_oneself(void *argument) {
  mqd_t queue = *(mqd_t *)argument;
  pthread_cancel(pthread_self());
  mq_send(queue, "never", 5, 0);
  return NULL;
}

/* A cancellation point even where it would not block; disabled cancellation is respected. */
static void cancelled_without_blocking(void) {
  mqd_t queue = open_queue("/cancelled-2", 2, 100, O_NONBLOCK);
  pthread_t handle;
  void *result = NULL;
  EXPECT(pthread_create(&handle, NULL, cancel_oneself, &queue) == 0);
  EXPECT(pthread_join(handle, &result) == 0 && result == PTHREAD_CANCELED);
  EXPECT_ERRNO(EAGAIN, mq_receive(queue, buffer, sizeof buffer, NULL));
}

static void closed_while_waiting(void) {
  mqd_t queue = open_queue("/closed", 1, 100, 0), other = mq_open("/closed", O_WRONLY);
  mqd_t decoy = open_queue("/decoy", 1, 100, 0);
  send_text(decoy, "not for the waiter");
  struct thread thread = {.queue = queue};
  pthread_t handle = start(&thread);
  EXPECT(dup2(decoy, queue) == queue);
  send_text(other, "still served");
  EXPECT(pthread_join(handle, NULL) == 0 && thread.result == (int)strlen("still served"));
  expect_text(decoy, "not for the waiter");
}

/* --- notification --- */

static volatile siginfo_t seen;
static void see(int number, siginfo_t *info, void *context) {
  (void)number, (void)context;
  seen = *info;
  signals++;
}

static void notified_by_signal(void) {
  struct sigaction action = {.sa_sigaction = see, .sa_flags = SA_SIGINFO};
  EXPECT(sigaction(SIGRTMIN, &action, NULL) == 0);
  mqd_t queue = open_queue("/notify", 3, 100, O_NONBLOCK);
  struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN, .sigev_value.sival_int = 42};
  EXPECT(mq_notify(queue, &event) == 0);
  EXPECT_ERRNO(EBUSY, mq_notify(queue, &event));
  pid_t child = fork();
  if (child == 0) {
    EXPECT_ERRNO(EBUSY, mq_notify(queue, &event));
    EXPECT(mq_notify(queue, NULL) == 0);
    send_text(queue, "first");
    send_text(queue, "second");
    _exit(0);
  }
  expect_child_ok(child);
  for (int i = 0; i < 1000 && signals == 0; i++) usleep(5000);
  EXPECT(signals == 1);
  EXPECT(seen.si_code == SI_MESGQ && seen.si_pid == child && seen.si_uid == getuid() && seen.si_value.sival_int == 42);
  EXPECT(mq_notify(queue, &event) == 0 && mq_notify(queue, NULL) == 0);
  event.sigev_notify = 77;
  EXPECT_ERRNO(EINVAL, mq_notify(queue, &event));
  event.sigev_notify = SIGEV_NONE;
  EXPECT_ERRNO(EBADF, mq_notify(-1, &event));
  EXPECT(mq_notify(queue, &event) == 0);
}

static _Atomic int called;
static _Atomic size_t stack_seen;
static void on_message(union sigval value) {
  pthread_attr_t attributes;
  size_t size = 0;
  if (pthread_getattr_np(pthread_self(), &attributes) == 0) pthread_attr_getstacksize(&attributes, &size);
  stack_seen = size;
  called = value.sival_int;
}

static void notified_by_thread(void) {
  mqd_t queue = open_queue("/notify-thread", 3, 100, O_NONBLOCK);
  pthread_attr_t attributes;
  EXPECT(pthread_attr_init(&attributes) == 0 && pthread_attr_setstacksize(&attributes, 1 << 18) == 0);
  for (int round = 1; round <= 3; round++) {
    struct sigevent event = {.sigev_notify = SIGEV_THREAD, .sigev_notify_function = on_message,
                             .sigev_notify_attributes = round == 2 ? &attributes : NULL,
                             .sigev_value.sival_int = round};
    EXPECT(mq_notify(queue, &event) == 0);
    EXPECT_ERRNO(EBUSY, mq_notify(queue, &event));
    send_text(queue, "wakes");
    for (int i = 0; i < 1000 && called != round; i++) usleep(5000);
    EXPECT(called == round);
    if (round == 2) EXPECT(stack_seen >= 1 << 18 && stack_seen < 1 << 20);
    expect_text(queue, "wakes");
  }
  struct sigevent event = {.sigev_notify = SIGEV_THREAD, .sigev_notify_function = on_message};
  EXPECT(mq_notify(queue, &event) == 0 && mq_notify(queue, NULL) == 0 && mq_notify(queue, &event) == 0);
  EXPECT_ERRNO(EBADF, mq_notify(-1, &event));
}

/* --- namespaces --- */

static void *in_another_namespace(void *argument) {
  (void)argument;
  EXPECT(unshare(CLONE_NEWIPC) == 0);
  EXPECT_ERRNO(ENOENT, mq_open("/unshared", O_RDWR));
  EXPECT(open_queue("/only-there", 1, 1, 0) >= 0);
  return NULL;
}

/* A program that never asked for threads gets none, and no child, whatever it calls but SIGEV_THREAD. */
static void single_threaded(void) {
  struct timespec soon = from_now_ms(50);
  struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGURG};
  mqd_t queue = open_queue("/single", 1, 8192, 0);
  EXPECT(mq_notify(queue, &event) == 0);
  EXPECT(mq_send(queue, buffer, sizeof buffer, 0) == 0);
  EXPECT_ERRNO(ETIMEDOUT, mq_timedsend(queue, "x", 1, 0, &soon));
  EXPECT(mq_receive(queue, buffer, sizeof buffer, NULL) == sizeof buffer);
  EXPECT_ERRNO(ETIMEDOUT, mq_timedreceive(queue, buffer, sizeof buffer, NULL, &soon));
  EXPECT(mq_unlink("/single") == 0);
  EXPECT_ERRNO(ECHILD, waitpid(-1, NULL, WNOHANG | __WALL));
  struct stat tasks;
  EXPECT(stat("/proc/self/task", &tasks) == 0 && tasks.st_nlink == 3);
  sigset_t mask;
  EXPECT(sigprocmask(SIG_SETMASK, NULL, &mask) == 0);
  for (int signo = 1; signo < NSIG; signo++) EXPECT(sigismember(&mask, signo) != 1);
}

static void unshared_thread(void) {
  mqd_t queue = open_queue("/unshared", 1, 100, 0);
  pthread_t handle;
  EXPECT(pthread_create(&handle, NULL, in_another_namespace, NULL) == 0 && pthread_join(handle, NULL) == 0);
  EXPECT_ERRNO(ENOENT, mq_open("/only-there", O_RDWR));
  EXPECT(mq_open("/unshared", O_RDWR) >= 0);
  send_text(queue, "x");
}

static void mounted(void) {
  char dir[] = "/tmp/mq_program.XXXXXX", path[64];
  EXPECT(unshare(CLONE_NEWIPC | CLONE_NEWNS) == 0);
  EXPECT(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
  EXPECT(mkdtemp(dir) != NULL);
  EXPECT_ERRNO(EINVAL, mount("source", dir, "mqueue", 0, "option=1"));
  EXPECT_ERRNO(EFAULT, mount("source", (char *)8, "mqueue", 0, NULL));
  EXPECT(mount("source", dir, "mqueue", MS_NOSUID, NULL) == 0);
  mqd_t queue = open_queue("/seen", 3, 100, O_NONBLOCK);
  snprintf(path, sizeof path, "%s/seen", dir);
  struct stat through, direct;
  EXPECT(stat(path, &through) == 0 && fstat(queue, &direct) == 0);
  EXPECT(through.st_dev == direct.st_dev && through.st_ino == direct.st_ino && through.st_size == 80);
  int file = open(path, O_RDWR);
  send_text(file, "through the mount");
  expect_text(queue, "through the mount");
  EXPECT(close(file) == 0);
  EXPECT(mount("other", dir, "tmpfs", 0, NULL) == 0);
  EXPECT(umount(dir) == 0);
  EXPECT(umount2(dir, MNT_DETACH) == 0);
  EXPECT(rmdir(dir) == 0);
}

/* --- of mqueuefs only --- */

static void kernel_descriptors(void) {
  char dir[] = "/tmp/mq_program.XXXXXX", path[64];
  EXPECT(unshare(CLONE_NEWIPC | CLONE_NEWNS) == 0);
  EXPECT(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
  EXPECT(mkdtemp(dir) != NULL);
  EXPECT(syscall(SYS_mount, "none", dir, "mqueue", 0, NULL) == 0);
  snprintf(path, sizeof path, "%s/mixed", dir);
  mqd_t ours = open_queue("/mixed", 5, 100, O_NONBLOCK);
  mqd_t theirs = open(path, O_RDWR | O_CREAT | O_NONBLOCK, 0600);
  EXPECT(theirs >= 0);
  send_text(theirs, "the kernel's");
  send_text(ours, "ours");
  expect_text(ours, "ours");
  EXPECT_ERRNO(EAGAIN, mq_receive(ours, buffer, sizeof buffer, NULL));
  expect_text(theirs, "the kernel's");
  struct mq_attr got;
  EXPECT(mq_getattr(theirs, &got) == 0 && got.mq_msgsize != 100);
  struct sigevent event = {.sigev_notify = SIGEV_THREAD, .sigev_notify_function = on_message, .sigev_value.sival_int = 5};
  EXPECT(mq_notify(theirs, &event) == 0);
  send_text(theirs, "wakes");
  for (int i = 0; i < 1000 && called != 5; i++) usleep(5000);
  EXPECT(called == 5);
  close(theirs);
  EXPECT(syscall(SYS_umount2, dir, 0) == 0 && rmdir(dir) == 0);
}

static void no_daemon(void) {
  EXPECT_ERRNO(ENOSYS, mq_open("/x", O_RDWR));
  EXPECT_ERRNO(ENOSYS, mq_open("/x", O_RDWR | O_CREAT, 0600, NULL));
  EXPECT_ERRNO(ENOSYS, mq_unlink("/x"));
  EXPECT_ERRNO(EINVAL, mq_unlink("x"));
  EXPECT_ERRNO(EBADF, mq_send(0, "x", 1, 0));
}

static void leaves_a_queue(void) { send_text(open_queue("/left", 2, 100, 0), "left behind"); }

static const struct {
  const char *name;
  void (*run)(void);
} scenarios[] = {
    {"names", names},
    {"attributes", attributes},
    {"checks", checks},
    {"bad_pointers", bad_pointers},
    {"large", large},
    {"fork_shares", fork_shares},
    {"raw_clone", raw_clone},
    {"vfork_child", vfork_child},
    {"exec_child", exec_child},
    {"replaced_descriptor", replaced_descriptor},
    {"passed_descriptor", passed_descriptor},
    {"close_all", close_all},
    {"polls", polls},
    {"interrupted", interrupted},
    {"restarted", restarted},
    {"stopped_and_continued", stopped_and_continued},
    {"killed_receiver", killed_receiver},
    {"cancelled", cancelled},
    {"cancelled_without_blocking", cancelled_without_blocking},
    {"closed_while_waiting", closed_while_waiting},
    {"notified_by_signal", notified_by_signal},
    {"notified_by_thread", notified_by_thread},
    {"single_threaded", single_threaded},
    {"unshared_thread", unshared_thread},
    {"mounted", mounted},
    {"leaves_a_queue", leaves_a_queue},
    /* of mqueuefs only */
    {"bad_pointer_keeps_message", bad_pointer_keeps_message},
    {"kernel_descriptors", kernel_descriptors},
    {"no_daemon", no_daemon},
};

int main(int argc, char **argv) {
  alarm(50);
  if (argc == 4 && strcmp(argv[1], "after_exec") == 0) return after_exec(argv + 2), 0;
  for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++) {
    if (argc == 2 && strcmp(argv[1], "list") == 0) printf("%s\n", scenarios[i].name);
    if (argc == 2 && strcmp(argv[1], scenarios[i].name) == 0) return scenarios[i].run(), 0;
  }
  return argc == 2 && strcmp(argv[1], "list") == 0 ? 0 : 2;
}
