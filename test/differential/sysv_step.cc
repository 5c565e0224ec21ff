#include "differential/sysv_step.h"

#include <string.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "differential/sysv_operation.h"

namespace mqueuefs::differential {
namespace {

constexpr key_t kKeys[kSysvKeys] = {0x6d710001, 0x6d710002, 0x6d710003, IPC_PRIVATE};

union SemaphoreArgument {
  int val;
  semid_ds* buf;
  unsigned short* array;
  seminfo* info;
};

class SysvStep {
 public:
  SysvStep(Shared& shared, ProcessSlot& process, const Operation& o, uint32_t step)
      : shared_(shared), process_(process), o_(o), step_(step) {}

  std::string perform() {
    errno = 0;
    switch (o_.kind) {
      case Kind::kMsgget:
        got(kMsg, msgget(key(), flags(0)));
        break;
      case Kind::kSemget:
        got(kSem, semget(key(), static_cast<int>(o_.value[1]), flags(0)));
        show_semaphores(id_of(kSem));
        break;
      case Kind::kShmget:
        got(kShm, shmget(key(), static_cast<size_t>(o_.value[1]), flags(0)));
        show_memory(id_of(kShm));
        break;
      case Kind::kMsgsnd:
        send();
        break;
      case Kind::kMsgrcv:
        receive();
        break;
      case Kind::kMsgctl:
        control_queue();
        break;
      case Kind::kSemop:
        operate();
        break;
      case Kind::kSemctl:
        control_semaphores();
        break;
      case Kind::kShmat:
        attach();
        break;
      case Kind::kShmdt:
        detach();
        break;
      case Kind::kShmctl:
        control_memory();
        break;
      default:
        break;
    }
    return text_;
  }

 private:
  void result(long value) {
    text_ += std::to_string(value);
    if (value == -1) text_ += std::string(" ") + (strerrorname_np(errno) != nullptr ? strerrorname_np(errno) : "E?");
  }
  void add(const std::string& text) { text_ += " " + text; }
  void add(long value) { text_ += " " + std::to_string(value); }

  key_t key() const { return kKeys[o_.name]; }
  int flags(int i) const { return static_cast<int>(o_.value[i]); }
  int id_of(Sort sort) const {
    if (o_.slot < kObjects) return shared_.objects[sort][o_.slot];
    return o_.slot == kNoObject ? 777 : -1;
  }
  void got(Sort sort, int id) {
    result(id);
    if (id >= 0 && o_.slot < kObjects) shared_.objects[sort][o_.slot] = id;
  }
  std::string process(int pid) const { return name_of_process(shared_, pid); }

  void show(const ipc_perm& permissions) {
    add("mode");
    add(permissions.mode);
    add(permissions.uid);
    add(permissions.cuid);
    add(permissions.__key);
    add(permissions.__seq);
  }

  void send() {
    struct {
      long type;
      char text[8300];
    } message;
    message.type = o_.value[0];
    memset(message.text, 'x', sizeof message.text);
    const std::string mark = std::to_string(step_) + ".";
    std::copy(mark.begin(), mark.end(), message.text);
    const void* const data = o_.value[2] == kGood          ? &message
                             : o_.value[2] == kNullPointer ? nullptr
                                                           : reinterpret_cast<void*>(8);
    result(msgsnd(id_of(kMsg), data, static_cast<size_t>(o_.value[1]), flags(3)));
  }

  void receive() {
    struct {
      long type;
      char text[8300];
    } message;
    message.type = -77;
    const ssize_t size = msgrcv(id_of(kMsg), &message, static_cast<size_t>(o_.value[1]), o_.value[0], flags(3));
    result(size);
    if (size < 0) return;
    add(message.type);
    add(std::string(message.text, static_cast<size_t>(std::min<ssize_t>(size, 12))));
  }

