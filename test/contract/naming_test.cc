// doc/behaviour.md A7: the names of queues, and reading the directory.
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "base/unique_fd.h"
#include "support/expect.h"
#include "support/files.h"
#include "support/target.h"

namespace mqueuefs::test {
namespace {

class Naming : public TargetTest {};

// Many of these fit under RLIMIT_MSGQUEUE.
void create_small(const std::string& name) {
  const UniqueFd fd(create_queue(name, 1, 1));
  EXPECT_OK(fd.get()) << name;
}

using Entries = std::vector<std::string>;

// The names in the order of the directory, without "." and "..", whose places are the first two.
Entries read_names(DIR* directory) {
  Entries names;
  while (const dirent* entry = readdir(directory)) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") {
      EXPECT_EQ(DT_REG, entry->d_type) << name;
      names.push_back(name);
    } else {
      EXPECT_EQ(DT_DIR, entry->d_type);
      EXPECT_TRUE(names.empty());
    }
  }
  return names;
}

Entries list(const std::string& dir) {
  DIR* directory = opendir(dir.c_str());
  EXPECT_NE(nullptr, directory);
  if (directory == nullptr) return {};
  Entries names = read_names(directory);
  closedir(directory);
  return names;
}

TEST_F(Naming, A7_NamesUpTo255Bytes) {
  in_new_namespace([](const std::string& dir) {
    const std::string longest(255, 'n');
    create(dir + "/" + longest);
    EXPECT_EQ(Entries{longest}, list(dir));
    const UniqueFd fd(open_queue(longest, O_RDWR));
    EXPECT_OK(fd.get());
    EXPECT_OK(unlink_queue(longest));
    EXPECT_EQ(Entries{}, list(dir));
  });
}

TEST_F(Naming, A7_LongerNamesAreRefusedByEveryOperation) {
  in_new_namespace([](const std::string& dir) {
    create(dir + "/a");
    for (const size_t length : {size_t{256}, size_t{1024}, size_t{2000}}) {
      const std::string name(length, 'n');
      const std::string path = dir + "/" + name;
      struct stat status {};
      EXPECT_ERRNO(ENAMETOOLONG, open(path.c_str(), O_RDWR)) << length;
      EXPECT_ERRNO(ENAMETOOLONG, open(path.c_str(), O_RDWR | O_CREAT, 0600)) << length;
      EXPECT_ERRNO(ENAMETOOLONG, open(path.c_str(), O_RDWR | O_CREAT | O_EXCL, 0600)) << length;
      EXPECT_ERRNO(ENAMETOOLONG, open(path.c_str(), O_PATH)) << length;
      EXPECT_ERRNO(ENAMETOOLONG, stat(path.c_str(), &status)) << length;
      EXPECT_ERRNO(ENAMETOOLONG, access(path.c_str(), F_OK)) << length;
      EXPECT_ERRNO(ENAMETOOLONG, chmod(path.c_str(), 0600)) << length;
      EXPECT_ERRNO(ENAMETOOLONG, truncate(path.c_str(), 0)) << length;
      EXPECT_ERRNO(ENAMETOOLONG, unlink(path.c_str())) << length;
      EXPECT_ERRNO(ENAMETOOLONG, rmdir(path.c_str())) << length;
      EXPECT_ERRNO(ENAMETOOLONG, mknod(path.c_str(), S_IFREG | 0600, 0)) << length;
      EXPECT_ERRNO(ENAMETOOLONG, mknod(path.c_str(), S_IFIFO | 0600, 0)) << length;
      EXPECT_ERRNO(ENAMETOOLONG, mkdir(path.c_str(), 0700)) << length;
      EXPECT_ERRNO(ENAMETOOLONG, symlink("a", path.c_str())) << length;
      EXPECT_ERRNO(ENAMETOOLONG, link((dir + "/a").c_str(), path.c_str())) << length;
      EXPECT_ERRNO(ENAMETOOLONG, rename((dir + "/a").c_str(), path.c_str())) << length;
      EXPECT_ERRNO(ENAMETOOLONG, rename(path.c_str(), (dir + "/b").c_str())) << length;
      EXPECT_ERRNO(ENAMETOOLONG, open_queue(name, O_RDWR)) << length;
      EXPECT_ERRNO(ENAMETOOLONG, open_queue(name, O_RDWR | O_CREAT)) << length;
      EXPECT_ERRNO(ENAMETOOLONG, unlink_queue(name)) << length;
    }
    EXPECT_EQ(Entries{"a"}, list(dir));
  });
}

