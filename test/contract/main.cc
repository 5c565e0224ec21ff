// The contract of a queue, row by row: the name of each test begins with the row that it holds.
#include <gtest/gtest.h>
#include <stdlib.h>

#include "support/coverage.h"
#include "support/target.h"

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  const char* const target = getenv("MQUEUEFS_TEST_TARGET");
  ::testing::GTEST_FLAG(filter) =
      ::mqueuefs::test::covered_part(::testing::GTEST_FLAG(filter), target != nullptr ? target : "mqueuefs");
  ::testing::AddGlobalTestEnvironment(new ::mqueuefs::test::TargetEnvironment);
  return RUN_ALL_TESTS();
}
