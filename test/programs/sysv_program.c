/* A program that uses System V IPC and knows nothing of who answers it. Each scenario exits 0 if all was as expected, or
 * says on stderr what was not. Those in `ours` need the commands of mqueuefs ($MQUEUEFS_PROGRAM); the others pass on the
 * kernel's System V IPC, too. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define EXPECT(condition)                                                                     \
  do {                                                                                        \
    if (!(condition)) {                                                                       \
      fprintf(stderr, "line %d: expected %s (errno %s)\n", __LINE__, #condition, strerrorname_np(errno)); \
      _exit(1);                                                                               \
    }                                                                                         \
  } while (0)
#define EXPECT_ERRNO(call, code) EXPECT((errno = 0, (long)(call)) == -1 && errno == (code))

static const char *self;

struct message {
  long type;
  char text[512 * 1024];
};
static struct message message;

union argument {
  int value;
  struct semid_ds *status;
  unsigned short *values;
};

static void moment(void) {
  const struct timespec ten_ms = {0, 10000000};
  nanosleep(&ten_ms, NULL);
}

/* Under the watchdog of who runs this. */
#define WAIT_FOR(condition) \
  while (!(condition)) moment()

static int new_queue(void) {
  int id = msgget(IPC_PRIVATE, 0600);
  EXPECT(id >= 0);
  return id;
}

static int new_semaphores(int count) {
  int id = semget(IPC_PRIVATE, count, 0600);
  EXPECT(id >= 0);
  return id;
}

static int new_memory(size_t size) {
  int id = shmget(IPC_PRIVATE, size, 0600);
  EXPECT(id >= 0);
  return id;
}

static int operate(int id, int number, int change, int flags) {
  struct sembuf operation = {(unsigned short)number, (short)change, (short)flags};
  return semop(id, &operation, 1);
}

static void put(int id, long type, const char *text) {
  message.type = type;
  strcpy(message.text, text);
  EXPECT(msgsnd(id, &message, strlen(text), IPC_NOWAIT) == 0);
}

static int get(int id, long type, const char *text) {
  memset(&message, 0, sizeof message);
  return msgrcv(id, &message, 1000, type, IPC_NOWAIT) == (ssize_t)strlen(text) && strcmp(message.text, text) == 0;
}

static unsigned long attached(int id) {
  struct shmid_ds status;
  EXPECT(shmctl(id, IPC_STAT, &status) == 0);
  return status.shm_nattch;
}

static char state_of(pid_t pid) {
  char path[64], text[512] = "";
  snprintf(path, sizeof path, "/proc/%d/stat", pid);
  int fd = open(path, O_RDONLY);
  if (fd < 0) return '?';
  ssize_t size = read(fd, text, sizeof text - 1);
  close(fd);
  char *end = size > 0 ? strrchr(text, ')') : NULL;
  return end != NULL ? end[2] : '?';
}

static void command(const char *format, ...) {
  char words[1000];
  va_list arguments;
  va_start(arguments, format);
  int length = snprintf(words, sizeof words, "\"$MQUEUEFS_PROGRAM\" ");
  vsnprintf(words + length, sizeof words - (size_t)length, format, arguments);
  va_end(arguments);
  EXPECT(system(words) == 0);
}

