// doc/behaviour.md B5: what a queue answers to the file operations that mean nothing to it.
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/unique_fd.h"
#include "support/child.h"
#include "support/expect.h"
#include "support/target.h"
#include "support/temp_dir.h"

namespace mqueuefs::test {
namespace {

class FileOperations : public TargetTest {
 protected:
  // The body gets a descriptor of a fresh queue, open for reading and writing, and its path.
  void with_queue(const std::function<void(int fd, const std::string& path)>& body) {
    in_new_namespace([&](const std::string& dir) {
      const std::string path = dir + "/a";
      const UniqueFd fd(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
      ASSERT_OK(fd.get());
      body(fd.get(), path);
    });
  }
};

TEST_F(FileOperations, B5_WritingIsInvalid) {
  with_queue([](int fd, const std::string& path) {
    EXPECT_ERRNO(EINVAL, write(fd, "x", 1));
    EXPECT_ERRNO(EINVAL, pwrite(fd, "x", 1, 0));
    EXPECT_ERRNO(EINVAL, write(fd, std::string(100'000, 'x').data(), 100'000));
    if (MQ_DIFFERENCE("FUSE answers a write of nothing itself")) {
      EXPECT_EQ(0, write(fd, "x", 0));
    } else {
      EXPECT_ERRNO(EINVAL, write(fd, "x", 0));
    }
    const UniqueFd appending(open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
    EXPECT_ERRNO(EINVAL, write(appending.get(), "x", 1));
    struct stat status {};
    ASSERT_OK(fstat(fd, &status));
    EXPECT_EQ(80, status.st_size);
  });
}

TEST_F(FileOperations, B5_ThereIsNothingToSynchronize) {
  with_queue([](int fd, const std::string& path) {
    EXPECT_ERRNO(EINVAL, fsync(fd));
    EXPECT_ERRNO(EINVAL, fdatasync(fd));
    EXPECT_OK(syncfs(fd));
    EXPECT_OK(sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE));
    const UniqueFd directory(open(path.substr(0, path.rfind('/')).c_str(), O_RDONLY | O_CLOEXEC));
    EXPECT_OK(fsync(directory.get()));
    EXPECT_OK(fdatasync(directory.get()));
  });
}

TEST_F(FileOperations, B5_NoSpaceToAllocate) {
  with_queue([](int fd, const std::string&) {
    for (const int mode : {0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                           FALLOC_FL_ZERO_RANGE, FALLOC_FL_COLLAPSE_RANGE, FALLOC_FL_INSERT_RANGE}) {
      EXPECT_ERRNO(EOPNOTSUPP, fallocate(fd, mode, 0, 4096)) << mode;
    }
    EXPECT_ERRNO(EINVAL, fallocate(fd, 0, 0, 0));
    EXPECT_OK(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
    EXPECT_EQ(0, posix_fadvise(fd, 0, 0, POSIX_FADV_WILLNEED));
  });
}

TEST_F(FileOperations, B5_CannotBeMapped) {
  with_queue([](int fd, const std::string&) {
    EXPECT_ERRNO(ENODEV, mmap(nullptr, 4096, PROT_READ, MAP_SHARED, fd, 0));
    EXPECT_ERRNO(ENODEV, mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    if (MQ_DIFFERENCE("FUSE maps privately what is opened for direct_io")) {
      EXPECT_OK(mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE, fd, 0));
    } else {
      EXPECT_ERRNO(ENODEV, mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE, fd, 0));
    }
  });
}

TEST_F(FileOperations, B5_DirectIsRefused) {
  with_queue([](int fd, const std::string& path) {
    EXPECT_ERRNO(EINVAL, open(path.c_str(), O_RDWR | O_DIRECT));
    const int flags = fcntl(fd, F_GETFL);
    if (MQ_DIFFERENCE("FUSE does not ask its server about F_SETFL")) {
      EXPECT_OK(fcntl(fd, F_SETFL, flags | O_DIRECT));
    } else {
      EXPECT_ERRNO(EINVAL,
                   fcntl(fd, F_SETFL, flags | O_DIRECT));  // doc/behaviour.md B5
    }
    EXPECT_OK(fcntl(fd, F_SETFL, flags | O_APPEND | O_NONBLOCK));
    EXPECT_EQ(O_APPEND | O_NONBLOCK, fcntl(fd, F_GETFL) & (O_APPEND | O_NONBLOCK | O_DIRECT));
  });
}

TEST_F(FileOperations, B5_IoctlsThatAQueueDoesNotKnow) {
  with_queue([](int fd, const std::string&) {
    int value = 0;
    EXPECT_ERRNO(ENOTTY, ioctl(fd, TCGETS, &value));
    EXPECT_ERRNO(ENOTTY, ioctl(fd, _IOWR('Q', 99, long), &value));
    EXPECT_ERRNO(ENOTTY, ioctl(fd, _IO('Q', 99)));
    EXPECT_ERRNO(ENOTTY, ioctl(fd, FS_IOC_GETFLAGS, &value));
    EXPECT_ERRNO(ENOTTY, ioctl(fd, FS_IOC_SETFLAGS, &value));
    EXPECT_ERRNO(ENOTTY, ioctl(fd, 0));
  });
}

TEST_F(FileOperations, B5_IoctlsOfTheVfs) {
  with_queue([](int fd, const std::string&) {
    int on = 1, value = 0;
    EXPECT_OK(ioctl(fd, FIONBIO, &on));
    EXPECT_EQ(O_NONBLOCK, fcntl(fd, F_GETFL) & O_NONBLOCK);
    on = 0;
    EXPECT_OK(ioctl(fd, FIONBIO, &on));
    EXPECT_EQ(0, fcntl(fd, F_GETFL) & O_NONBLOCK);
    on = 1;
    EXPECT_ERRNO(ENOTTY, ioctl(fd, FIOASYNC, &on));
    EXPECT_OK(ioctl(fd, FIONREAD, &value));
    EXPECT_EQ(80, value);
    EXPECT_OK(ioctl(fd, FIGETBSZ, &value));
    EXPECT_EQ(4096, value);
    EXPECT_OK(ioctl(fd, FIOCLEX));
    EXPECT_EQ(FD_CLOEXEC, fcntl(fd, F_GETFD));
    alignas(fiemap) char extents[sizeof(fiemap)] = {};
    EXPECT_ERRNO(EOPNOTSUPP, ioctl(fd, FS_IOC_FIEMAP, extents));
    EXPECT_ERRNO(EOPNOTSUPP, ioctl(fd, FICLONE, fd));
  });
}

TEST_F(FileOperations, B5_LocksWork) {
  with_queue([](int fd, const std::string& path) {
    ASSERT_OK(flock(fd, LOCK_EX));
    const UniqueFd second(open(path.c_str(), O_RDWR | O_CLOEXEC));
    EXPECT_ERRNO(EWOULDBLOCK, flock(second.get(), LOCK_EX | LOCK_NB));
    ASSERT_OK(flock(fd, LOCK_UN));
    EXPECT_OK(flock(second.get(), LOCK_SH | LOCK_NB));

    struct flock lock {};
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    lock.l_len = 10;
    ASSERT_OK(fcntl(fd, F_SETLK, &lock));
    run_in_child([&] {
      const UniqueFd own(open(path.c_str(), O_RDWR | O_CLOEXEC));
      struct flock foreign = lock;
      EXPECT_ERRNO(EAGAIN, fcntl(own.get(), F_SETLK, &foreign));
      ASSERT_OK(fcntl(own.get(), F_GETLK, &foreign));
      EXPECT_EQ(F_WRLCK, foreign.l_type);
      EXPECT_EQ(getppid(), foreign.l_pid);
      foreign = lock;
      foreign.l_start = 10;
      EXPECT_OK(fcntl(own.get(), F_SETLK, &foreign));
    });
    lock.l_type = F_UNLCK;
    EXPECT_OK(fcntl(fd, F_SETLK, &lock));
    lock.l_type = F_WRLCK;
    lock.l_pid = 0;
    EXPECT_OK(fcntl(fd, F_OFD_SETLK, &lock));
    EXPECT_ERRNO(EAGAIN, fcntl(second.get(), F_OFD_SETLK, &lock));
  });
}

TEST_F(FileOperations, B5_LeasesAreAsTheVfsSays) {
  in_new_namespace([](const std::string& dir) {
    const std::string a = dir + "/a";
    ASSERT_OK(mknod(a.c_str(), S_IFREG | 0600, 0));
    UniqueFd reader(open(a.c_str(), O_RDONLY | O_CLOEXEC));
    EXPECT_EQ(F_UNLCK, fcntl(reader.get(), F_GETLEASE));
    EXPECT_OK(fcntl(reader.get(), F_SETLEASE, F_RDLCK));
    EXPECT_EQ(F_RDLCK, fcntl(reader.get(), F_GETLEASE));
    EXPECT_OK(fcntl(reader.get(), F_SETLEASE, F_UNLCK));
    const UniqueFd writer(open(a.c_str(), O_RDWR | O_CLOEXEC));
    EXPECT_ERRNO(EAGAIN, fcntl(reader.get(), F_SETLEASE, F_RDLCK));
    EXPECT_ERRNO(EAGAIN, fcntl(writer.get(), F_SETLEASE, F_WRLCK));
    reader.reset();
    EXPECT_OK(fcntl(writer.get(), F_SETLEASE, F_WRLCK));
    EXPECT_OK(fcntl(writer.get(), F_SETLEASE, F_UNLCK));
  });
}

TEST_F(FileOperations, B5_NothingIsCopiedInOrOutBehindItsBack) {
  with_queue([](int fd, const std::string&) {
    const TempDir elsewhere;
    const UniqueFd file(open((elsewhere / "file").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    ASSERT_EQ(4, write(file.get(), "text", 4));
    int ends[2];
    ASSERT_OK(pipe2(ends, O_CLOEXEC | O_NONBLOCK));
    const UniqueFd out(ends[0]), in(ends[1]);
    off_t start = 0;
    // Into the queue.
    EXPECT_ERRNO(EINVAL, sendfile(fd, file.get(), &start, 4));
    ASSERT_EQ(1, write(in.get(), "x", 1));
    EXPECT_ERRNO(EINVAL, splice(out.get(), nullptr, fd, nullptr, 1, SPLICE_F_NONBLOCK));
    start = 0;
    loff_t to = 0;
    EXPECT_ERRNO(EXDEV, copy_file_range(file.get(), &start, fd, &to, 4, 0));
    // Out of it.
    start = 0;
    if (MQ_DIFFERENCE("FUSE reads for splice and sendfile by itself")) {
      EXPECT_EQ(4, sendfile(file.get(), fd, &start, 4));
      EXPECT_EQ(1, splice(fd, nullptr, in.get(), nullptr, 1, SPLICE_F_NONBLOCK));
    } else {
      EXPECT_ERRNO(EINVAL, sendfile(file.get(), fd, &start, 4));
      EXPECT_ERRNO(EINVAL, splice(fd, nullptr, in.get(), nullptr, 1, SPLICE_F_NONBLOCK));
    }
    start = 0;
    to = 0;
    EXPECT_ERRNO(EXDEV, copy_file_range(fd, &start, file.get(), &to, 4, 0));
    // From one queue to another.
    const UniqueFd second(open_queue("second", O_RDWR | O_CREAT));
    start = 0;
    EXPECT_ERRNO(EINVAL, copy_file_range(fd, &start, second.get(), &to, 4, 0));
  });
}

TEST_F(FileOperations, B5_OtherCallsOnTheDescriptor) {
  with_queue([](int fd, const std::string&) {
    char buffer[512];
    EXPECT_ERRNO(ENOTDIR, syscall(SYS_getdents64, fd, buffer, sizeof buffer));
    EXPECT_ERRNO(ENOTDIR, fchdir(fd));
    EXPECT_ERRNO(ENOENT, readlinkat(fd, "", buffer, sizeof buffer));
    EXPECT_OK(fcntl(fd, F_SETOWN, getpid()));
    EXPECT_ERRNO(EBADF, fcntl(fd, F_SETPIPE_SZ, 4096));
    EXPECT_ERRNO(EINVAL, fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
  });
}

}  // namespace
}  // namespace mqueuefs::test
