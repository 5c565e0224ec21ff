/* Linked statically: nothing can be loaded into it.
 *   static_program         does nothing
 *   static_program sysv    what System V IPC says when the system calls are caught: a line each
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <unistd.h>

static void tell(const char *what, long result) {
  if (result < 0)
    printf("%s: %s\n", what, strerrorname_np(errno));
  else
    printf("%s: %ld\n", what, result);
}

static int messages(void) {
  struct {
    long type;
    char text[16];
  } message = {7, "hello"};
  const int id = msgget(0x6d71, IPC_CREAT | 0600);
  tell("msgget", id < 0 ? -1 : 0);
  tell("msgsnd", msgsnd(id, &message, 5, 0));
  message.type = 0;
  memset(message.text, 0, sizeof message.text);
  tell("msgrcv", msgrcv(id, &message, sizeof message.text, -9, 0));
  printf("%ld %s\n", message.type, message.text);
  tell("nothing there", msgrcv(id, &message, sizeof message.text, 0, IPC_NOWAIT));
  tell("bad text", msgsnd(id, (void *)16, 5, 0));
  struct msqid_ds status;
  tell("msgctl", msgctl(id, IPC_STAT, &status));
  printf("last sent by %s\n", status.msg_lspid == getpid() ? "us" : "another");
  return id;
}

static void semaphores(void) {
  const int id = semget(IPC_PRIVATE, 2, 0600);
  struct sembuf down = {0, -1, 0}, up = {0, 1, SEM_UNDO};
  const struct timespec moment = {0, 20000000};
  tell("semtimedop", semtimedop(id, &down, 1, &moment));
  const pid_t child = fork();
  if (child == 0) _exit(semop(id, &down, 1) == 0 ? 0 : 1);
  tell("semop", semop(id, &up, 1));
  int status = -1;
  waitpid(child, &status, 0);
  tell("who waited", status);
  if (fork() == 0) {
    semop(id, &up, 1);
    pause();
  }
  while (semctl(id, 0, GETVAL) != 1) usleep(1000);
  const pid_t holder = semctl(id, 0, GETPID);
  tell("kill", kill(holder, SIGKILL));
  wait(NULL);
  while (semctl(id, 0, GETVAL) != 0) usleep(1000);
  tell("undone", semctl(id, 0, GETVAL));
  tell("semctl", semctl(id, 0, IPC_RMID));
  tell("removed", semop(id, &up, 1));
}

static void memory(void) {
  const int id = shmget(IPC_PRIVATE, 5000, 0600);
  struct shmid_ds status;
  tell("shmctl", shmctl(id, IPC_STAT, &status));
  printf("%zu bytes\n", status.shm_segsz);
  tell("shmat", (long)shmat(id, NULL, 0));
  tell("shmat again", (long)shmat(id, NULL, 0));
  tell("shmdt", shmdt(&status));
  tell("rmid", shmctl(id, IPC_RMID, NULL));
}

int main(int argc, char **argv) {
  if (argc < 2 || strcmp(argv[1], "sysv") != 0) return 0;
  setvbuf(stdout, NULL, _IONBF, 0);
  const int id = messages();
  semaphores();
  memory();
  tell("msgctl", msgctl(id, IPC_RMID, NULL));
  return 0;
}
