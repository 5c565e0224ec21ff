// What the kernel knows and what it has open, counted.
#include "fuse/node_table.h"

#include <gtest/gtest.h>

#include "unit/ipc_fixture.h"

namespace mqueuefs::fuse {
namespace {

using NodeTableTest = ipc::IpcTest;

TEST_F(NodeTableTest, ANodeIsKeptUntilAllLookupsAreForgotten) {
  NodeTable nodes;
  const auto queue = create("q");
  nodes.remember(queue);
  nodes.remember(queue);
  nodes.forget(queue->inode(), 1);
  ASSERT_NE(nodes.find(queue->inode()), nullptr);
  EXPECT_EQ(nodes.find(queue->inode())->lookups, 1u);
  nodes.forget(queue->inode(), 1);
  EXPECT_EQ(nodes.find(queue->inode()), nullptr);
}

TEST_F(NodeTableTest, ForgettingTooMuchOrTheUnknownIsHarmless) {
  NodeTable nodes;
  const auto queue = create("q");
  nodes.forget(ipc::kRootInode, 1);
  nodes.remember(queue);
  nodes.forget(queue->inode(), UINT64_MAX);
  EXPECT_EQ(nodes.size(), 0u);
  nodes.forget(queue->inode(), 1);
}

TEST_F(NodeTableTest, ANodeKeepsAnUnlinkedQueuesObject) {
  NodeTable nodes;
  const uint64_t inode = nodes.remember(create("q")).queue->inode();
  ASSERT_TRUE(superblock().unlink("q").ok());
  ASSERT_NE(nodes.find(inode), nullptr);
  EXPECT_FALSE(nodes.find(inode)->queue->linked());
  EXPECT_EQ(nodes.find(inode)->queue->open_handle().code(), ESTALE);
}

TEST_F(NodeTableTest, AccessModes) {
  const auto queue = create("q");
  struct {
    int flags;
    bool readable, writable;
  } const cases[] = {
      {O_RDONLY, true, false}, {O_WRONLY, false, true}, {O_RDWR | O_NONBLOCK, true, true}, {3, false, false}};
  for (const auto& expected : cases) {
    const OpenFile file(queue, expected.flags);
    EXPECT_EQ(file.readable, expected.readable) << expected.flags;
    EXPECT_EQ(file.writable, expected.writable) << expected.flags;
  }
}

TEST_F(NodeTableTest, FileNumbersAreNotUsedAgain) {
  OpenFiles files;
  const auto queue = create("q");
  const uint64_t first = files.add(queue, O_RDWR).first;
  files.remove(first);
  EXPECT_EQ(files.find(first), nullptr);
  EXPECT_NE(files.add(queue, O_RDWR).first, first);
  EXPECT_EQ(files.find(0), nullptr);
}

}  // namespace
}  // namespace mqueuefs::fuse
