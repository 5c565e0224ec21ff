// Names, limits, charges and lifetimes: doc/behaviour.md C5, D and G on the model alone.
#include "unit/ipc_fixture.h"

namespace mqueuefs::ipc {
namespace {

TEST_F(IpcTest, CreateChecksInTheKernelsOrder) {
  EXPECT_EQ(create_error(std::string(256, 'n'), 1, 1), ENAMETOOLONG);
  create("there");
  EXPECT_EQ(create_error("there", 0, 0), EEXIST);
  EXPECT_EQ(create_error("q", 0, 1), EINVAL);
  EXPECT_EQ(create_error("q", 1, -1), EINVAL);
  EXPECT_EQ(create_error("q", 11, 1), EINVAL);
  EXPECT_EQ(create_error("q", 1, 8193), EINVAL);
  tasks.rlimit_bytes = 100;
  EXPECT_EQ(create_error("q", 1, 64), EMFILE);
  ASSERT_TRUE(ipc_namespace->limits().set("queues_max", 1).ok());
  EXPECT_EQ(create_error("q", 0, 0), ENOSPC);
  const auto superblock = ipc_namespace->superblock();
  ipc_namespace.reset();
  const RequestedAttributes nonsense{0, 0};
  EXPECT_EQ(superblock->create("q", 0600, &nonsense, Creator{}).code(), EACCES);
  EXPECT_EQ(superblock->create("there", 0600, &nonsense, Creator{}).code(), EEXIST);
}

TEST_F(IpcTest, PrivilegeExceedsTheNamespacesLimitsUpToTheHardOnes) {
  tasks.privileged = true;
  tasks.rlimit_bytes = UINT64_MAX;
  ASSERT_TRUE(ipc_namespace->limits().set("queues_max", 0).ok());
  EXPECT_EQ(create_error("a", 65536, 16777216), 0);
  EXPECT_EQ(create_error("b", 65537, 1), EINVAL);
  EXPECT_EQ(create_error("b", 1, 16777217), EINVAL);
}

TEST_F(IpcTest, DefaultAttributesAreTheLesserOfMaximumAndDefault) {
  ASSERT_TRUE(ipc_namespace->limits().set("msg_max", 5).ok());
  ASSERT_TRUE(ipc_namespace->limits().set("msgsize_default", 256).ok());
  const auto queue = superblock().create("q", 0644, nullptr, Creator{});
  ASSERT_TRUE(queue.ok());
  EXPECT_EQ((*queue)->attributes().maxmsg, 5u);
  EXPECT_EQ((*queue)->attributes().msgsize, 256u);
}

TEST_F(IpcTest, LimitsHaveTheKernelsRanges) {
  Limits limits;
  EXPECT_EQ(limits.set("msg_max", 0).code(), EINVAL);
  EXPECT_EQ(limits.set("msg_max", 65537).code(), EINVAL);
  EXPECT_EQ(limits.set("msgsize_max", 127).code(), EINVAL);
  EXPECT_EQ(limits.set("msgsize_default", 16777217).code(), EINVAL);
  EXPECT_EQ(limits.set("queues_min", 1).code(), ENOENT);
  EXPECT_EQ(limits.set("queues_max", 0).code(), 0);
  EXPECT_EQ(limits.set("msgsize_max", 16777216).code(), 0);
}

TEST_F(IpcTest, ChargeIsTheKernelsAndNineDefaultQueuesFit) {
  EXPECT_EQ(charge_of({10, 8192}), 10u * (8192 + 48) + 10 * 48);
  EXPECT_EQ(charge_of({65536, 1}), 65536u * 49 + 32768 * 48);
  for (int i = 0; i < 9; i++) ASSERT_EQ(create_error(std::to_string(i), 10, 8192), 0);
  EXPECT_EQ(create_error("tenth", 10, 8192), EMFILE);
  ASSERT_TRUE(superblock().unlink("0").ok());
  EXPECT_EQ(create_error("tenth", 10, 8192), 0);
}

TEST_F(IpcTest, ChargeAndCountComeBackAtTheLastClose) {
  const auto queue = create("q");
  ASSERT_TRUE(queue->open_handle().ok());
  ASSERT_EQ(send(*queue, "m"), 0);
  const uint64_t charged = ipc_namespace->charged_bytes(1000);
  ASSERT_TRUE(superblock().unlink("q").ok());
  EXPECT_EQ(ipc_namespace->queue_count(), 1u);
  EXPECT_EQ(ipc_namespace->charged_bytes(1000), charged);
  EXPECT_EQ(receive(*queue), "0:m") << "an unlinked queue goes on";
  const auto successor = create("q");
  EXPECT_NE(successor->inode(), queue->inode());
  ASSERT_TRUE(superblock().unlink("q").ok());
  queue->close_handle();
  EXPECT_EQ(ipc_namespace->queue_count(), 0u);
  EXPECT_EQ(ipc_namespace->charged_bytes(), 0u);
  EXPECT_EQ(queue->open_handle().code(), ESTALE);
  EXPECT_EQ(mapped.mapped(), 0u);
}

TEST_F(IpcTest, AnEmptyQueueThatNobodyHasOpenHoldsNoMemory) {
  const auto queue = create("q");
  ASSERT_TRUE(queue->open_handle().ok());
  ASSERT_EQ(send(*queue, "m"), 0);
  queue->close_handle();
  EXPECT_EQ(mapped.mapped(), 1u) << "there is a message to keep";
  ASSERT_TRUE(queue->open_handle().ok());
  EXPECT_EQ(receive(*queue), "0:m");
  EXPECT_EQ(mapped.mapped(), 1u) << "somebody has it open";
  queue->close_handle();
  EXPECT_EQ(mapped.mapped(), 0u);
  EXPECT_EQ(send(*queue, "again"), 0);
  EXPECT_EQ(receive(*queue), "0:again");
}

TEST_F(IpcTest, AWaitingCallKeepsAnUnlinkedQueue) {
  const auto queue = create("q");
  FakeChannel receiver(budget);
  wait_to_receive(*queue, receiver);
  ASSERT_TRUE(superblock().unlink("q").ok());
  EXPECT_EQ(ipc_namespace->queue_count(), 1u);
  EXPECT_TRUE(receiver.cancel());
  EXPECT_EQ(ipc_namespace->queue_count(), 0u);
}

TEST_F(IpcTest, SuperblockOutlivesItsNamespace) {
  const auto queue = create("q");
  ASSERT_EQ(send(*queue, "kept"), 0);
  const std::shared_ptr<Superblock> superblock = ipc_namespace->superblock();
  ipc_namespace.reset();
  EXPECT_EQ(superblock->namespace_or_null(), nullptr);
  EXPECT_EQ(superblock->create("new", 0600, nullptr, Creator{}).code(), EACCES);
  ASSERT_TRUE(superblock->find("q").ok());
  EXPECT_EQ(receive(*queue), "0:kept");
  ASSERT_EQ(send(*queue, "more"), 0);
  EXPECT_TRUE(superblock->unlink("q").ok());
  EXPECT_EQ(budget.used(1000), 0u) << "nobody had it open";
}

TEST_F(IpcTest, EndOfTheSuperblockEndsItsWaiters) {
  const auto queue = create("q");
  const auto unlinked = create("u");
  FakeChannel first(budget), second(budget);
  wait_to_receive(*queue, first);
  wait_to_receive(*unlinked, second);
  ASSERT_TRUE(superblock().unlink("u").ok());
  ipc_namespace.reset();
  EXPECT_EQ(first.done, std::vector<int>{ENODEV});
  EXPECT_EQ(second.done, std::vector<int>{ENODEV});
  EXPECT_EQ(send(*queue, "m"), ESTALE);
}

TEST_F(IpcTest, DirectoryIsReadNewestFirstAndHasItsSize) {
  EXPECT_EQ(superblock().root_size(), 40);
  create("a");
  create("b");
  create("c");
  EXPECT_EQ(superblock().root_size(), 100);
  std::string order;
  for (QueueInode* queue = superblock().next_below(UINT64_MAX); queue != nullptr;
       queue = superblock().next_below(queue->inode())) {
    order += queue->name();
  }
  EXPECT_EQ(order, "cba");
}

TEST_F(IpcTest, SendAndReceiveMoveTheTimesAndTellOnce) {
  const auto queue = create("q");
  FakeObserver observer;
  superblock().add_observer(observer);
  queue->set_attributes({.atime_s = 1, .mtime_s = 1});
  observer.attributes = 0;
  queue->poll();
  ASSERT_EQ(send(*queue, "m"), 0);
  EXPECT_GT(queue->file().mtime_s, 1);
  EXPECT_EQ(queue->file().atime_s, queue->file().mtime_s);
  EXPECT_GE(observer.attributes, 1);
  EXPECT_EQ(observer.readiness, 1);
  superblock().remove_observer(observer);
}

TEST_F(IpcTest, TruncateChangesTheShownSizeOnly) {
  const auto queue = create("q");
  ASSERT_EQ(send(*queue, "m"), 0);
  queue->set_attributes({.size = 5});
  EXPECT_EQ(queue->file_size(), 5);
  EXPECT_EQ(queue->curmsgs(), 1u);
}

TEST_F(IpcTest, RelatimeMovesTheDirectorysAtimeOnceAfterAChange) {
  superblock().set_root_attributes({.atime_s = 1, .mtime_s = 2});
  EXPECT_TRUE(superblock().note_directory_read());
  EXPECT_GT(superblock().root().atime_s, 2);
  superblock().set_root_attributes({.mtime_s = 2});
  EXPECT_FALSE(superblock().note_directory_read()) << "same second";
}

}  // namespace
}  // namespace mqueuefs::ipc
