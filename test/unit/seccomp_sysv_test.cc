// What *ctl(2) carry, field by field; and what the frame of a signal handler tells of the call that it interrupted.
#include <gtest/gtest.h>
#include <sys/ipc.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "seccomp/interrupted.h"
#include "seccomp/sysv_structures.h"

namespace mqueuefs::seccomp {
namespace {

class Shifted final : public control::UserView {
 public:
  uid_t user(uid_t uid) const override { return uid + 100; }
  gid_t group(gid_t gid) const override { return gid + 200; }
  uid_t user_meant(uid_t uid) const override { return uid - 100; }
  gid_t group_meant(gid_t gid) const override { return gid - 200; }
};

constexpr ipc::sysv::Permissions kPermissions{
    .id = 3 * 32768 + 5, .key = 77, .uid = 1, .gid = 2, .cuid = 3, .cgid = 4, .mode = 01640};

void expect_shown(const ipc_perm& shown) {
  EXPECT_EQ(77, shown.__key);
  EXPECT_EQ(101u, shown.uid);
  EXPECT_EQ(202u, shown.gid);
  EXPECT_EQ(103u, shown.cuid);
  EXPECT_EQ(204u, shown.cgid);
  EXPECT_EQ(01640u, shown.mode);
  EXPECT_EQ(3u, shown.__seq);
}

TEST(SysvStructures, AQueuesStatus) {
  const msqid_ds shown = to_kernel(ipc::sysv::MessageQueueStatus{.permissions = kPermissions,
                                                                 .cbytes = 1,
                                                                 .qnum = 2,
                                                                 .qbytes = 3,
                                                                 .lspid = 4,
                                                                 .lrpid = 5,
                                                                 .stime_s = 6,
                                                                 .rtime_s = 7,
                                                                 .ctime_s = 8},
                                   Shifted());
  expect_shown(shown.msg_perm);
  EXPECT_EQ(1u, shown.__msg_cbytes);
  EXPECT_EQ(2u, shown.msg_qnum);
  EXPECT_EQ(3u, shown.msg_qbytes);
  EXPECT_EQ(4, shown.msg_lspid);
  EXPECT_EQ(5, shown.msg_lrpid);
  EXPECT_EQ(6, shown.msg_stime);
  EXPECT_EQ(7, shown.msg_rtime);
  EXPECT_EQ(8, shown.msg_ctime);
}

TEST(SysvStructures, AnArraysAndASegmentsStatus) {
  const semid_ds array = to_kernel(
      ipc::sysv::SemaphoreArrayStatus{.permissions = kPermissions, .nsems = 1, .otime_s = 2, .ctime_s = 3}, Shifted());
  expect_shown(array.sem_perm);
  EXPECT_EQ(1u, array.sem_nsems);
  EXPECT_EQ(2, array.sem_otime);
  EXPECT_EQ(3, array.sem_ctime);
  const shmid_ds segment = to_kernel(ipc::sysv::SharedMemoryStatus{.permissions = kPermissions,
                                                                   .segsz = 1,
                                                                   .cpid = 2,
                                                                   .lpid = 3,
                                                                   .nattch = 4,
                                                                   .atime_s = 5,
                                                                   .dtime_s = 6,
                                                                   .ctime_s = 7},
                                     Shifted());
  expect_shown(segment.shm_perm);
  EXPECT_EQ(1u, segment.shm_segsz);
  EXPECT_EQ(2, segment.shm_cpid);
  EXPECT_EQ(3, segment.shm_lpid);
  EXPECT_EQ(4u, segment.shm_nattch);
  EXPECT_EQ(5, segment.shm_atime);
  EXPECT_EQ(6, segment.shm_dtime);
  EXPECT_EQ(7, segment.shm_ctime);
}

TEST(SysvStructures, AChangeIsOfWhomTheCallerMeans) {
  ipc_perm wanted{};
  wanted.uid = 101;
  wanted.gid = 202;
  wanted.mode = 0640;
  const auto change = change_from(wanted, Shifted());
  EXPECT_EQ(1u, change.uid);
  EXPECT_EQ(2u, change.gid);
  EXPECT_EQ(0640u, change.mode);
}

#if defined(__x86_64__)

// struct sigcontext: r8 to r15, rdi rsi rbp rbx rdx rax rcx rsp rip.
std::vector<uint64_t> frame_of(const Notification& call, const Targets::Position& at, uint64_t result,
                               uint64_t instruction) {
  const auto& arguments = call.arguments;
  return {arguments[4], arguments[5], arguments[3], 0, 0, 0,      0, 0,        arguments[0],
          arguments[1], 0,            0,            arguments[2], result, 0, at.stack, instruction};
}

class InterruptedCall : public ::testing::Test {
 protected:
  InterruptedCall() {
    for (uint64_t i = 0; i < 6; ++i) call_.arguments[i] = 0x1000 + i;
    call_.number = SYS_msgrcv;
  }
  Interrupted told_by(const std::vector<uint64_t>& frame, size_t offset = 37) const {
    std::vector<uint64_t> stack(512);
    std::copy(frame.begin(), frame.end(), stack.begin() + static_cast<ptrdiff_t>(offset));
    return interrupted(call_, at_, stack);
  }

  Notification call_;
  Targets::Position at_{0x7ffd0000, 0x401234};
};

TEST_F(InterruptedCall, TheKernelMakesItAgain) {
  const auto frame = frame_of(call_, at_, SYS_msgrcv, at_.instruction - 2);
  EXPECT_EQ(Interrupted::kRestarted, told_by(frame));
  EXPECT_EQ(Interrupted::kRestarted, told_by(frame, 512 - frame.size())) << "to the last word";
}

TEST_F(InterruptedCall, TheProgramMakesItAgain) {
  EXPECT_EQ(Interrupted::kMadeAnew, told_by(frame_of(call_, at_, static_cast<uint64_t>(-EINTR), at_.instruction)));
}

TEST_F(InterruptedCall, NoFrameOrAnothersTellsNothing) {
  EXPECT_EQ(Interrupted::kNotHandled, told_by({}));
  EXPECT_EQ(Interrupted::kNotHandled, told_by(frame_of(call_, at_, SYS_msgrcv, at_.instruction + 2)));
  Notification other = call_;
  other.arguments[1]++;
  EXPECT_EQ(Interrupted::kNotHandled, told_by(frame_of(other, at_, SYS_msgrcv, at_.instruction - 2)));
  EXPECT_EQ(Interrupted::kNotHandled, interrupted(call_, at_, {}));
}

#endif

}  // namespace
}  // namespace mqueuefs::seccomp