TEST_F(Naming, A7_EveryByteButSlashAndNul) {
  in_new_namespace([](const std::string& dir) {
    Entries made;
    for (int byte = 1; byte < 256; ++byte) {
      if (byte == '/' || byte == '.') continue;
      const std::string name(1, static_cast<char>(byte));
      create_small(name);
      made.push_back(name);
    }
    std::reverse(made.begin(), made.end());
    EXPECT_EQ(made, list(dir));
    for (const std::string& name : made)
      EXPECT_OK(unlink((dir + "/" + name).c_str())) << name;
    for (const char* dots : {"...", ".a", "a.", "..a"}) {
      create(dir + "/" + dots);
      EXPECT_EQ(Entries{dots}, list(dir));
      EXPECT_OK(unlink_queue(dots));
    }
  });
}

TEST_F(Naming, A7_ReaddirShowsTheNewestFirst) {
  in_new_namespace([](const std::string& dir) {
    for (const char* name : {"b", "a", "c"})
      create(dir + "/" + name);
    EXPECT_EQ((Entries{"c", "a", "b"}), list(dir));
    ASSERT_OK(unlink((dir + "/a").c_str()));
    create(dir + "/a");
    EXPECT_EQ((Entries{"a", "c", "b"}), list(dir));
    const UniqueFd fd(open_queue("d", O_RDWR | O_CREAT));
    EXPECT_EQ((Entries{"d", "a", "c", "b"}), list(dir));
  });
}

TEST_F(Naming, A7_InodeNumbersOfReaddirAreThoseOfStat) {
  in_new_namespace([](const std::string& dir) {
    create(dir + "/a");
    DIR* directory = opendir(dir.c_str());
    ASSERT_NE(nullptr, directory);
    while (const dirent* entry = readdir(directory)) {
      if (entry->d_name == std::string("..")) continue;  // the mount point's parent for the kernel's VFS
      struct stat status {};
      ASSERT_OK(stat((dir + "/" + entry->d_name).c_str(), &status));
      EXPECT_EQ(status.st_ino, entry->d_ino) << entry->d_name;
    }
    closedir(directory);
  });
}

TEST_F(Naming, A7_AnOpenDirectoryFollowsRemovalAndRewind) {
  in_new_namespace([](const std::string& dir) {
    // More than one buffer of getdents.
    constexpr int kQueues = 200;
    for (int i = 0; i < kQueues; ++i)
      create_small(std::string(200, 'x') + std::to_string(i));
    DIR* directory = opendir(dir.c_str());
    ASSERT_NE(nullptr, directory);
    for (int i = 0; i < 2 + 1; ++i)
      ASSERT_NE(nullptr, readdir(directory));
    // The oldest are last: not read yet, and not in the buffer.
    for (int i = 0; i < 20; ++i)
      ASSERT_OK(unlink((dir + "/" + std::string(200, 'x') + std::to_string(i)).c_str()));
    Entries rest = read_names(directory);
    EXPECT_EQ(static_cast<size_t>(kQueues - 1 - 20), rest.size());
    std::sort(rest.begin(), rest.end());
    EXPECT_TRUE(std::adjacent_find(rest.begin(), rest.end()) == rest.end()) << "a name twice";
    rewinddir(directory);
    EXPECT_EQ(static_cast<size_t>(kQueues - 20), read_names(directory).size());
    closedir(directory);
  });
}

}  // namespace
}  // namespace mqueuefs::test