static void finish(pid_t child) {
  int status = 0;
  EXPECT(waitpid(child, &status, 0) == child);
  EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void kill_child(pid_t child) {
  int status = 0;
  EXPECT(kill(child, SIGKILL) == 0);
  EXPECT(waitpid(child, &status, 0) == child && WIFSIGNALED(status));
}

/* --- messages --- */

static void messages(void) {
  int id = new_queue();
  put(id, 3, "three");
  put(id, 1, "one");
  put(id, 2, "two");
  EXPECT(get(id, -2, "one"));
  EXPECT(get(id, 2, "two"));
  EXPECT_ERRNO(msgrcv(id, &message, 2, 0, IPC_NOWAIT), E2BIG);
  EXPECT(msgrcv(id, &message, 2, 0, IPC_NOWAIT | MSG_NOERROR) == 2 && message.type == 3);
  EXPECT_ERRNO(msgrcv(id, &message, 100, 0, IPC_NOWAIT), ENOMSG);
  struct msqid_ds status;
  EXPECT(msgctl(id, IPC_STAT, &status) == 0);
  EXPECT(status.msg_lspid == getpid() && status.msg_lrpid == getpid() && status.msg_qnum == 0);
  EXPECT(msgctl(id, IPC_RMID, NULL) == 0);
  EXPECT_ERRNO(msgctl(id, IPC_STAT, &status), EINVAL);
}

static void bad_pointers(void) {
  void *nowhere = (void *)64;
  int id = new_queue();
  EXPECT_ERRNO(msgsnd(id, nowhere, 5, IPC_NOWAIT), EFAULT);
  put(id, 1, "x");
  EXPECT_ERRNO(msgrcv(id, nowhere, 5, 0, IPC_NOWAIT), EFAULT);
  /* It is gone, as in the kernel. */
  EXPECT_ERRNO(msgrcv(id, &message, 5, 0, IPC_NOWAIT), ENOMSG);
  EXPECT_ERRNO(msgctl(id, IPC_STAT, nowhere), EFAULT);
  EXPECT_ERRNO(msgctl(id, IPC_SET, nowhere), EFAULT);
  int semaphores = new_semaphores(2);
  EXPECT_ERRNO(semop(semaphores, nowhere, 1), EFAULT);
  struct sembuf operation = {0, 1, 0};
  EXPECT_ERRNO(semtimedop(semaphores, &operation, 1, nowhere), EFAULT);
  union argument argument = {.values = nowhere};
  EXPECT_ERRNO(semctl(semaphores, 0, GETALL, argument), EFAULT);
  EXPECT_ERRNO(semctl(semaphores, 0, SETALL, argument), EFAULT);
  EXPECT_ERRNO(semctl(semaphores, 0, IPC_STAT, argument), EFAULT);
  int memory = new_memory(4096);
  EXPECT_ERRNO(shmctl(memory, IPC_STAT, nowhere), EFAULT);
  EXPECT(semctl(semaphores, 0, GETVAL) == 0);
}

static void long_messages(void) {
  int id = new_queue();
  struct msqid_ds status;
  command("limits msgmax=300000 msgmnb=600000 > /dev/null");
  EXPECT(msgctl(id, IPC_STAT, &status) == 0);
  status.msg_qbytes = 600000;
  EXPECT(msgctl(id, IPC_SET, &status) == 0);
  for (size_t size = 60000; size <= 300000; size += 24000) {
    memset(message.text, (int)(size % 251), size);
    message.type = 7;
    EXPECT(msgsnd(id, &message, size, 0) == 0);
    memset(&message, 0, sizeof message);
    EXPECT(msgrcv(id, &message, sizeof message.text, 0, 0) == (ssize_t)size);
    EXPECT(message.type == 7 && message.text[0] == message.text[size - 1] && message.text[size] == 0);
  }
  EXPECT_ERRNO(msgsnd(id, &message, 300001, 0), EINVAL);
  /* To one who waits. */
  pid_t child = fork();
  if (child == 0) {
    EXPECT(msgrcv(id, &message, sizeof message.text, 0, 0) == 250000 && message.text[249999] == 'l');
    _exit(0);
  }
  WAIT_FOR(state_of(child) == 'S');
  moment();
  memset(message.text, 'l', 250000);
  EXPECT(msgsnd(id, &message, 250000, 0) == 0);
  finish(child);
  /* And by one who waits for room. */
  for (int i = 0; i < 2; ++i) EXPECT(msgsnd(id, &message, 300000, 0) == 0);
  child = fork();
  if (child == 0) _exit(msgsnd(id, &message, 299999, 0) == 0 ? 0 : 1);
  WAIT_FOR(state_of(child) == 'S');
  moment();
  for (int i = 0; i < 2; ++i) EXPECT(msgrcv(id, &message, sizeof message.text, 0, 0) == 300000);
  finish(child);
  EXPECT(msgrcv(id, &message, 100000, 0, MSG_NOERROR) == 100000);
}

/* --- blocking --- */

static volatile int handled;
static void handler(int signo) { handled = signo; }

static void set_handler(int signo, int flags) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = handler;
  action.sa_flags = flags;
  EXPECT(sigaction(signo, &action, NULL) == 0);
}

