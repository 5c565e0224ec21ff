// doc/behaviour.md A: the superblock, the directory, and what a file system of queues refuses. Names: naming_test.cc,
// mounts: mount_test.cc.
#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/unique_fd.h"
#include "support/child.h"
#include "support/credentials.h"
#include "support/expect.h"
#include "support/files.h"
#include "support/target.h"
#include "support/temp_dir.h"

namespace mqueuefs::test {
namespace {

class Superblock : public TargetTest {};

TEST_F(Superblock, A1_RootIsAStickyDirectoryWhoseSizeCountsEntries) {
  in_new_namespace([](const std::string& dir) {
    struct stat root = status_of(dir);
    EXPECT_EQ(041777u, root.st_mode);
    EXPECT_EQ(2u, root.st_nlink);
    EXPECT_EQ(40, root.st_size);
    EXPECT_EQ(4096, root.st_blksize);
    EXPECT_EQ(0, root.st_blocks);
    EXPECT_EQ(0u, root.st_uid);
    EXPECT_EQ(0u, root.st_gid);
    create(dir + "/a");
    create(dir + "/b");
    EXPECT_EQ(80, status_of(dir).st_size);
    ASSERT_OK(unlink((dir + "/a").c_str()));
    EXPECT_EQ(60, status_of(dir).st_size);
    EXPECT_EQ(2u, status_of(dir).st_nlink);
  });
}

TEST_F(Superblock, A1_QueuesHaveInodesOfTheirOwn) {
  in_new_namespace([](const std::string& dir) {
    create(dir + "/a");
    create(dir + "/b");
    EXPECT_NE(status_of(dir + "/a").st_ino, status_of(dir + "/b").st_ino);
    EXPECT_EQ(status_of(dir).st_dev, status_of(dir + "/a").st_dev);
  });
}

TEST_F(Superblock, A2_StatfsCountsNothing) {
  in_new_namespace([](const std::string& dir) {
    create(dir + "/a");
    struct statfs status {};
    ASSERT_OK(statfs(dir.c_str(), &status));
    EXPECT_EQ(4096, status.f_bsize);
    EXPECT_EQ(255, status.f_namelen);
    EXPECT_EQ(0u, status.f_blocks);
    EXPECT_EQ(0u, status.f_bfree);
    EXPECT_EQ(0u, status.f_bavail);
    EXPECT_EQ(0u, status.f_files);
    EXPECT_EQ(0u, status.f_ffree);
    if (MQ_DIFFERENCE("f_type is FUSE's")) {
      EXPECT_EQ(0x65735546, status.f_type);
    } else {
      EXPECT_EQ(0x19800202, status.f_type);
    }
  });
}

TEST_F(Superblock, A5_OpenAndMknodCreateQueuesWithTheDefaultAttributes) {
  in_new_namespace([](const std::string& dir) {
    create(dir + "/opened");
    ASSERT_OK(mknod((dir + "/made").c_str(), S_IFREG | 0600, 0));
    ASSERT_OK(mknod((dir + "/untyped").c_str(), 0600, 0));
    for (const char* name : {"opened", "made", "untyped"}) {
      const UniqueFd fd(open_queue(name, O_RDONLY));
      ASSERT_OK(fd.get()) << name;
      mq_attr attributes{};
      ASSERT_OK(get_attributes(fd.get(), &attributes));
      EXPECT_EQ(10, attributes.mq_maxmsg) << name;
      EXPECT_EQ(8192, attributes.mq_msgsize) << name;
      EXPECT_TRUE(S_ISREG(status_of(dir + "/" + name).st_mode));
    }
    EXPECT_ERRNO(EEXIST, mknod((dir + "/made").c_str(), S_IFREG | 0600, 0));
    EXPECT_ERRNO(EEXIST, open((dir + "/made").c_str(), O_RDWR | O_CREAT | O_EXCL, 0600));
  });
}

TEST_F(Superblock, A5_NothingButAQueueCanBeMade) {
  in_new_namespace([](const std::string& dir) {
    create(dir + "/a");
    const std::string fresh = dir + "/fresh";
    for (const mode_t type : {S_IFIFO, S_IFSOCK, S_IFCHR, S_IFBLK}) {
      EXPECT_ERRNO(EPERM, mknod(fresh.c_str(), type | 0600, 0)) << std::oct << type;
    }
    EXPECT_ERRNO(EPERM, mkdir(fresh.c_str(), 0700));
    EXPECT_ERRNO(EPERM, link((dir + "/a").c_str(), fresh.c_str()));
    EXPECT_ERRNO(EPERM, symlink("a", fresh.c_str()));
    const UniqueFd bound(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{AF_UNIX, ""};
    ASSERT_LT(fresh.size(), sizeof address.sun_path);
    fresh.copy(address.sun_path, fresh.size());
    EXPECT_ERRNO(EPERM, bind(bound.get(), reinterpret_cast<sockaddr*>(&address), sizeof address));
    EXPECT_ERRNO(ENOENT, access(fresh.c_str(), F_OK));
    // An existing name is the VFS's answer, before the file system's.
    EXPECT_ERRNO(EEXIST, mkdir((dir + "/a").c_str(), 0700));
    EXPECT_ERRNO(EEXIST, symlink("a", (dir + "/a").c_str()));
    EXPECT_ERRNO(EEXIST, mknod((dir + "/a").c_str(), S_IFIFO | 0600, 0));
  });
}

TEST_F(Superblock, A5_RenameIsRefusedWithEveryFlag) {
  in_new_namespace([](const std::string& dir) {
    create(dir + "/a");
    create(dir + "/b");
    const std::string a = dir + "/a", b = dir + "/b", fresh = dir + "/fresh";
    const auto rename_with = [](const std::string& from, const std::string& to, unsigned flags) {
      return renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), flags);
    };
    EXPECT_ERRNO(EPERM, rename_with(a, fresh, 0));
    EXPECT_ERRNO(EPERM, rename_with(a, b, 0));
    EXPECT_ERRNO(EPERM, rename_with(a, fresh, RENAME_NOREPLACE));
    EXPECT_ERRNO(EEXIST, rename_with(a, b, RENAME_NOREPLACE));
    EXPECT_ERRNO(EPERM, rename_with(a, b, RENAME_EXCHANGE));
    EXPECT_ERRNO(ENOENT, rename_with(a, fresh, RENAME_EXCHANGE));
    EXPECT_ERRNO(EPERM, rename_with(a, fresh, RENAME_WHITEOUT));
    EXPECT_ERRNO(EINVAL, rename_with(a, fresh, RENAME_NOREPLACE | RENAME_EXCHANGE));
    EXPECT_ERRNO(EINVAL, rename_with(a, fresh, 1u << 20));
    EXPECT_OK(access(a.c_str(), F_OK));
    EXPECT_OK(access(b.c_str(), F_OK));
    EXPECT_ERRNO(ENOENT, access(fresh.c_str(), F_OK));
  });
}

TEST_F(Superblock, A6_WhatTheVfsAnswersItself) {
  in_new_namespace([](const std::string& dir) {
    create(dir + "/a");
    const std::string a = dir + "/a";
    EXPECT_OK(rename(a.c_str(), a.c_str()));
    EXPECT_ERRNO(ENOENT, rename((dir + "/missing").c_str(), (dir + "/fresh").c_str()));
    EXPECT_ERRNO(EXDEV, rename(a.c_str(), (dir + ".elsewhere").c_str()));
    EXPECT_ERRNO(EXDEV, rename("/proc/self/comm", (dir + "/fresh").c_str()));
    EXPECT_ERRNO(EXDEV, link(a.c_str(), (dir + ".elsewhere").c_str()));
    EXPECT_ERRNO(ENOTDIR, rmdir(a.c_str()));
    EXPECT_ERRNO(ENOENT, rmdir((dir + "/missing").c_str()));
    EXPECT_ERRNO(ENOENT, unlink((dir + "/missing").c_str()));
    EXPECT_ERRNO(EOPNOTSUPP, open(dir.c_str(), O_TMPFILE | O_RDWR, 0600));
    EXPECT_ERRNO(ENOTDIR, open(a.c_str(), O_RDONLY | O_DIRECTORY));
    EXPECT_ERRNO(ENOTDIR, open((a + "/b").c_str(), O_RDONLY | O_CREAT, 0600));
    EXPECT_ERRNO(EBUSY, rmdir(dir.c_str()));
    EXPECT_ERRNO(EISDIR, open(dir.c_str(), O_RDWR));
  });
}

TEST_F(Superblock, A8_StickyRootKeepsForeignQueues) {
  in_new_namespace([](const std::string& dir) {
    create(dir + "/of_root", 0666);
    run_as(kAlice, [&] {
      EXPECT_ERRNO(EPERM, unlink((dir + "/of_root").c_str()));
      EXPECT_ERRNO(EPERM, unlink_queue("of_root"));
      create(dir + "/of_alice", 0666);
      create(dir + "/second_of_alice", 0666);
      EXPECT_OK(unlink((dir + "/second_of_alice").c_str()));
    });
    run_as(kBob, [&] { EXPECT_ERRNO(EPERM, unlink((dir + "/of_alice").c_str())); });
    // Whoever owns the directory may.
    ASSERT_OK(chown(dir.c_str(), kBob, kBob));
    run_as(kBob, [&] { EXPECT_OK(unlink((dir + "/of_alice").c_str())); });
    EXPECT_OK(unlink((dir + "/of_root").c_str()));
  });
}

TEST_F(Superblock, A8_CreateAndUnlinkNeedWriteAndSearchPermissionOfTheRoot) {
  in_new_namespace([](const std::string& dir) {
    run_as(kAlice, [&] { create(dir + "/a"); });
    ASSERT_OK(chmod(dir.c_str(), 01755));
    run_as(kAlice, [&] {
      EXPECT_ERRNO(EACCES, open((dir + "/fresh").c_str(), O_RDWR | O_CREAT, 0600));
      EXPECT_ERRNO(EACCES, mknod((dir + "/fresh").c_str(), S_IFREG | 0600, 0));
      EXPECT_ERRNO(EACCES, open_queue("fresh", O_RDWR | O_CREAT));
      EXPECT_ERRNO(EACCES, unlink((dir + "/a").c_str()));
      EXPECT_ERRNO(EACCES, unlink_queue("a"));
      const UniqueFd existing(open_queue("a", O_RDWR | O_CREAT));
      EXPECT_OK(existing.get());
    });
    ASSERT_OK(chmod(dir.c_str(), 01776));
    run_as(kAlice, [&] {
      EXPECT_ERRNO(EACCES, open((dir + "/fresh").c_str(), O_RDWR | O_CREAT, 0600));
      EXPECT_ERRNO(EACCES, open_queue("fresh", O_RDWR | O_CREAT));
      EXPECT_ERRNO(EACCES, unlink((dir + "/a").c_str()));
      EXPECT_ERRNO(EACCES, unlink_queue("a"));
    });
  });
}

TEST_F(Superblock, A9_MqOpenOfAnExistingQueueLooksAtTheQueueOnly) {
  in_new_namespace([](const std::string& dir) {
    create(dir + "/a", 0666);
    ASSERT_OK(chmod(dir.c_str(), 0700));
    run_as(kAlice, [&] {
      EXPECT_ERRNO(EACCES, open((dir + "/a").c_str(), O_RDWR));
      if (MQ_DIFFERENCE("mq_open is an openat under the root, which needs search permission of it")) {
        EXPECT_ERRNO(EACCES, open_queue("a", O_RDWR));
      } else {
        const UniqueFd fd(open_queue("a", O_RDWR));
        EXPECT_OK(fd.get());
      }
    });
    ASSERT_OK(chmod(dir.c_str(), 0755));
    run_as(kAlice, [&] {
      const UniqueFd fd(open_queue("a", O_RDWR));
      EXPECT_OK(fd.get());
    });
    ASSERT_OK(chmod((dir + "/a").c_str(), 0644));
    run_as(kAlice, [&] { EXPECT_ERRNO(EACCES, open_queue("a", O_RDWR)); });
  });
}

TEST_F(Superblock, A10_OwnersAndRootChangeModeOwnerAndTimes) {
  in_new_namespace([](const std::string& dir) {
    run_as(kAlice, [&] {
      create(dir + "/a", 0600);
      EXPECT_OK(chmod((dir + "/a").c_str(), 0640));
      EXPECT_OK(chown((dir + "/a").c_str(), kAlice, kAlice));
      EXPECT_ERRNO(EPERM, chown((dir + "/a").c_str(), kBob, kAlice));
      EXPECT_ERRNO(EPERM, chown((dir + "/a").c_str(), kAlice, kBob));
      EXPECT_ERRNO(EPERM, chmod(dir.c_str(), 0777));
      EXPECT_ERRNO(EPERM, chown(dir.c_str(), kAlice, kAlice));
    });
    EXPECT_EQ(0100640u, status_of(dir + "/a").st_mode);
    run_as(kBob, [&] {
      EXPECT_ERRNO(EPERM, chmod((dir + "/a").c_str(), 0666));
      const timespec times[2] = {{1000, 0}, {2000, 0}};
      EXPECT_ERRNO(EPERM, utimensat(AT_FDCWD, (dir + "/a").c_str(), times, 0));
      EXPECT_ERRNO(EACCES, utimensat(AT_FDCWD, (dir + "/a").c_str(), nullptr, 0));
    });
    ASSERT_OK(chown((dir + "/a").c_str(), kBob, kBob));
    EXPECT_EQ(kBob, status_of(dir + "/a").st_uid);
    EXPECT_EQ(kBob, status_of(dir + "/a").st_gid);
    for (const std::string& path : {dir, dir + "/a"}) {
      const timespec times[2] = {{1000, 0}, {2000, 0}};
      EXPECT_OK(utimensat(AT_FDCWD, path.c_str(), times, 0));
      EXPECT_EQ(1000, status_of(path).st_atime);
      EXPECT_EQ(2000, status_of(path).st_mtime);
    }
    EXPECT_OK(chmod(dir.c_str(), 0750));
    EXPECT_EQ(040750u, status_of(dir).st_mode);
    EXPECT_OK(chown(dir.c_str(), kAlice, kBob));
    EXPECT_EQ(kAlice, status_of(dir).st_uid);
    EXPECT_EQ(kBob, status_of(dir).st_gid);
  });
}

TEST_F(Superblock, A10_ChownClearsSetUserId) {
  in_new_namespace([](const std::string& dir) {
    const std::string a = dir + "/a";
    create(a, 0600);
    ASSERT_OK(chmod(a.c_str(), 06755));
    EXPECT_EQ(0106755u, status_of(a).st_mode);
    ASSERT_OK(chown(a.c_str(), kAlice, kAlice));
    EXPECT_EQ(0100755u, status_of(a).st_mode);
  });
}

TEST_F(Superblock, A11_NoExtendedAttributes) {
  in_new_namespace([](const std::string& dir) {
    create(dir + "/a");
    for (const std::string& path : {dir, dir + "/a"}) {
      char value[64] = "1";
      for (const char* name : {"user.x", "trusted.x", "security.x"}) {
        EXPECT_ERRNO(EOPNOTSUPP, setxattr(path.c_str(), name, value, 1, 0)) << path << name;
        EXPECT_ERRNO(EOPNOTSUPP, getxattr(path.c_str(), name, value, sizeof value)) << path << name;
        EXPECT_ERRNO(EOPNOTSUPP, removexattr(path.c_str(), name)) << path << name;
      }
      EXPECT_EQ(0, listxattr(path.c_str(), value, sizeof value));
      EXPECT_EQ(0, listxattr(path.c_str(), nullptr, 0));
    }
  });
}

TEST_F(Superblock, A11_NoAccessControlLists) {
  in_new_namespace([](const std::string& dir) {
    create(dir + "/a");
    // Version 2; then entries of 2 bytes tag, 2 permissions, 4 id: owner, group, other (acl(5), in xattr
    // form).
    const unsigned char acl[] = {2, 0, 0,    0,    1,    0,    6,    0, 0xff, 0xff, 0xff, 0xff, 4,    0,
                                 4, 0, 0xff, 0xff, 0xff, 0xff, 0x20, 0, 4,    0,    0xff, 0xff, 0xff, 0xff};
    for (const std::string& path : {dir, dir + "/a"}) {
      char value[64];
      const char* name = "system.posix_acl_access";
      EXPECT_ERRNO(EOPNOTSUPP, setxattr(path.c_str(), name, acl, sizeof acl, 0));
      EXPECT_ERRNO(EINVAL, setxattr(path.c_str(), name, acl, 3, 0));
      if (MQ_DIFFERENCE("FUSE reads an access control list as absent; to refuse it would cost ls -l a request a file")) {
        EXPECT_ERRNO(ENODATA, getxattr(path.c_str(), name, value, sizeof value));
      } else {
        EXPECT_ERRNO(EOPNOTSUPP, getxattr(path.c_str(), name, value, sizeof value));
      }
      EXPECT_ERRNO(EOPNOTSUPP, removexattr(path.c_str(), name));
    }
  });
}

}  // namespace
}  // namespace mqueuefs::test
