// The order and the positions of readdir(3), on the model alone.
#include "fuse/directory_walk.h"

#include <string>
#include <vector>

#include "unit/ipc_fixture.h"

namespace mqueuefs::fuse {
namespace {

class DirectoryWalkTest : public ipc::IpcTest {
 protected:
  struct Entry {
    std::string name;
    uint64_t position;
  };

  /// At most `most` entries after `position`: one READDIR.
  std::vector<Entry> list(uint64_t position = 0, size_t most = 100) {
    std::vector<Entry> entries;
    walk_directory(superblock(), position, [&](const char* name, ipc::QueueInode*, uint64_t next) {
      if (entries.size() == most) return false;
      entries.push_back({name, next});
      return true;
    });
    return entries;
  }

  /// Names one by one, each READDIR going on where the last one stopped; `between` runs after each.
  template <typename Between>
  std::string names_one_by_one(Between between) {
    std::string names;
    uint64_t position = 0;
    for (auto entries = list(position, 1); !entries.empty(); entries = list(position, 1)) {
      names += entries[0].name + " ";
      position = entries[0].position;
      between(entries[0].name);
    }
    return names;
  }
};

TEST_F(DirectoryWalkTest, EmptyDirectoryHasTheDotsOnly) {
  EXPECT_EQ(names_one_by_one([](const std::string&) {}), ". .. ");
}

TEST_F(DirectoryWalkTest, NewestFirstWhereverItIsInterrupted) {
  for (const char* name : {"a", "b", "c"})
    create(name, 1, 1);
  EXPECT_EQ(list().size(), 5u);
  EXPECT_EQ(names_one_by_one([](const std::string&) {}), ". .. c b a ");
}

TEST_F(DirectoryWalkTest, PositionsStayGoodWhileEntriesGo) {
  for (const char* name : {"a", "b", "c", "d"})
    create(name, 1, 1);
  const auto names = names_one_by_one([&](const std::string& seen) {
    if (seen != "c") return;
    EXPECT_TRUE(superblock().unlink("c").ok());  // the one that the position names
    EXPECT_TRUE(superblock().unlink("b").ok());  // the one that would be next
  });
  EXPECT_EQ(names, ". .. d c a ");
}

TEST_F(DirectoryWalkTest, WhatIsCreatedMeanwhileIsNotSeenTwiceNorRepeatsOthers) {
  for (const char* name : {"a", "b"})
    create(name, 1, 1);
  int created = 0;
  const auto names =
      names_one_by_one([&](const std::string&) { create("new" + std::to_string(created++), 1, 1); });
  EXPECT_EQ(names, ". .. new1 new0 b a ");
}

TEST_F(DirectoryWalkTest, PositionsAreDistinctAndSmall) {
  create("a", 1, 1);
  const auto entries = list();
  EXPECT_EQ(entries[0].position, 1u);
  EXPECT_EQ(entries[1].position, 2u);
  EXPECT_GT(entries[2].position, 2u);
  EXPECT_LT(entries[2].position, uint64_t{INT32_MAX});
}

TEST_F(DirectoryWalkTest, AnyPositionIsHarmless) {
  create("a", 1, 1);
  EXPECT_EQ(list(3).size(), 0u);
  EXPECT_EQ(list(UINT64_MAX).size(), 1u);
  EXPECT_EQ(list(uint64_t{1} << 40).size(), 1u);
}

}  // namespace
}  // namespace mqueuefs::fuse