/* Signals `parent` again and again until the gate closes: whenever it comes it ends the call. */
static pid_t disturb(pid_t parent) {
  pid_t child = fork();
  if (child != 0) return child;
  for (;;) {
    moment();
    if (kill(parent, SIGUSR1) != 0) _exit(0);
  }
}

static void interrupted(void) {
  set_handler(SIGUSR1, SA_RESTART);
  int queue = new_queue(), semaphores = new_semaphores(1);
  pid_t child = disturb(getpid());
  EXPECT_ERRNO(msgrcv(queue, &message, 100, 0, 0), EINTR);
  EXPECT_ERRNO(operate(semaphores, 0, -1, 0), EINTR);
  const struct timespec long_time = {1000, 0};
  struct sembuf operation = {0, -1, 0};
  EXPECT_ERRNO(semtimedop(semaphores, &operation, 1, &long_time), EINTR);
  EXPECT(operate(semaphores, 0, 1, 0) == 0);
  EXPECT_ERRNO(operate(semaphores, 0, 0, 0), EINTR);
  /* A sender. */
  struct msqid_ds status;
  EXPECT(msgctl(queue, IPC_STAT, &status) == 0);
  status.msg_qbytes = 10;
  EXPECT(msgctl(queue, IPC_SET, &status) == 0);
  message.type = 1;
  EXPECT(msgsnd(queue, &message, 10, IPC_NOWAIT) == 0);
  EXPECT_ERRNO(msgsnd(queue, &message, 10, 0), EINTR);
  EXPECT(handled == SIGUSR1);
  kill_child(child);
  EXPECT(msgctl(queue, IPC_STAT, &status) == 0 && status.msg_qnum == 1);
}

static void stopped_and_continued(void) {
  int queue = new_queue(), semaphores = new_semaphores(1);
  pid_t receiver = fork();
  if (receiver == 0) _exit(msgrcv(queue, &message, 100, 0, 0) == 4 ? 0 : 1);
  pid_t waiter = fork();
  if (waiter == 0) _exit(operate(semaphores, 0, -1, 0) == -1 && errno == EINTR ? 0 : 1);
  WAIT_FOR(semctl(semaphores, 0, GETNCNT) == 1);
  WAIT_FOR(state_of(receiver) == 'S' && state_of(waiter) == 'S');
  moment();
  EXPECT(kill(receiver, SIGSTOP) == 0 && kill(waiter, SIGSTOP) == 0);
  WAIT_FOR(state_of(receiver) == 'T' && state_of(waiter) == 'T');
  EXPECT(kill(receiver, SIGCONT) == 0 && kill(waiter, SIGCONT) == 0);
  finish(waiter);
  put(queue, 1, "text");
  finish(receiver);
}

static void timeouts(void) {
  int id = new_semaphores(1);
  struct sembuf operation = {0, -1, 0};
  struct timespec before, after, timeout = {0, 30000000};
  clock_gettime(CLOCK_MONOTONIC, &before);
  EXPECT_ERRNO(semtimedop(id, &operation, 1, &timeout), EAGAIN);
  clock_gettime(CLOCK_MONOTONIC, &after);
  EXPECT((after.tv_sec - before.tv_sec) * 1000000000L + after.tv_nsec - before.tv_nsec >= 30000000);
  EXPECT(semctl(id, 0, GETNCNT) == 0);
  timeout.tv_nsec = 1000000000;
  EXPECT_ERRNO(semtimedop(id, &operation, 1, &timeout), EINVAL);
  timeout.tv_nsec = 0;
  EXPECT_ERRNO(semtimedop(id, &operation, 1, &timeout), EAGAIN);
}