  void control_queue() {
    msqid_ds status{};
    msginfo info{};
    const int id = id_of(kMsg);
    switch (o_.value[0]) {
      case kRemove:
        return result(msgctl(id, IPC_RMID, nullptr));
      case kSet:
        status.msg_qbytes = static_cast<msglen_t>(o_.value[1]);
        status.msg_perm.mode = static_cast<unsigned short>(o_.value[2]);
        status.msg_perm.uid = static_cast<uid_t>(o_.value[3]);
        return result(msgctl(id, IPC_SET, &status));
      case kInfo:
      case kUsage:
        result(msgctl(id, o_.value[0] == kInfo ? IPC_INFO : MSG_INFO, reinterpret_cast<msqid_ds*>(&info)));
        for (const int each : {info.msgpool, info.msgmap, info.msgmax, info.msgmnb, info.msgmni, info.msgtql})
          add(each);
        return;
      default: {
        constexpr int kCommands[] = {IPC_STAT, 0, 0, MSG_STAT, MSG_STAT_ANY};
        if (msgctl(id, kCommands[o_.value[0]], &status) < 0) return result(-1);
        show(status.msg_perm);
        for (const unsigned long each : {status.msg_qnum, status.__msg_cbytes, status.msg_qbytes})
          add(static_cast<long>(each));
        add(process(status.msg_lspid));
        add(process(status.msg_lrpid));
        add((status.msg_stime != 0 ? 1 : 0) + (status.msg_rtime != 0 ? 2 : 0) + (status.msg_ctime != 0 ? 4 : 0));
      }
    }
  }

  void show_semaphores(int id) {
    const int saved = errno;
    semid_ds status{};
    SemaphoreArgument argument{};
    argument.buf = &status;
    text_ += " |";
    if (semctl(id, 0, IPC_STAT, argument) != 0) {
      result(-1);
    } else {
      for (int number = 0; number < static_cast<int>(std::min(status.sem_nsems, 5ul)); ++number) {
        add(semctl(id, number, GETVAL));
        add(semctl(id, number, GETNCNT));
        add(semctl(id, number, GETZCNT));
        add(process(semctl(id, number, GETPID)));
      }
      add((status.sem_otime != 0 ? 1 : 0) + (status.sem_ctime != 0 ? 2 : 0));
    }
    errno = saved;
  }

