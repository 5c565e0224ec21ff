#include "support/sysv_calls.h"

#include <sched.h>
#include <signal.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <vector>

#include "support/child.h"
#include "support/expect.h"

namespace mqueuefs::test {
namespace {

volatile sig_atomic_t signals_handled = 0;

}  // namespace

void SysvTest::in_new_ipc_namespace(const std::function<void()>& body) {
  run_in_child([&] {
    ASSERT_OK(unshare(CLONE_NEWIPC));
    body();
  });
}

void in_new_pid_namespace(const std::function<void()>& body) {
  run_in_child([&] {
    ASSERT_OK(unshare(CLONE_NEWPID));
    run_in_child(body);
  });
}

void handle_signal(int signo, int flags) {
  struct sigaction action {};
  action.sa_handler = [](int) { signals_handled = signals_handled + 1; };
  action.sa_flags = flags;
  EXPECT_OK(sigaction(signo, &action, nullptr));
}

int handled() {
  return signals_handled;
}

bool is_in_state(pid_t pid, char state) {
  std::ifstream stat("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  std::getline(stat, text);
  const size_t end = text.rfind(')');
  return end != std::string::npos && end + 2 < text.size() && text[end + 2] == state;
}

int new_queue(int mode) {
  return msgget(IPC_PRIVATE, IPC_CREAT | mode);
}

int send_message(int id, long type, std::string_view text, int flags) {
  std::vector<char> message(sizeof type + text.size());
  memcpy(message.data(), &type, sizeof type);
  std::ranges::copy(text, message.begin() + sizeof type);
  return msgsnd(id, message.data(), text.size(), flags);
}

std::string receive_message(int id, long type, int flags, size_t size_bytes) {
  std::vector<char> message(sizeof type + size_bytes);
  const ssize_t size = msgrcv(id, message.data(), size_bytes, type, flags);
  if (size < 0) return std::string("<") + errno_name(errno) + ">";
  memcpy(&type, message.data(), sizeof type);
  return std::to_string(type) + ":" + std::string(message.data() + sizeof type, static_cast<size_t>(size));
}

msqid_ds status_of_queue(int id) {
  msqid_ds status{};
  EXPECT_OK(msgctl(id, IPC_STAT, &status));
  return status;
}

int new_semaphores(int count, int mode) {
  return semget(IPC_PRIVATE, count, IPC_CREAT | mode);
}

int operate(int id, std::initializer_list<sembuf> operations) {
  std::vector<sembuf> copy(operations);
  return semop(id, copy.data(), copy.size());
}

int operate_within(int id, std::initializer_list<sembuf> operations, const timespec& timeout) {
  std::vector<sembuf> copy(operations);
  return semtimedop(id, copy.data(), copy.size(), &timeout);
}

int value_of(int id, int number) {
  const int value = semctl(id, number, GETVAL);
  EXPECT_OK(value);
  return value;
}

int set_value(int id, int number, int value) {
  SemaphoreArgument argument{};
  argument.val = value;
  return semctl(id, number, SETVAL, argument);
}

semid_ds status_of_semaphores(int id) {
  semid_ds status{};
  SemaphoreArgument argument{};
  argument.buf = &status;
  EXPECT_OK(semctl(id, 0, IPC_STAT, argument));
  return status;
}

int new_memory(size_t size_bytes, int mode) {
  return shmget(IPC_PRIVATE, size_bytes, IPC_CREAT | mode);
}

shmid_ds status_of_memory(int id) {
  shmid_ds status{};
  EXPECT_OK(shmctl(id, IPC_STAT, &status));
  return status;
}

char* attach(int id, const void* address, int flags) {
  return static_cast<char*>(shmat(id, address, flags));
}

}  // namespace mqueuefs::test