static void removed_while_waiting(void) {
  int queue = new_queue(), semaphores = new_semaphores(1);
  pid_t receiver = fork();
  if (receiver == 0) _exit(msgrcv(queue, &message, 100, 0, 0) == -1 && errno == EIDRM ? 0 : 1);
  pid_t waiter = fork();
  if (waiter == 0) _exit(operate(semaphores, 0, -1, 0) == -1 && errno == EIDRM ? 0 : 1);
  WAIT_FOR(semctl(semaphores, 0, GETNCNT) == 1 && state_of(receiver) == 'S');
  moment();
  EXPECT(msgctl(queue, IPC_RMID, NULL) == 0 && semctl(semaphores, 0, IPC_RMID) == 0);
  finish(receiver);
  finish(waiter);
}

static int cancelled_queue;
static void *receive_for_ever(void *unused) {
  static struct message other;
  msgrcv(cancelled_queue, &other, 100, 0, 0);
  return unused;
}

static void cancelled(void) {
  cancelled_queue = new_queue();
  for (int i = 0; i < 3; ++i) {
    pthread_t thread;
    void *result = NULL;
    EXPECT(pthread_create(&thread, NULL, receive_for_ever, NULL) == 0);
    if (i > 0) moment();
    EXPECT(pthread_cancel(thread) == 0);
    EXPECT(pthread_join(thread, &result) == 0 && result == PTHREAD_CANCELED);
  }
  put(cancelled_queue, 1, "kept");
  EXPECT(get(cancelled_queue, 0, "kept"));
}

static void killed_receiver(void) {
  int queue = new_queue(), semaphores = new_semaphores(1);
  for (int i = 0; i < 20; ++i) {
    pid_t child = fork();
    if (child == 0) {
      if (i % 2 == 0) msgrcv(queue, &message, 100, 0, 0);
      operate(semaphores, 0, -1, 0);
      _exit(1);
    }
    WAIT_FOR(i % 2 == 0 ? state_of(child) == 'S' : semctl(semaphores, 0, GETNCNT) == 1);
    kill_child(child);
  }
  put(queue, 1, "kept");
  EXPECT(get(queue, 0, "kept"));
  EXPECT(operate(semaphores, 0, 1, 0) == 0 && semctl(semaphores, 0, GETVAL) == 1);
  EXPECT(semctl(semaphores, 0, GETNCNT) == 0);
}

/* --- what the end of a process undoes --- */

static void undo_of_killed(void) {
  int id = new_semaphores(2);
  EXPECT(operate(id, 0, 2, 0) == 0);
  pid_t child = fork();
  if (child == 0) {
    EXPECT(operate(id, 0, -2, SEM_UNDO) == 0 && operate(id, 1, 5, SEM_UNDO) == 0);
    for (;;) pause();
  }
  WAIT_FOR(semctl(id, 1, GETVAL) == 5);
  EXPECT(semctl(id, 0, GETVAL) == 0);
  pid_t waiter = fork();
  if (waiter == 0) _exit(operate(id, 0, -1, 0) == 0 ? 0 : 1);
  WAIT_FOR(semctl(id, 0, GETNCNT) == 1);
  kill_child(child);
  finish(waiter);
  WAIT_FOR(semctl(id, 1, GETVAL) == 0);
  EXPECT(semctl(id, 0, GETVAL) == 1);
}

static void undo_of_one_who_waited(void) {
  int id = new_semaphores(1);
  pid_t child = fork();
  if (child == 0) {
    EXPECT(operate(id, 0, -1, SEM_UNDO) == 0);
    for (;;) pause();
  }
  WAIT_FOR(semctl(id, 0, GETNCNT) == 1);
  /* Longer than anybody looks around for who has nothing any more. */
  const struct timespec long_moment = {2, 200000000};
  nanosleep(&long_moment, NULL);
  EXPECT(operate(id, 0, 1, 0) == 0);
  WAIT_FOR(semctl(id, 0, GETVAL) == 0);
  kill_child(child);
  WAIT_FOR(semctl(id, 0, GETVAL) == 1);
}