  void operate() {
    sembuf operations[3]{};
    for (int i = 0; i < o_.value[0]; ++i) {
      const Sembuf one = unpack_sembuf(o_.value[1], i);
      operations[i] = {static_cast<unsigned short>(one.number), static_cast<short>(one.by),
                       static_cast<short>((one.nowait ? IPC_NOWAIT : 0) | (one.undo ? SEM_UNDO : 0))};
    }
    constexpr timespec kTimes[] = {{}, {0, 0}, {0, 3'000'000}, {1'000'000, 0}, {1, 1'000'000'000}, {-1, 0}};
    const auto count = static_cast<size_t>(o_.value[0]);
    const int id = id_of(kSem);
    if (o_.value[3] == kNoTimeout) {
      result(semop(id, operations, count));
    } else {
      const timespec* const timeout =
          o_.value[3] == kBadTimeout ? reinterpret_cast<const timespec*>(8) : &kTimes[o_.value[3]];
      result(semtimedop(id, operations, count, timeout));
    }
    show_semaphores(id);
  }

  void control_semaphores() {
    const int id = id_of(kSem);
    semid_ds status{};
    seminfo info{};
    std::vector<unsigned short> values(16);
    SemaphoreArgument argument{};
    constexpr int kOfOne[] = {GETVAL, SETVAL, GETALL, SETALL, GETPID, GETNCNT, GETZCNT};
    switch (o_.value[0]) {
      case kRemove:
        return result(semctl(id, o_.other, IPC_RMID));
      case kSet:
        argument.buf = &status;
        status.sem_perm.mode = static_cast<unsigned short>(o_.value[2]);
        status.sem_perm.uid = static_cast<uid_t>(o_.value[3]);
        result(semctl(id, o_.other, IPC_SET, argument));
        break;
      case kInfo:
      case kUsage:
        argument.info = &info;
        result(semctl(id, o_.other, o_.value[0] == kInfo ? IPC_INFO : SEM_INFO, argument));
        for (const int each : {info.semmni, info.semmns, info.semmsl, info.semopm, info.semusz, info.semaem})
          add(each);
        return;
      case kStat:
      case kStatIndex:
      case kStatAny: {
        constexpr int kCommands[] = {IPC_STAT, 0, 0, SEM_STAT, SEM_STAT_ANY};
        argument.buf = &status;
        if (semctl(id, o_.other, kCommands[o_.value[0]], argument) < 0) return result(-1);
        show(status.sem_perm);
        return add(static_cast<long>(status.sem_nsems));
      }
      case kSetval:
        argument.val = static_cast<int>(o_.value[1]);
        result(semctl(id, o_.other, SETVAL, argument));
        break;
      case kSetall:
      case kGetall:
        argument.array = values.data();
        std::fill(values.begin(), values.end(), static_cast<unsigned short>(o_.value[1]));
        result(semctl(id, o_.other, kOfOne[o_.value[0] - kGetval], argument));
        for (int i = 0; i < 4; ++i)
          add(values[static_cast<size_t>(i)]);
        break;
      case kGetpid: {
        const int pid = semctl(id, o_.other, GETPID);
        pid < 0 ? result(pid) : add(process(pid));
        return;
      }
      default:
        return result(semctl(id, o_.other, kOfOne[o_.value[0] - kGetval]));
    }
    show_semaphores(id);
  }

  void show_memory(int id) {
    const int saved = errno;
    shmid_ds status{};
    text_ += " |";
    if (shmctl(id, IPC_STAT, &status) != 0) {
      result(-1);
    } else {
      show(status.shm_perm);
      add(static_cast<long>(status.shm_segsz));
      add(static_cast<long>(status.shm_nattch));
      add(process(status.shm_cpid));
      add(process(status.shm_lpid));
      add((status.shm_atime != 0 ? 1 : 0) + (status.shm_dtime != 0 ? 2 : 0) + (status.shm_ctime != 0 ? 4 : 0));
    }
    errno = saved;
  }

  void attach() {
    char*& place = process_.attachments[o_.other];
    if (place != nullptr) return add("taken");
    auto* const memory = static_cast<char*>(shmat(id_of(kShm), nullptr, flags(0)));
    if (memory == reinterpret_cast<char*>(-1)) return result(-1);
    place = memory;
    // What the last one left there; then this step's number.
    add("found");
    add(static_cast<unsigned char>(memory[0]));
    if ((flags(0) & SHM_RDONLY) == 0) memory[0] = static_cast<char>(step_);
    show_memory(id_of(kShm));
  }

  void detach() {
    char*& place = process_.attachments[o_.other];
    result(shmdt(place));
    place = nullptr;
  }

  void control_memory() {
    const int id = id_of(kShm);
    shmid_ds status{};
    shminfo limits{};
    shm_info usage{};
    switch (o_.value[0]) {
      case kRemove:
        result(shmctl(id, IPC_RMID, nullptr));
        break;
      case kSet:
        status.shm_perm.mode = static_cast<unsigned short>(o_.value[2]);
        status.shm_perm.uid = static_cast<uid_t>(o_.value[3]);
        result(shmctl(id, IPC_SET, &status));
        break;
      case kInfo:
        result(shmctl(id, IPC_INFO, reinterpret_cast<shmid_ds*>(&limits)));
        for (const unsigned long each : {limits.shmmax, limits.shmmin, limits.shmmni, limits.shmall})
          add(static_cast<long>(each));
        return;
      case kUsage:
        result(shmctl(id, SHM_INFO, reinterpret_cast<shmid_ds*>(&usage)));
        add(usage.used_ids);
        return add(static_cast<long>(usage.shm_tot));
      case kLock:
      case kUnlock:
        result(shmctl(id, o_.value[0] == kLock ? SHM_LOCK : SHM_UNLOCK, nullptr));
        break;
      default: {
        constexpr int kCommands[] = {IPC_STAT, 0, 0, SHM_STAT, SHM_STAT_ANY};
        if (shmctl(id, kCommands[o_.value[0]], &status) < 0) return result(-1);
        show(status.shm_perm);
        return;
      }
    }
    show_memory(id);
  }

  Shared& shared_;
  ProcessSlot& process_;
  const Operation& o_;
  const uint32_t step_;
  std::string text_;
};

}  // namespace

std::string sysv_step(Shared& shared, ProcessSlot& process, const Operation& operation, uint32_t step) {
  return SysvStep(shared, process, operation, step).perform();
}

}  // namespace mqueuefs::differential
