// The filter's program, run by a small interpreter: what it notifies, refuses and leaves alone, on both processors.
#include <gtest/gtest.h>
#include <linux/seccomp.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstring>

#include "seccomp/filter.h"

namespace mqueuefs::seccomp {
namespace {

constexpr uint32_t kRefused = SECCOMP_RET_ERRNO | ENOSYS;

// The few instructions that the program is made of.
uint32_t run(const std::vector<sock_filter>& program, uint32_t architecture, uint32_t number) {
  seccomp_data data{};
  data.arch = architecture;
  data.nr = static_cast<int>(number);
  uint32_t word = 0;
  for (size_t at = 0; at < program.size(); ++at) {
    const sock_filter& step = program[at];
    switch (step.code) {
      case BPF_LD | BPF_W | BPF_ABS:
        memcpy(&word, reinterpret_cast<const char*>(&data) + step.k, sizeof word);
        break;
      case BPF_JMP | BPF_JEQ | BPF_K:
        at += word == step.k ? step.jt : step.jf;
        break;
      case BPF_RET | BPF_K:
        return step.k;
      default:
        ADD_FAILURE() << "instruction " << step.code;
        return 0;
    }
  }
  ADD_FAILURE() << "the program has no end";
  return 0;
}

void expect_served(const CallTable& table) {
  const auto program = filter_program(table);
  for (uint32_t number = 0; number < 600; ++number) {
    const bool served = served_call(table, table.architecture, number).has_value();
    EXPECT_EQ(served ? SECCOMP_RET_USER_NOTIF : SECCOMP_RET_ALLOW, run(program, table.architecture, number)) << number;
  }
  for (const uint32_t number : table.refused)
    EXPECT_EQ(kRefused, run(program, table.compat_architecture, number)) << number;
  for (const uint32_t number : table.refused_here)
    EXPECT_EQ(kRefused, run(program, table.architecture, number)) << number;
  EXPECT_EQ(SECCOMP_RET_ALLOW, run(program, table.compat_architecture, 1));
  EXPECT_EQ(SECCOMP_RET_ALLOW, run(program, AUDIT_ARCH_S390X, table.served[0].number));
}

TEST(Filter, X86NotifiesTheCallsAndRefusesThe32BitOnes) { expect_served(kX86Calls); }
TEST(Filter, Arm64NotifiesTheCallsAndRefusesThe32BitOnes) { expect_served(kArm64Calls); }

TEST(Filter, TheNumbersAreThoseOfThisProcessor) {
  const std::pair<long, Call> known[] = {{SYS_mq_open, Call::kOpen},
                                         {SYS_mq_unlink, Call::kUnlink},
                                         {SYS_mq_timedsend, Call::kTimedSend},
                                         {SYS_mq_timedreceive, Call::kTimedReceive},
                                         {SYS_mq_notify, Call::kNotify},
                                         {SYS_mq_getsetattr, Call::kGetSetAttributes},
                                         {SYS_mount, Call::kMount},
                                         {SYS_fsopen, Call::kOpenContext},
                                         {SYS_msgget, Call::kMsgGet},
                                         {SYS_msgsnd, Call::kMsgSend},
                                         {SYS_msgrcv, Call::kMsgReceive},
                                         {SYS_msgctl, Call::kMsgControl},
                                         {SYS_semget, Call::kSemGet},
                                         {SYS_semop, Call::kSemOperate},
                                         {SYS_semtimedop, Call::kSemTimedOperate},
                                         {SYS_semctl, Call::kSemControl},
                                         {SYS_shmget, Call::kShmGet},
                                         {SYS_shmat, Call::kShmAttach},
                                         {SYS_shmdt, Call::kShmDetach},
                                         {SYS_shmctl, Call::kShmControl}};
  for (const auto& [number, call] : known)
    EXPECT_EQ(call, served_call(kOwnCalls, kOwnCalls.architecture, static_cast<uint32_t>(number)));
  EXPECT_EQ(std::nullopt, served_call(kOwnCalls, kOwnCalls.compat_architecture, SYS_mq_open));
}

}  // namespace
}  // namespace mqueuefs::seccomp
