// What the *_INFO commands tell. The numbers are the kernel's: the contract tests compare them.
#include <gtest/gtest.h>

#include <climits>

#include "ipc/sysv/info.h"
#include "ipc/sysv/semaphores.h"

namespace mqueuefs::ipc::sysv {
namespace {

TEST(SysvInfo, InfoTellsLimitsOrUseAndCutsOff) {
  Limits limits;
  limits.msgmax = uint64_t{1} << 40;
  const Usage usage{.used_ids = 3, .messages = 4, .message_bytes = 5, .semaphores = 6};
  EXPECT_EQ(INT_MAX, message_info(limits, usage, false).msgmax);
  EXPECT_EQ(16384, message_info(limits, usage, false).msgmap);
  EXPECT_EQ(3, message_info(limits, usage, true).msgpool);
  EXPECT_EQ(4, message_info(limits, usage, true).msgmap);
  EXPECT_EQ(5, message_info(limits, usage, true).msgtql);
  EXPECT_EQ(20, semaphore_info(limits, usage, false).semusz);
  EXPECT_EQ(3, semaphore_info(limits, usage, true).semusz);
  EXPECT_EQ(6, semaphore_info(limits, usage, true).semaem);
  EXPECT_EQ(limits.shmmax, memory_info(limits).shmmax);
  EXPECT_EQ(kMaxUndo, semaphore_info(limits, usage, false).semaem);
  EXPECT_EQ(7u, memory_use({.memory_pages = 7}).shm_tot);
}

}  // namespace
}  // namespace mqueuefs::ipc::sysv
