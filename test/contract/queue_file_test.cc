// doc/behaviour.md B1..B4, B6..B9: a queue as a file: what stat, read, seek, truncate, open and unlink make of it. What
// it refuses: file_operations_test.cc; times: times_test.cc.
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "base/unique_fd.h"
#include "support/child.h"
#include "support/credentials.h"
#include "support/expect.h"
#include "support/files.h"
#include "support/target.h"
#include "support/wait.h"

namespace mqueuefs::test {
namespace {

class QueueFile : public TargetTest {};

// As the kernel formats it; 60 bytes while the numbers are short.
std::string status_line(unsigned long qsize, int notify = 0, int signo = 0, int notify_pid = 0) {
  char line[128];
  snprintf(line, sizeof line, "QSIZE:%-10lu NOTIFY:%-5d SIGNO:%-5d NOTIFY_PID:%-6d\n", qsize, notify, signo,
           notify_pid);
  return line;
}

std::string read_text(const std::string& path) {
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  char text[256];
  const ssize_t n = read(fd.get(), text, sizeof text);
  return n < 0 ? std::string("<") + errno_name(errno) + ">" : std::string(text, static_cast<size_t>(n));
}

// The same through a descriptor that is open already: closing one would unregister the caller (doc/behaviour.md F7).
std::string read_text(int fd) {
  char text[256];
  const ssize_t n = pread(fd, text, sizeof text, 0);
  return n < 0 ? std::string("<") + errno_name(errno) + ">" : std::string(text, static_cast<size_t>(n));
}

sigevent event_of(int type, int signo = 0) {
  sigevent event{};
  event.sigev_notify = type;
  event.sigev_signo = signo;
  return event;
}

TEST_F(QueueFile, B1_SizeIs80AndOwnerIsTheCreator) {
  in_new_namespace([](const std::string& dir) {
    const UniqueFd fd(open_queue("a", O_RDWR | O_CREAT, 0600));
    ASSERT_OK(send(fd.get(), "some payload"));
    const struct stat status = status_of(dir + "/a");
    EXPECT_EQ(80, status.st_size);
    EXPECT_EQ(1u, status.st_nlink);
    EXPECT_EQ(0, status.st_blocks);
    EXPECT_EQ(4096, status.st_blksize);
    EXPECT_EQ(0u, status.st_uid);
    run_as(kAlice, [&] {
      const UniqueFd of_alice(open((dir + "/b").c_str(), O_RDWR | O_CREAT, 0600));
      EXPECT_OK(of_alice.get());
    });
    EXPECT_EQ(kAlice, status_of(dir + "/b").st_uid);
    EXPECT_EQ(kAlice, status_of(dir + "/b").st_gid);
  });
}

TEST_F(QueueFile, B1_ModeIsKeptWithAllTwelveBitsLessTheUmask) {
  in_new_namespace([](const std::string& dir) {
    UniqueFd fd(open((dir + "/opened").c_str(), O_RDWR | O_CREAT, 07777));
    fd.reset(open_queue("mq_opened", O_RDWR | O_CREAT, 07777));
    EXPECT_OK(mknod((dir + "/made").c_str(), S_IFREG | 07777, 0));
    for (const char* name : {"/opened", "/mq_opened", "/made"}) {
      EXPECT_EQ(0107777u, status_of(dir + name).st_mode) << name;
      EXPECT_OK(unlink((dir + name).c_str()));
    }
    umask(0027);
    fd.reset(open((dir + "/opened").c_str(), O_RDWR | O_CREAT, 0666));
    fd.reset(open_queue("mq_opened", O_RDWR | O_CREAT, 0666));
    EXPECT_OK(mknod((dir + "/made").c_str(), S_IFREG | 0666, 0));
    for (const char* name : {"/opened", "/mq_opened", "/made"}) {
      EXPECT_EQ(0100640u, status_of(dir + name).st_mode) << name;
    }
  });
}

TEST_F(QueueFile, B1_OwnerIsTheFileSystemUidAndGidEvenUnderASetGroupIdRoot) {
  in_new_namespace([](const std::string& dir) {
    ASSERT_OK(chown(dir.c_str(), 0, kBob));
    ASSERT_OK(chmod(dir.c_str(), 03777));
    run_in_child([&] {
      setfsgid(kAlice);
      setfsuid(kAlice);
      UniqueFd fd(open_queue("mq_opened", O_RDWR | O_CREAT, 0600));
      EXPECT_OK(fd.get());
      fd.reset(open((dir + "/opened").c_str(), O_RDWR | O_CREAT, 0600));
      EXPECT_OK(fd.get());
    });
    for (const char* name : {"/mq_opened", "/opened"}) {
      EXPECT_EQ(kAlice, status_of(dir + name).st_uid) << name;
      EXPECT_EQ(kAlice, status_of(dir + name).st_gid) << name;
    }
  });
}

TEST_F(QueueFile, B2_ReadTellsTheState) {
  in_new_namespace([](const std::string& dir) {
    const UniqueFd fd(open_queue("a", O_RDWR | O_CREAT));
    EXPECT_EQ("QSIZE:0          NOTIFY:0     SIGNO:0     NOTIFY_PID:0     \n", read_text(dir + "/a"));
    ASSERT_OK(send(fd.get(), std::string(8192, 'x')));
    EXPECT_EQ("QSIZE:8192       NOTIFY:0     SIGNO:0     NOTIFY_PID:0     \n", read_text(dir + "/a"));
  });
}

TEST_F(QueueFile, B3_QsizeIsTheSumOfThePayloads) {
  in_new_namespace([](const std::string& dir) {
    const UniqueFd fd(create_queue("a", 4, 100));
    ASSERT_OK(send(fd.get(), "12345", 1));
    ASSERT_OK(send(fd.get(), "", 2));
    ASSERT_OK(send(fd.get(), std::string(100, 'x')));
    EXPECT_EQ(status_line(105), read_text(dir + "/a"));
    EXPECT_EQ("", receive_text(fd.get()));
    EXPECT_EQ(status_line(105), read_text(dir + "/a"));
    EXPECT_EQ("12345", receive_text(fd.get()));
    EXPECT_EQ(status_line(100), read_text(dir + "/a"));
  });
}

TEST_F(QueueFile, B3_NotifyTellsTheKindOfRegistration) {
  in_new_namespace([](const std::string&) {
    const UniqueFd fd(open_queue("a", O_RDWR | O_CREAT));
    sigevent event = event_of(SIGEV_SIGNAL, SIGUSR1);
    ASSERT_OK(notify(fd.get(), &event));
    EXPECT_EQ(status_line(0, 0, SIGUSR1, getpid()), read_text(fd.get()));
    ASSERT_OK(notify(fd.get(), nullptr));
    EXPECT_EQ(status_line(0), read_text(fd.get()));
    event = event_of(SIGEV_NONE);
    ASSERT_OK(notify(fd.get(), &event));
    EXPECT_EQ(status_line(0, 1, 0, getpid()), read_text(fd.get()));
    ASSERT_OK(notify(fd.get(), nullptr));
    event = event_of(SIGEV_THREAD);
    event.sigev_notify_function = [](sigval) {};
    ASSERT_OK(notify(fd.get(), &event));
    EXPECT_EQ(status_line(0, 2, 0, getpid()), read_text(fd.get()));
    ASSERT_OK(notify(fd.get(), nullptr));
    // Used up: nobody is registered, and nothing is left of it.
    event = event_of(SIGEV_NONE);
    ASSERT_OK(notify(fd.get(), &event));
    ASSERT_OK(send(fd.get(), "x"));
    EXPECT_EQ(status_line(1), read_text(fd.get()));
  });
}

TEST_F(QueueFile, B3_NotifyPidIsTheProcessAsTheReaderNumbersIt) {
  in_new_namespace([](const std::string& dir) {
    ASSERT_OK(mknod((dir + "/inside").c_str(), S_IFREG | 0600, 0));
    const UniqueFd outside(open_queue("outside", O_RDWR | O_CREAT));
    sigevent event = event_of(SIGEV_SIGNAL, SIGUSR1);
    ASSERT_OK(notify(outside.get(), &event));
    ASSERT_OK(unshare(CLONE_NEWPID));
    Gate registered, looked;
    Companion first([&] {
      EXPECT_EQ(1, getpid());
      const UniqueFd fd(open_queue("inside", O_RDWR));
      const sigevent own = event_of(SIGEV_SIGNAL, SIGUSR2);
      EXPECT_OK(notify(fd.get(), &own));
      EXPECT_EQ(status_line(0, 0, SIGUSR2, 1), read_text(fd.get()));
      EXPECT_EQ(status_line(0, 0, SIGUSR1, 0), read_text(dir + "/outside")) << "not visible from in here";
      registered.open();
      looked.wait();
    });
    registered.wait();
    EXPECT_EQ(status_line(0, 0, SIGUSR2, first.pid()), read_text(dir + "/inside"));
    EXPECT_EQ(status_line(0, 0, SIGUSR1, getpid()), read_text(outside.get()));
    looked.open();
  });
}

TEST_F(QueueFile, B4_ReadAndSeekUseTheOffset) {
  in_new_namespace([](const std::string& dir) {
    const std::string a = dir + "/a";
    const UniqueFd fd(open(a.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    const std::string line = status_line(0);
    char text[100] = {};
    EXPECT_EQ(5, pread(fd.get(), text, 5, 6));
    EXPECT_EQ(line.substr(6, 5), text);
    EXPECT_EQ(0, pread(fd.get(), text, 5, 60));
    EXPECT_EQ(0, pread(fd.get(), text, 5, 1000));
    EXPECT_ERRNO(EINVAL, pread(fd.get(), text, 5, -1));
    // Piece by piece, and scattered.
    std::string whole;
    for (ssize_t n = 7; n > 0;) {
      n = read(fd.get(), text, 7);
      EXPECT_OK(n);
      whole.append(text, static_cast<size_t>(n));
    }
    EXPECT_EQ(line, whole);
    char first[10], second[80];
    const iovec pieces[] = {{first, sizeof first}, {second, sizeof second}};
    EXPECT_EQ(60, preadv(fd.get(), pieces, 2, 0));
    EXPECT_EQ(line, std::string(first, 10) + std::string(second, 50));
    EXPECT_EQ(80, lseek(fd.get(), 0, SEEK_END));
    EXPECT_EQ(0, read(fd.get(), text, sizeof text));
    EXPECT_EQ(10, lseek(fd.get(), 10, SEEK_SET));
    EXPECT_EQ(12, lseek(fd.get(), 2, SEEK_CUR));
    EXPECT_EQ(48, read(fd.get(), text, sizeof text));
    EXPECT_EQ(60, lseek(fd.get(), 0, SEEK_CUR));
    EXPECT_ERRNO(EINVAL, lseek(fd.get(), -1, SEEK_SET));
    EXPECT_EQ(0, lseek(fd.get(), 0, SEEK_DATA));
    EXPECT_EQ(79, lseek(fd.get(), 79, SEEK_DATA));
    EXPECT_ERRNO(ENXIO, lseek(fd.get(), 80, SEEK_DATA));
    EXPECT_EQ(80, lseek(fd.get(), 0, SEEK_HOLE));
    EXPECT_ERRNO(ENXIO, lseek(fd.get(), 80, SEEK_HOLE));
    EXPECT_ERRNO(EINVAL, lseek(fd.get(), 0, 17));
  });
}

TEST_F(QueueFile, B4_AccessModeIsChecked) {
  in_new_namespace([](const std::string& dir) {
    const std::string a = dir + "/a";
    char text[100];
    const UniqueFd writer(open(a.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    EXPECT_ERRNO(EBADF, read(writer.get(), text, sizeof text));
    const UniqueFd reader(open(a.c_str(), O_RDONLY | O_CLOEXEC));
    EXPECT_ERRNO(EBADF, write(reader.get(), "x", 1));
    EXPECT_EQ(60, read(reader.get(), text, sizeof text));
  });
}

TEST_F(QueueFile, B6_TruncateChangesSizeOnly) {
  in_new_namespace([](const std::string& dir) {
    const std::string a = dir + "/a";
    const UniqueFd fd(open_queue("a", O_RDWR | O_CREAT));
    ASSERT_OK(send(fd.get(), "stays"));
    for (const off_t size : {off_t{0}, off_t{1000}, off_t{5}}) {
      EXPECT_OK(truncate(a.c_str(), size));
      EXPECT_EQ(size, status_of(a).st_size);
      EXPECT_EQ(status_line(5), read_text(a)) << "the text is as long as ever";
      EXPECT_EQ(size, lseek(fd.get(), 0, SEEK_END));
      EXPECT_OK(ftruncate(fd.get(), size + 1));
      EXPECT_EQ(size + 1, status_of(a).st_size);
    }
    UniqueFd truncated(open(a.c_str(), O_RDWR | O_TRUNC | O_CLOEXEC));
    ASSERT_OK(truncated.get());
    EXPECT_EQ(0, status_of(a).st_size);
    EXPECT_EQ("stays", receive_text(truncated.get()));
    EXPECT_ERRNO(EINVAL, truncate(a.c_str(), -1));
    const UniqueFd reader(open(a.c_str(), O_RDONLY | O_CLOEXEC));
    EXPECT_ERRNO(EINVAL, ftruncate(reader.get(), 5));
    EXPECT_OK(chmod(a.c_str(), 0644));
    run_as(kAlice, [&] { EXPECT_ERRNO(EACCES, truncate(a.c_str(), 5)); });
  });
}

TEST_F(QueueFile, B6_MqOpenIgnoresTruncate) {
  in_new_namespace([](const std::string& dir) {
    UniqueFd fd(open_queue("a", O_RDWR | O_CREAT | O_TRUNC));
    EXPECT_EQ(80, status_of(dir + "/a").st_size);
    ASSERT_OK(send(fd.get(), "stays"));
    fd.reset(open_queue("a", O_RDWR | O_TRUNC));
    EXPECT_EQ(80, status_of(dir + "/a").st_size);
    EXPECT_EQ("stays", receive_text(fd.get()));
  });
}

TEST_F(QueueFile, B7_ADescriptorOfOpenWorksWithEveryCall) {
  in_new_namespace([](const std::string& dir) {
    const std::string a = dir + "/a";
    const UniqueFd fd(open(a.c_str(), O_RDWR | O_CREAT | O_NONBLOCK | O_CLOEXEC, 0600));
    ASSERT_OK(fd.get());
    EXPECT_OK(send(fd.get(), "x", 3));
    char buffer[8192];
    unsigned priority = 0;
    EXPECT_EQ(1, receive(fd.get(), buffer, sizeof buffer, &priority));
    EXPECT_EQ(3u, priority);
    EXPECT_ERRNO(EAGAIN, receive(fd.get(), buffer, sizeof buffer));
    mq_attr attributes{};
    EXPECT_OK(get_attributes(fd.get(), &attributes));
    EXPECT_EQ(O_NONBLOCK, attributes.mq_flags);
    attributes.mq_flags = 0;
    EXPECT_OK(set_attributes(fd.get(), &attributes));
    const sigevent event = event_of(SIGEV_NONE);
    EXPECT_OK(notify(fd.get(), &event));
    pollfd ready{fd.get(), POLLIN | POLLOUT, 0};
    EXPECT_EQ(1, poll(&ready, 1, 0));
    EXPECT_EQ(POLLOUT, ready.revents);
    const UniqueFd writer(open(a.c_str(), O_WRONLY | O_CLOEXEC)),
        reader(open(a.c_str(), O_RDONLY | O_CLOEXEC));
    EXPECT_ERRNO(EBADF, receive(writer.get(), buffer, sizeof buffer));
    EXPECT_ERRNO(EBADF, send(reader.get(), "x"));
    const UniqueFd path_only(open(a.c_str(), O_PATH | O_CLOEXEC));
    EXPECT_ERRNO(EBADF, get_attributes(path_only.get(), &attributes));
  });
}

TEST_F(QueueFile, B7_CloseOnExecIsAsAskedForOpenAndAlwaysSetByMqOpen) {
  in_new_namespace([](const std::string& dir) {
    const std::string a = dir + "/a";
    const UniqueFd plain(open(a.c_str(), O_RDWR | O_CREAT, 0600));
    EXPECT_EQ(0, fcntl(plain.get(), F_GETFD));
    const UniqueFd asked(open(a.c_str(), O_RDWR | O_CLOEXEC));
    EXPECT_EQ(FD_CLOEXEC, fcntl(asked.get(), F_GETFD));
    const UniqueFd mq(open_queue("a", O_RDWR)), created(open_queue("b", O_RDWR | O_CREAT));
    EXPECT_EQ(FD_CLOEXEC, fcntl(mq.get(), F_GETFD));
    EXPECT_EQ(FD_CLOEXEC, fcntl(created.get(), F_GETFD));
  });
}

TEST_F(QueueFile, B9_AnUnlinkedQueueLivesOnInItsDescriptors) {
  in_new_namespace([](const std::string& dir) {
    const UniqueFd old(open_queue("a", O_RDWR | O_CREAT | O_NONBLOCK));
    ASSERT_OK(send(old.get(), "old"));
    ASSERT_OK(unlink_queue("a"));
    struct stat status {};
    ASSERT_OK(fstat(old.get(), &status));
    EXPECT_EQ(0u, status.st_nlink);
    EXPECT_EQ(80, status.st_size);
    EXPECT_ERRNO(ENOENT, open((dir + "/a").c_str(), O_RDWR));
    const UniqueFd anew(open_queue("a", O_RDWR | O_CREAT | O_EXCL | O_NONBLOCK));
    ASSERT_OK(anew.get());
    EXPECT_NE(status.st_ino, status_of(dir + "/a").st_ino);
    EXPECT_EQ("<EAGAIN>", receive_text(anew.get()));
    ASSERT_OK(send(anew.get(), "new"));
    ASSERT_OK(send(old.get(), "second"));
    EXPECT_EQ("old", receive_text(old.get()));
    EXPECT_EQ("second", receive_text(old.get()));
    EXPECT_EQ("<EAGAIN>", receive_text(old.get()));
    EXPECT_EQ("new", receive_text(anew.get()));
    char text[100];
    EXPECT_EQ(60, pread(old.get(), text, sizeof text, 0));
    EXPECT_OK(fchmod(old.get(), 0640));
    EXPECT_OK(ftruncate(old.get(), 3));
  });
}

TEST_F(QueueFile, B9_BlockedCallersOfAnUnlinkedQueueStayBlocked) {
  in_new_namespace([](const std::string&) {
    const UniqueFd fd(open_queue("a", O_RDWR | O_CREAT));
    const UniqueFd full(create_queue("full", 1, 10));
    ASSERT_OK(send(full.get(), "first"));
    Companion receiver([&] { EXPECT_EQ("late", receive_text(fd.get())); });
    Companion sender([&] { EXPECT_OK(send(full.get(), "second")); });
    ASSERT_TRUE(wait_until_asleep(receiver.pid()));
    ASSERT_TRUE(wait_until_asleep(sender.pid()));
    ASSERT_OK(unlink_queue("a"));
    ASSERT_OK(unlink_queue("full"));
    EXPECT_TRUE(wait_until_asleep(receiver.pid()));
    EXPECT_TRUE(wait_until_asleep(sender.pid()));
    EXPECT_OK(send(fd.get(), "late"));
    EXPECT_EQ("first", receive_text(full.get()));
    EXPECT_EQ("second", receive_text(full.get()));
  });
}

}  // namespace
}  // namespace mqueuefs::test