static void undo_survives_exec(void) {
  int id = new_semaphores(1);
  EXPECT(operate(id, 0, 1, 0) == 0);
  pid_t child = fork();
  if (child == 0) {
    EXPECT(operate(id, 0, -1, SEM_UNDO) == 0);
    execl(self, self, "sleeps", NULL);
    _exit(1);
  }
  WAIT_FOR(semctl(id, 0, GETVAL) == 0);
  const struct timespec long_moment = {2, 200000000};
  nanosleep(&long_moment, NULL);
  EXPECT(semctl(id, 0, GETVAL) == 0);
  kill_child(child);
  WAIT_FOR(semctl(id, 0, GETVAL) == 1);
}

static void sleeps(void) {
  for (;;) pause();
}

/* --- memory --- */

static void memory_is_shared(void) {
  int id = new_memory(10000);
  char *memory = shmat(id, NULL, 0);
  EXPECT(memory != (void *)-1);
  strcpy(memory + 9000, "shared");
  EXPECT(attached(id) == 1);
  pid_t child = fork();
  if (child == 0) {
    EXPECT(strcmp(memory + 9000, "shared") == 0);
    EXPECT(attached(id) == 2);
    strcpy(memory, "by the child");
    EXPECT(shmdt(memory) == 0);
    EXPECT(attached(id) == 1);
    _exit(0);
  }
  finish(child);
  EXPECT(strcmp(memory, "by the child") == 0);
  EXPECT(shmctl(id, IPC_RMID, NULL) == 0);
  EXPECT(attached(id) == 1);
  char *again = shmat(id, NULL, SHM_RDONLY);
  EXPECT(again != (void *)-1 && attached(id) == 2);
  EXPECT(mprotect(again, 4096, PROT_READ | PROT_WRITE) == -1 && errno == EACCES);
  EXPECT(shmdt(again) == 0 && shmdt(memory) == 0);
  EXPECT_ERRNO(shmdt(memory), EINVAL);
  EXPECT_ERRNO(shmat(id, NULL, 0), EINVAL);
}

static void memory_of_forked(void) {
  int id = new_memory(4096);
  EXPECT(shmat(id, NULL, 0) != (void *)-1);
  for (unsigned long i = 1; i <= 5; ++i) {
    pid_t child = fork();
    EXPECT(child >= 0);
    if (child == 0) {
      for (;;) pause();
    }
    /* At once: fork(2) has returned. */
    EXPECT(attached(id) == 2);
    kill_child(child);
    WAIT_FOR(attached(id) == 1);
  }
}

static void memory_of_killed(void) {
  int id = new_memory(4096);
  pid_t child = fork();
  if (child == 0) {
    EXPECT(shmat(id, NULL, 0) != (void *)-1 && shmat(id, NULL, SHM_RDONLY) != (void *)-1);
    for (;;) pause();
  }
  WAIT_FOR(attached(id) == 2);
  EXPECT(shmctl(id, IPC_RMID, NULL) == 0);
  EXPECT(attached(id) == 2);
  kill_child(child);
  struct shmid_ds status;
  WAIT_FOR(shmctl(id, IPC_STAT, &status) == -1 && errno == EINVAL);
}

static void memory_of_executed(void) {
  int id = new_memory(4096);
  int pipe_ends[2];
  EXPECT(pipe2(pipe_ends, O_CLOEXEC) == 0);
  pid_t child = fork();
  if (child == 0) {
    EXPECT(shmat(id, NULL, 0) != (void *)-1);
    EXPECT(attached(id) == 1);
    execl(self, self, "sleeps", NULL);
    _exit(1);
  }
  close(pipe_ends[1]);
  char byte;
  EXPECT(read(pipe_ends[0], &byte, 1) == 0); /* it has executed the program */
  EXPECT(attached(id) == 0);
  kill_child(child);
}

