// The tests' own footing: what a child finds wrong must reach the test, and what hangs must end.
#include <gtest/gtest-spi.h>
#include <signal.h>
#include <unistd.h>

#include "support/child.h"
#include "support/run_command.h"

namespace mqueuefs::test {
namespace {

// Fails; run by the test below, in a process of its own.
TEST(Child, DISABLED_FailsInAChildAndInItsChild) {
  run_in_child([] {
    EXPECT_EQ(1, 2) << "from the child";
    run_in_child([] { EXPECT_EQ(1, 2) << "from its child"; });
  });
}

TEST(Child, FailuresReachTheTestThroughEveryLevel) {
  const CommandResult result = run_command({"/proc/self/exe", "--gtest_also_run_disabled_tests",
                                            "--gtest_filter=Child.DISABLED_FailsInAChildAndInItsChild"});
  EXPECT_EQ(1, result.status);
  EXPECT_NE(std::string::npos, result.stdout_text.find("from the child")) << result.stdout_text;
  EXPECT_NE(std::string::npos, result.stdout_text.find("from its child")) << result.stdout_text;
  EXPECT_NE(std::string::npos, result.stdout_text.find("child_test.cc:")) << result.stdout_text;
}

TEST(Child, DyingIsAFailure) {
  EXPECT_NONFATAL_FAILURE(run_in_child([] { raise(SIGKILL); }), "killed by signal 9");
  EXPECT_NONFATAL_FAILURE(run_in_child([] { _exit(3); }), "exited with status 3");
}

TEST(Child, WhatHangsIsEnded) {
  EXPECT_NONFATAL_FAILURE(run_in_child([] { pause(); }, 200), "did not end within 200 ms");
}

TEST(Child, WhatItLeavesBehindDiesWithIt) {
  int alive[2];
  ASSERT_EQ(0, pipe(alive));
  run_in_child([&] {
    if (fork() == 0) pause();
  });
  close(alive[1]);
  char byte;
  EXPECT_EQ(0, read(alive[0], &byte, 1)) << "the grandchild held the other end";
  close(alive[0]);
}

TEST(RunCommand, TellsStatusOutputAndTimeout) {
  const CommandResult echoed = run_command({"sh", "-c", "cat; echo complaint >&2; exit 3"}, "input");
  EXPECT_EQ(3, echoed.status);
  EXPECT_EQ("input", echoed.stdout_text);
  EXPECT_EQ("complaint\n", echoed.stderr_text);
  EXPECT_EQ(127, run_command({"/nonexistent"}).status);
  CommandOptions brief;
  brief.timeout_ms = 100;
  const CommandResult hanging = run_command({"sleep", "1000"}, "", brief);
  EXPECT_TRUE(hanging.timed_out);
  EXPECT_EQ(128 + SIGKILL, hanging.status);
  // Who leaves a process behind that holds the pipes has ended all the same.
  EXPECT_EQ("left\n", run_command({"sh", "-c", "sleep 1000 & echo left; kill -9 $!"}).stdout_text);
}

}  // namespace
}  // namespace mqueuefs::test
