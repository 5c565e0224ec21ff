// The texts of /proc/PID, as proc(5) shows them and as a hostile task would have them.
#include "daemon/proc_text.h"

#include <gtest/gtest.h>
#include <linux/sched.h>
#include <sched.h>

namespace mqueuefs::daemon {
namespace {

constexpr const char* kStatus =
    "Name:\tCapEff:\n"
    "Tgid:\t77\n"
    "Pid:\t78\n"
    "Uid:\t1000\t1001\t1002\t1003\n"
    "NSpid:\t78\t12\t1\n"
    "CapInh:\t0000000000000000\n"
    "CapEff:\t000001ffffffffff\n";

TEST(ProcText, StatusFields) {
  EXPECT_EQ(status_field(kStatus, "Tgid"), "77");
  EXPECT_EQ(status_field(kStatus, "Tgi"), std::nullopt);
  EXPECT_EQ(status_field("", "Tgid"), std::nullopt);
  EXPECT_EQ(real_uid(kStatus), 1000u);
  EXPECT_EQ(effective_uid(kStatus), 1001u);
  EXPECT_EQ(effective_capabilities(kStatus), 0x1ffffffffffu);
  EXPECT_EQ(namespace_pids(kStatus), (std::vector<pid_t>{78, 12, 1}));
}

TEST(ProcText, StoppedIsTheLetterOfTheStateLine) {
  EXPECT_TRUE(is_stopped_state("Name:\tx\nUmask:\t0022\nState:\tT (stopped)\nTgid:\t78\n"));
  EXPECT_TRUE(is_stopped_state("Name:\tx\nState:\tt (tracing stop)"));
  EXPECT_FALSE(is_stopped_state("Name:\tState:\\n T\nState:\tS (sleeping)\n"));
  EXPECT_FALSE(is_stopped_state("Name:\tx\nState:\tZ (zombie)\n"));
  EXPECT_FALSE(is_stopped_state("Name:\tT\n"));
  EXPECT_FALSE(is_stopped_state(""));
}

TEST(ProcText, MissingStatusFieldsAllowLeast) {
  EXPECT_EQ(effective_capabilities("Name:\tx\n"), 0u);
  EXPECT_EQ(effective_uid("Uid:\n"), std::nullopt);
  EXPECT_TRUE(namespace_pids("NSpid:\n").empty());
}

TEST(ProcText, PriorityOfNiceAndRealTime) {
  EXPECT_EQ(kernel_priority(SCHED_OTHER, 0, 0), 120);
  EXPECT_EQ(kernel_priority(SCHED_OTHER, 19, 0), 139);
  EXPECT_EQ(kernel_priority(SCHED_BATCH, -20, 0), 100);
  EXPECT_EQ(kernel_priority(SCHED_FIFO, 0, 1), 98);
  EXPECT_EQ(kernel_priority(SCHED_RR, 0, 99), 0);
  EXPECT_EQ(kernel_priority(SCHED_DEADLINE, 0, 0), -1);
}

TEST(ProcText, MessageQueueLimit) {
  const char* text =
      "Limit                     Soft Limit           Hard Limit           Units     \n"
      "Max pending signals       15000                15000                signals   \n"
      "Max msgqueue size         819200               unlimited            bytes     \n";
  EXPECT_EQ(msgqueue_limit(text), 819200u);
  EXPECT_EQ(msgqueue_limit("Max msgqueue size         unlimited            unlimited            bytes\n"),
            UINT64_MAX);
  EXPECT_EQ(msgqueue_limit("Max msgqueue size\n"), std::nullopt);
  EXPECT_EQ(msgqueue_limit(""), std::nullopt);
}

TEST(ProcText, NamespaceLink) {
  EXPECT_EQ(namespace_inode("ipc:[4026531839]"), 4026531839u);
  EXPECT_EQ(namespace_inode("ipc:4026531839"), std::nullopt);
  EXPECT_EQ(namespace_inode("ipc:[]"), std::nullopt);
}

TEST(ProcText, IdMap) {
  EXPECT_EQ(mapped_id("         0          0 4294967295\n", 1000), 1000u);
  const char* container = "         0       1000          1\n         1     100000      65536\n";
  EXPECT_EQ(mapped_id(container, 1000), 0u);
  EXPECT_EQ(mapped_id(container, 100000), 1u);
  EXPECT_EQ(mapped_id(container, 165535), 65536u);
  EXPECT_EQ(mapped_id(container, 165536), std::nullopt);
  EXPECT_EQ(mapped_id(container, 0), std::nullopt);
  EXPECT_EQ(mapped_id("", 0), std::nullopt);
}

}  // namespace
}  // namespace mqueuefs::daemon
