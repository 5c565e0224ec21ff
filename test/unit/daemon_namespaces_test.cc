// Who keeps an emulated namespace, and when it is freed: bindings and names only, no kernel needed.
#include "daemon/namespaces.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "ipc/mapped_segments.h"
#include "ipc/memory_budget.h"

namespace mqueuefs::daemon {
namespace {

constexpr uid_t kAlice = 1000;
constexpr uid_t kBob = 1001;
constexpr uint64_t kFirstKernel = 11;
constexpr uint64_t kSecondKernel = 22;

class NoTasks final : public ipc::TaskInfo {
 public:
  pid_t process_of(ipc::TaskId task) override { return task; }
  int rank_of(ipc::TaskId) override { return 120; }
  bool may_exceed_limits(ipc::TaskId) override { return false; }
  uint64_t rlimit_msgqueue(ipc::TaskId) override { return UINT64_MAX; }
  bool ran_at(pid_t, int64_t) override { return false; }
  bool is_stopped(ipc::TaskId) override { return false; }
  pid_t pid_seen_by(pid_t process, ipc::TaskId) override { return process; }
};

class NamespaceTable : public testing::Test {
 protected:
  Namespace& bound(uint64_t key, uid_t uid = kAlice) { return **table_.create_bound(key, uid, uid, uid); }
  Namespace& named(const char* name, uid_t uid = kAlice) { return **table_.create_named(name, uid, uid); }

  NoTasks tasks_;
  ipc::MemoryBudget budget_;
  ipc::MappedSegments mapped_;
  ipc::MappedQueues mapped_queues_;
  std::vector<uint64_t> freed_;
  Namespaces table_{{tasks_, budget_, mapped_, mapped_queues_}, 3, [this](Namespace& gone) { freed_.push_back(gone.id()); }};
};

TEST(NamespaceName, Rules) {
  for (const std::string good : {"a", "...", ".a", "a b", "\xff"})
    EXPECT_TRUE(is_namespace_name(good)) << good;
  EXPECT_TRUE(is_namespace_name(std::string(255, 'x')));
  for (const std::string bad : {"", ".", "..", "/", "a/b"})
    EXPECT_FALSE(is_namespace_name(bad)) << bad;
  EXPECT_FALSE(is_namespace_name(std::string(256, 'x')));
  EXPECT_FALSE(is_namespace_name(std::string_view("a\0b", 3)));
}

TEST_F(NamespaceTable, UnnamedOneIsFreedWithItsKernelNamespace) {
  const uint64_t id = bound(kFirstKernel).id();
  EXPECT_EQ(table_.bound_to(kFirstKernel)->id(), id);
  table_.unbind(kFirstKernel);
  EXPECT_EQ(freed_, std::vector<uint64_t>{id});
  EXPECT_EQ(table_.bound_to(kFirstKernel), nullptr);
  EXPECT_EQ(table_.by_id(id), nullptr);
  table_.unbind(kFirstKernel);
  EXPECT_EQ(freed_.size(), 1u);
}

TEST_F(NamespaceTable, FreeingSeversTheSuperblock) {
  const auto superblock = bound(kFirstKernel).ipc->superblock();
  EXPECT_NE(superblock->namespace_or_null(), nullptr);
  table_.unbind(kFirstKernel);
  EXPECT_EQ(superblock->namespace_or_null(), nullptr);
}

TEST_F(NamespaceTable, NamedOneStaysUntilItsNameIsRemoved) {
  Namespace& build = named("build");
  const uint64_t id = build.id();
  table_.bind(kFirstKernel, build);
  table_.unbind(kFirstKernel);
  EXPECT_TRUE(freed_.empty());
  EXPECT_EQ(*table_.find("build"), &build);
  table_.remove_name(build);
  EXPECT_EQ(freed_, std::vector<uint64_t>{id});
  EXPECT_EQ(table_.find("build").code(), ENOENT);
}

TEST_F(NamespaceTable, RemovedNameWithBindingsLastsAsLongAsThese) {
  Namespace& build = named("build");
  const uint64_t id = build.id();
  table_.bind(kFirstKernel, build);
  table_.bind(kSecondKernel, build);
  table_.remove_name(build);
  EXPECT_EQ(table_.find("build").code(), ENOENT);
  EXPECT_NE(&named("build"), &build) << "the name is free again";
  table_.unbind(kFirstKernel);
  EXPECT_TRUE(freed_.empty());
  table_.unbind(kSecondKernel);
  EXPECT_EQ(freed_, std::vector<uint64_t>{id});
}

TEST_F(NamespaceTable, SeveralKernelNamespacesMayActAsOne) {
  Namespace& build = named("build");
  table_.bind(kFirstKernel, build);
  table_.bind(kSecondKernel, build);
  EXPECT_EQ(table_.bound_to(kFirstKernel), table_.bound_to(kSecondKernel));
  EXPECT_EQ(build.bindings.size(), 2u);
}

TEST_F(NamespaceTable, BindingAnewFreesWhatNobodyElseIsBoundTo) {
  const uint64_t old = bound(kFirstKernel).id();
  Namespace& build = named("build");
  table_.bind(kFirstKernel, build);
  EXPECT_EQ(freed_, std::vector<uint64_t>{old});
  EXPECT_EQ(table_.bound_to(kFirstKernel), &build);
  table_.bind(kFirstKernel, build);
  EXPECT_EQ(freed_.size(), 1u);
}

TEST_F(NamespaceTable, NamesAreUnique) {
  named("build");
  EXPECT_EQ(table_.create_named("build", kBob, kBob).code(), EEXIST);
  EXPECT_EQ(table_.create_named("a/b", kBob, kBob).code(), EINVAL);
  EXPECT_EQ(table_.find("").code(), EINVAL);
}

TEST_F(NamespaceTable, OrdinaryUserHasACeiling) {
  named("one");
  named("two");
  bound(kFirstKernel);
  EXPECT_EQ(table_.create_named("four", kAlice, kAlice).code(), ENOSPC);
  EXPECT_EQ(table_.create_bound(kSecondKernel, kAlice, 0, 0).code(), ENOSPC);
  EXPECT_TRUE(table_.create_named("four", kBob, kBob).ok()) << "each user has his own";
  for (const char* name : {"r1", "r2", "r3", "r4"})
    EXPECT_TRUE(table_.create_named(name, 0, 0).ok());
  table_.unbind(kFirstKernel);
  EXPECT_TRUE(table_.create_named("three", kAlice, kAlice).ok()) << "what is freed does not count";
}

TEST_F(NamespaceTable, IdsAreNotUsedAgain) {
  const uint64_t first = bound(kFirstKernel).id();
  table_.unbind(kFirstKernel);
  EXPECT_GT(bound(kFirstKernel).id(), first);
}

}  // namespace
}  // namespace mqueuefs::daemon
