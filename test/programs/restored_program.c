/* One of a set of programs that use System V IPC and are restored: it works with ids that it remembers, and knows nothing
 * of their having been changed meanwhile.
 *
 *   restored_program NAME          makes a message queue, two semaphores and a segment, with keys made of NAME, and leaves
 *                                  NAME in each of them; then prints their ids, "MSG SEM SHM"
 *   check MSG SEM SHM  (its input) finds NAME in each by these ids, works with them, and prints "NAME" or what is wrong
 *   sleep MSG          (its input) prints "sleeping", then sleeps in the queue until a message of type 7 comes, and prints it
 *   send MSG TEXT      (its input) sends such a message, and prints "sent"
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>

struct message {
  long type;
  char text[64];
};

static void wrong(const char *what) {
  printf("wrong: %s: %s\n", what, strerror(errno));
  fflush(stdout);
  exit(1);
}

int main(int argc, char **argv) {
  if (argc != 2) return 2;
  const char *name = argv[1];
  const key_t key = 0x72650000 + name[0];
  const size_t size = strlen(name) + 1;
  int msg = msgget(key, IPC_CREAT | IPC_EXCL | 0600);
  int sem = semget(key, 2, IPC_CREAT | IPC_EXCL | 0600);
  int shm = shmget(key, 4096, IPC_CREAT | IPC_EXCL | 0600);
  if (msg < 0 || sem < 0 || shm < 0) wrong("making them");
  struct message message = {1, ""};
  strcpy(message.text, name);
  struct sembuf up = {0, (short)name[0], SEM_UNDO};
  char *memory = shmat(shm, NULL, 0);
  if (msgsnd(msg, &message, size, 0) != 0 || semop(sem, &up, 1) != 0 || memory == (void *)-1) wrong("filling them");
  strcpy(memory, name);
  printf("%d %d %d\n", msg, sem, shm);
  fflush(stdout);

  char line[200];
  while (fgets(line, sizeof line, stdin) != NULL) {
    if (sscanf(line, "sleep %d", &msg) == 1) {
      puts("sleeping");
      fflush(stdout);
      if (msgrcv(msg, &message, sizeof message.text, 7, 0) < 0) wrong("msgrcv");
      puts(message.text);
      fflush(stdout);
      continue;
    }
    if (sscanf(line, "send %d %63s", &msg, message.text) == 2) {
      message.type = 7;
      if (msgsnd(msg, &message, strlen(message.text) + 1, 0) != 0) wrong("msgsnd");
      puts("sent");
      fflush(stdout);
      continue;
    }
    if (sscanf(line, "check %d %d %d", &msg, &sem, &shm) != 3) return 2;
    memset(&message, 0, sizeof message);
    if (msgrcv(msg, &message, sizeof message.text, 1, IPC_NOWAIT) != (ssize_t)size || strcmp(message.text, name) != 0)
      wrong("the message");
    message.type = 1;
    if (msgsnd(msg, &message, size, 0) != 0) wrong("msgsnd");
    struct sembuf down_and_up[] = {{0, (short)-name[0], IPC_NOWAIT}, {0, 0, IPC_NOWAIT}, {0, (short)name[0], 0}};
    if (semctl(sem, 0, GETVAL) != name[0] || semop(sem, down_and_up, 3) != 0) wrong("the semaphore");
    char *again = shmat(shm, NULL, 0);
    if (again == (void *)-1 || strcmp(again, name) != 0 || strcmp(memory, name) != 0) wrong("the memory");
    strcpy(again + 100, name);
    if (strcmp(memory + 100, name) != 0 || shmdt(again) != 0) wrong("the same memory");
    struct shmid_ds status;
    if (shmctl(shm, IPC_STAT, &status) != 0 || status.shm_nattch != 1) wrong("who is attached");
    if (msgget(key, 0) != msg || semget(key, 0, 0) != sem || shmget(key, 0, 0) != shm) wrong("their keys");
    puts(name);
    fflush(stdout);
  }
  return 0;
}
