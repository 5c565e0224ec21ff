// The contract of a queue, row by row: the name of each test begins with the row that it holds.
#include <gtest/gtest.h>

#include "support/target.h"

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  ::testing::AddGlobalTestEnvironment(new ::mqueuefs::test::TargetEnvironment);
  return RUN_ALL_TESTS();
}