static void addresses(void) {
  int id = new_memory(3 * 4096);
  char *room = mmap(NULL, 16 * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  EXPECT(room != MAP_FAILED);
  EXPECT_ERRNO(shmat(id, room, 0), EINVAL);
  EXPECT_ERRNO(shmat(id, NULL, SHM_REMAP), EINVAL);
  EXPECT(attached(id) == 0);
  EXPECT(shmat(id, room, SHM_REMAP) == room);
  EXPECT(shmdt(room) == 0);
  EXPECT(munmap(room, 16 * 4096) == 0);
  EXPECT_ERRNO(shmat(id, room + 1, 0), EINVAL);
  EXPECT(shmat(id, room + 4096 + 1, SHM_RND) == room + 4096);
  room[4096] = 'x';
  EXPECT_ERRNO(shmdt(room), EINVAL);
  EXPECT(attached(id) == 1);
  EXPECT(munmap(room, 16 * 4096) == 0);
  EXPECT(attached(id) == 0);
  char *memory = shmat(id, NULL, 0);
  EXPECT(memory[0] == 'x');
}

static void many_attachments(void) {
  enum { kMany = 400 };
  static char *places[kMany];
  int id = new_memory(4096);
  for (int i = 0; i < kMany; ++i) {
    places[i] = shmat(id, NULL, 0);
    EXPECT(places[i] != (void *)-1);
  }
  EXPECT(attached(id) == kMany);
  for (int i = 0; i < kMany; i += 2) EXPECT(shmdt(places[i]) == 0);
  pid_t child = fork();
  if (child == 0) {
    for (int i = 1; i < kMany; i += 2) EXPECT(shmdt(places[i]) == 0);
    EXPECT(attached(id) == kMany / 2);
    _exit(0);
  }
  finish(child);
  WAIT_FOR(attached(id) == kMany / 2);
}

/* --- namespaces --- */

static void another_namespace(void) {
  int id = msgget(4711, IPC_CREAT | 0600);
  EXPECT(id >= 0);
  put(id, 1, "here");
  pid_t child = fork();
  if (child == 0) {
    EXPECT(msgget(4711, 0) == id);
    EXPECT(unshare(CLONE_NEWIPC) == 0);
    EXPECT_ERRNO(msgget(4711, 0), ENOENT);
    EXPECT(msgget(4711, IPC_CREAT | 0600) >= 0);
    EXPECT_ERRNO(msgrcv(msgget(4711, 0), &message, 100, 0, IPC_NOWAIT), ENOMSG);
    _exit(0);
  }
  finish(child);
  EXPECT(get(id, 0, "here"));
}

/* --- ids that change --- */

static void changed_id(void) {
  int queue = msgget(815, IPC_CREAT | 0600), semaphores = new_semaphores(1), memory = new_memory(4096);
  char *place = shmat(memory, NULL, 0);
  strcpy(place, "content");
  pid_t receiver = fork();
  if (receiver == 0) _exit(msgrcv(queue, &message, 100, 0, 0) == 4 && strcmp(message.text, "late") == 0 ? 0 : 1);
  pid_t waiter = fork();
  if (waiter == 0) _exit(operate(semaphores, 0, -1, 0) == 0 ? 0 : 1);
  WAIT_FOR(semctl(semaphores, 0, GETNCNT) == 1 && state_of(receiver) == 'S');
  moment();
  const int places = 32768, far = 77 * places;
  command("ipc chid msg %d %d", queue, far + 500);
  command("ipc chid sem %d %d", semaphores, far + 600);
  command("ipc chid shm %d %d", memory, far + 700);
  struct msqid_ds status;
  EXPECT_ERRNO(msgctl(queue, IPC_STAT, &status), EINVAL);
  EXPECT(msgctl(far + 500, IPC_STAT, &status) == 0 && status.msg_perm.__key == 815 && status.msg_perm.__seq == 77);
  EXPECT(msgget(815, 0) == far + 500);
  EXPECT(semctl(far + 600, 0, GETNCNT) == 1);
  EXPECT(operate(far + 600, 0, 1, 0) == 0);
  finish(waiter);
  memset(&message, 0, sizeof message);
  put(far + 500, 1, "late");
  finish(receiver);
  EXPECT(attached(far + 700) == 1 && strcmp(place, "content") == 0);
  EXPECT(shmdt(place) == 0 && attached(far + 700) == 0);
  place = shmat(far + 700, NULL, 0);
  EXPECT(strcmp(place, "content") == 0);
}

/* A becomes B while B becomes A, and programs sleep in both. */
static void exchanged_ids(void) {
  int a = new_queue(), b = new_queue();
  pid_t children[2];
  for (int i = 0; i < 2; ++i) {
    children[i] = fork();
    if (children[i] == 0) {
      memset(&message, 0, sizeof message);
      EXPECT(msgrcv(i == 0 ? a : b, &message, 100, 0, 0) > 0);
      EXPECT(strcmp(message.text, i == 0 ? "for the first" : "for the second") == 0);
      _exit(0);
    }
    WAIT_FOR(state_of(children[i]) == 'S');
  }
  moment();
  command("ipc permute msg %d=%d %d=%d", a, b, b, a);
  put(b, 1, "for the first");
  put(a, 1, "for the second");
  finish(children[0]);
  finish(children[1]);
}

static void chosen_id(void) {
  command("ipc next-id msg 118304");
  EXPECT(msgget(IPC_PRIVATE, 0600) == 118304);
  EXPECT(msgget(IPC_PRIVATE, 0600) != 118304);
  command("limits sem_next_id=65536 > /dev/null");
  EXPECT(new_semaphores(1) == 65536);
}

static const struct scenario {
  const char *name;
  void (*run)(void);
  int ours;
} scenarios[] = {
    {"messages", messages, 0},
    {"bad_pointers", bad_pointers, 0},
    {"long_messages", long_messages, 1},
    {"interrupted", interrupted, 0},
    {"stopped_and_continued", stopped_and_continued, 0},
    {"timeouts", timeouts, 0},
    {"removed_while_waiting", removed_while_waiting, 0},
    {"cancelled", cancelled, 0},
    {"killed_receiver", killed_receiver, 0},
    {"undo_of_killed", undo_of_killed, 0},
    {"undo_of_one_who_waited", undo_of_one_who_waited, 0},
    {"undo_survives_exec", undo_survives_exec, 0},
    {"memory_is_shared", memory_is_shared, 0},
    {"memory_of_forked", memory_of_forked, 0},
    {"memory_of_killed", memory_of_killed, 0},
    {"memory_of_executed", memory_of_executed, 0},
    {"addresses", addresses, 0},
    {"many_attachments", many_attachments, 0},
    {"another_namespace", another_namespace, 0},
    {"changed_id", changed_id, 1},
    {"exchanged_ids", exchanged_ids, 1},
    {"chosen_id", chosen_id, 1},
};

int main(int argc, char **argv) {
  self = argv[0];
  if (argc == 2 && strcmp(argv[1], "sleeps") == 0) sleeps();
  if (argc == 2 && strcmp(argv[1], "queue") == 0) {
    printf("%d\n", msgget(IPC_PRIVATE, 0600));
    return 0;
  }
  for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; ++i) {
    if (argc == 2 && strcmp(argv[1], "list") == 0 && !scenarios[i].ours) printf("%s\n", scenarios[i].name);
    if (argc == 2 && strcmp(argv[1], scenarios[i].name) == 0) {
      scenarios[i].run();
      return 0;
    }
  }
  return argc == 2 && strcmp(argv[1], "list") == 0 ? 0 : 2;
}
