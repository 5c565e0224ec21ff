/* Linked statically: does what its words say, one after another, with system calls alone, and prints a line for each.
 *
 *   create NAME | open NAME | unlink NAME | send NAME TEXT | receive NAME | try-receive NAME | attributes NAME
 *   await-signal NAME      registers, prints "registered", waits, prints the sender's number and user
 *   fork-send NAME TEXT    sends from a child; prints the child's number
 *   list DIR | read FILE | owner PATH | touch PATH | mount DIR | unshare | whoami
 *   old-call               mq_open as a 32-bit program makes it
 *   pause                  for ever
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void tell(long result) {
  if (result < 0) {
    printf("%s\n", strerrorname_np(errno));
  } else {
    printf("ok\n");
  }
}

static int raw_open(const char* name, int flags) {
  return (int)syscall(SYS_mq_open, name, flags, 0600, NULL);
}

static long raw_send(const char* name, const char* text) {
  const int queue = raw_open(name, O_WRONLY);
  if (queue < 0) return -1;
  const long result = syscall(SYS_mq_timedsend, queue, text, strlen(text), 0, NULL);
  const int code = errno;
  close(queue);
  errno = code;
  return result;
}

static void receive(const char* name, int flags) {
  static char buffer[65536];
  const int queue = raw_open(name, O_RDONLY | flags);
  const long size = queue < 0 ? -1 : syscall(SYS_mq_timedreceive, queue, buffer, sizeof buffer, NULL, NULL);
  if (size < 0) {
    tell(-1);
  } else {
    printf("%.*s\n", (int)size, buffer);
  }
  if (queue >= 0) close(queue);
}

static void list(const char* path) {
  DIR* directory = opendir(path);
  if (directory == NULL) {
    tell(-1);
    return;
  }
  const struct dirent* entry;
  while ((entry = readdir(directory)) != NULL) {
    if (entry->d_name[0] != '.') printf("%s ", entry->d_name);
  }
  printf("\n");
  closedir(directory);
}

static void await_signal(const char* name) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  sigprocmask(SIG_BLOCK, &set, NULL);
  struct sigevent event;
  memset(&event, 0, sizeof event);
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = SIGUSR1;
  const int queue = raw_open(name, O_RDONLY);
  if (queue < 0 || syscall(SYS_mq_notify, queue, &event) < 0) {
    tell(-1);
    return;
  }
  printf("registered\n");
  fflush(stdout);
  siginfo_t info;
  sigwaitinfo(&set, &info);
  printf("signal from %d user %d\n", (int)info.si_pid, (int)info.si_uid);
}

static long old_call(void) {
#if defined(__x86_64__)
  long result = 277; /* mq_open of i386 */
  __asm__ volatile("int $0x80" : "+a"(result) : "b"(0), "c"(0), "d"(0), "S"(0) : "memory", "r8", "r9", "r10", "r11");
  if (result < 0) errno = (int)-result;
  return result < 0 ? -1 : result;
#else
  errno = ENOSYS;
  return -1;
#endif
}

int main(int argc, char** argv) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  for (int i = 1; i < argc; ++i) {
    const char* word = argv[i];
    const char* first = i + 1 < argc ? argv[i + 1] : "";
    const char* second = i + 2 < argc ? argv[i + 2] : "";
    if (strcmp(word, "create") == 0) {
      tell(raw_open(first, O_RDWR | O_CREAT | O_EXCL)), ++i;
    } else if (strcmp(word, "open") == 0) {
      tell(raw_open(first, O_RDWR)), ++i;
    } else if (strcmp(word, "unlink") == 0) {
      tell(syscall(SYS_mq_unlink, first)), ++i;
    } else if (strcmp(word, "send") == 0) {
      tell(raw_send(first, second)), i += 2;
    } else if (strcmp(word, "receive") == 0) {
      receive(first, 0), ++i;
    } else if (strcmp(word, "try-receive") == 0) {
      receive(first, O_NONBLOCK), ++i;
    } else if (strcmp(word, "attributes") == 0) {
      const int queue = raw_open(first, O_RDONLY);
      struct mq_attr attributes;
      if (queue < 0 || syscall(SYS_mq_getsetattr, queue, NULL, &attributes) < 0) {
        tell(-1);
      } else {
        printf("%ld %ld %ld\n", attributes.mq_maxmsg, attributes.mq_msgsize, attributes.mq_curmsgs);
      }
      ++i;
    } else if (strcmp(word, "await-signal") == 0) {
      await_signal(first), ++i;
    } else if (strcmp(word, "fork-send") == 0) {
      const pid_t child = fork();
      if (child == 0) _exit(raw_send(first, second) < 0);
      int status;
      waitpid(child, &status, 0);
      printf("%d\n", (int)child);
      i += 2;
    } else if (strcmp(word, "list") == 0) {
      list(first), ++i;
    } else if (strcmp(word, "read") == 0) {
      char text[200];
      const int file = open(first, O_RDONLY);
      const ssize_t size = file < 0 ? -1 : read(file, text, sizeof text);
      if (size < 0) tell(-1);
      if (size >= 0) printf("%.*s", (int)size, text);
      if (file >= 0) close(file);
      ++i;
    } else if (strcmp(word, "owner") == 0) {
      struct stat status;
      if (stat(first, &status) < 0) {
        tell(-1);
      } else {
        printf("%d %d %o\n", (int)status.st_uid, (int)status.st_gid, (unsigned)status.st_mode);
      }
      ++i;
    } else if (strcmp(word, "touch") == 0) {
      tell(open(first, O_RDWR | O_CREAT, 0600)), ++i;
    } else if (strcmp(word, "mount") == 0) {
      tell(mount("none", first, "mqueue", 0, NULL)), ++i;
    } else if (strcmp(word, "unshare") == 0) {
      tell(unshare(CLONE_NEWIPC | CLONE_NEWNS));
    } else if (strcmp(word, "whoami") == 0) {
      printf("%d %d\n", (int)getpid(), (int)getuid());
    } else if (strcmp(word, "old-call") == 0) {
      tell(old_call());
    } else if (strcmp(word, "pause") == 0) {
      for (;;) pause();
    } else {
      printf("what is %s?\n", word);
      return 2;
    }
  }
  return 0;
}
