// doc/behaviour.md F1: mq_getattr and mq_setattr; and the descriptor as one of the kernel's own: dup, fork, exec,
// passing.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "support/child.h"
#include "support/credentials.h"
#include "support/expect.h"
#include "support/posix_calls.h"
#include "support/run_command.h"
#include "support/target.h"

namespace mqueuefs::test {
namespace {

class Attributes : public TargetTest {};

long flags_of(int fd) {
  mq_attr attributes{};
  EXPECT_OK(mq().getattr(fd, &attributes));
  return attributes.mq_flags;
}

int set_flags(int fd, long flags) {
  mq_attr attributes{};
  attributes.mq_flags = flags;
  attributes.mq_maxmsg = -5;  // the rest is ignored
  attributes.mq_msgsize = -5;
  attributes.mq_curmsgs = -5;
  return mq().setattr(fd, &attributes, nullptr);
}

TEST_F(Attributes, F1_GetattrTellsTheState) {
  in_new_namespace([](const std::string&) {
    const UniqueFd fd(create_queue("a", 3, 20, O_RDWR | O_CREAT | O_NONBLOCK));
    ASSERT_OK(send(fd.get(), "1"));
    ASSERT_OK(send(fd.get(), ""));
    mq_attr attributes;
    memset(&attributes, 0xff, sizeof attributes);
    ASSERT_OK(mq().getattr(fd.get(), &attributes));
    EXPECT_EQ(O_NONBLOCK, attributes.mq_flags);
    EXPECT_EQ(3, attributes.mq_maxmsg);
    EXPECT_EQ(20, attributes.mq_msgsize);
    EXPECT_EQ(2, attributes.mq_curmsgs);
  });
}

TEST_F(Attributes, F1_BadDescriptors) {
  in_new_namespace([](const std::string& dir) {
    const UniqueFd queue(create_queue("a", 1, 1)), null(open("/dev/null", O_RDWR | O_CLOEXEC)),
        directory(open(dir.c_str(), O_RDONLY | O_CLOEXEC)),
        path(open((dir + "/a").c_str(), O_PATH | O_CLOEXEC));
    mq_attr attributes{};
    for (const int fd : {-1, 777, INT_MAX, null.get(), directory.get(), path.get()}) {
      EXPECT_ERRNO(EBADF, mq().getattr(fd, &attributes)) << fd;
      EXPECT_ERRNO(EBADF, mq().getattr(fd, nullptr)) << fd;
      EXPECT_ERRNO(EBADF, mq().setattr(fd, &attributes, nullptr)) << fd;
      EXPECT_ERRNO(EBADF, mq().setattr(fd, nullptr, &attributes)) << fd;
    }
    EXPECT_OK(mq().getattr(queue.get(), nullptr)) << "nothing to write, nothing to refuse";
    EXPECT_ERRNO(EBADF, mq().close(-1));
    EXPECT_ERRNO(EBADF, mq().close(777));
  });
}

TEST_F(Attributes, F1_OtherFlagsAreEinvalBeforeEbadf) {
  in_new_namespace([](const std::string&) {
    const UniqueFd fd(create_queue("a", 1, 1));
    for (const long flags : {1L, long{O_RDWR}, long{O_NONBLOCK | O_APPEND}, long{O_CLOEXEC}, -1L, 1L << 32,
                             (1L << 40) | O_NONBLOCK, LONG_MIN}) {
      EXPECT_ERRNO(EINVAL, set_flags(fd.get(), flags)) << flags;
      EXPECT_ERRNO(EINVAL, set_flags(-1, flags)) << flags;
    }
    EXPECT_ERRNO(EBADF, set_flags(-1, O_NONBLOCK));
    EXPECT_EQ(0, flags_of(fd.get()));
  });
}

TEST_F(Attributes, F1_SetattrChangesTheFlagOnlyAndTellsTheOldState) {
  in_new_namespace([](const std::string&) {
    const UniqueFd fd(create_queue("a", 3, 20));
    ASSERT_OK(send(fd.get(), "1"));
    mq_attr wanted{}, old;
    wanted.mq_flags = O_NONBLOCK;
    wanted.mq_maxmsg = 1;
    memset(&old, 0xff, sizeof old);
    ASSERT_OK(mq().setattr(fd.get(), &wanted, &old));
    EXPECT_EQ(0, old.mq_flags);
    EXPECT_EQ(3, old.mq_maxmsg);
    EXPECT_EQ(20, old.mq_msgsize);
    EXPECT_EQ(1, old.mq_curmsgs);
    wanted.mq_flags = 0;
    ASSERT_OK(mq().setattr(fd.get(), &wanted, &old));
    EXPECT_EQ(O_NONBLOCK, old.mq_flags);
    EXPECT_EQ(3, old.mq_maxmsg);
    EXPECT_OK(mq().setattr(fd.get(), nullptr, &old)) << "like mq_getattr";
    EXPECT_EQ(0, old.mq_flags);
    EXPECT_OK(mq().setattr(fd.get(), nullptr, nullptr));
    // One object for both.
    wanted.mq_flags = O_NONBLOCK;
    ASSERT_OK(mq().setattr(fd.get(), &wanted, &wanted));
    EXPECT_EQ(0, wanted.mq_flags);
    EXPECT_EQ(3, wanted.mq_maxmsg);
    EXPECT_EQ(O_NONBLOCK, flags_of(fd.get()));
  });
}

TEST_F(Attributes, F1_AnyAccessMode) {
  in_new_namespace([](const std::string&) {
    const UniqueFd made(create_queue("a", 1, 1));
    for (const int mode : {O_RDONLY, O_WRONLY, O_RDWR}) {
      const UniqueFd fd(mq().open("/a", mode, 0, nullptr));
      EXPECT_OK(set_flags(fd.get(), O_NONBLOCK));
      EXPECT_EQ(O_NONBLOCK, flags_of(fd.get()));
      EXPECT_EQ(mode | O_NONBLOCK, fcntl(fd.get(), F_GETFL) & (O_ACCMODE | O_NONBLOCK));
    }
    EXPECT_EQ(0, flags_of(made.get())) << "another open file description";
  });
}

TEST_F(Attributes, F1_TheFlagIsTheOpenFileDescriptions) {
  in_new_namespace([](const std::string&) {
    const UniqueFd fd(mq().open("/a", O_RDWR | O_CREAT | O_NONBLOCK, 0600, nullptr));
    const UniqueFd copy(dup(fd.get())), other(mq().open("/a", O_RDWR, 0, nullptr));
    EXPECT_EQ(O_NONBLOCK, flags_of(copy.get()));
    EXPECT_EQ(0, flags_of(other.get()));
    ASSERT_OK(set_flags(copy.get(), 0));
    EXPECT_EQ(0, flags_of(fd.get()));
    EXPECT_EQ(0, fcntl(fd.get(), F_GETFL) & O_NONBLOCK);
    ASSERT_OK(fcntl(fd.get(), F_SETFL, O_NONBLOCK));
    EXPECT_EQ(O_NONBLOCK, flags_of(copy.get()));
    EXPECT_EQ("<EAGAIN>", receive_text(copy.get()));
    run_in_child([&] {
      EXPECT_EQ(O_NONBLOCK, flags_of(fd.get()));
      EXPECT_OK(set_flags(fd.get(), 0));
    });
    EXPECT_EQ(0, flags_of(fd.get())) << "shared over fork";
    EXPECT_EQ(0, flags_of(other.get()));
  });
}

TEST_F(Attributes, F1_OtherFlagsOfTheFileStay) {
  in_new_namespace([](const std::string&) {
    const UniqueFd fd(create_queue("a", 1, 1));
    ASSERT_OK(fcntl(fd.get(), F_SETFL, O_APPEND));
    ASSERT_OK(set_flags(fd.get(), O_NONBLOCK));
    EXPECT_EQ(O_APPEND | O_NONBLOCK, fcntl(fd.get(), F_GETFL) & (O_APPEND | O_NONBLOCK));
    ASSERT_OK(set_flags(fd.get(), 0));
    EXPECT_EQ(O_APPEND, fcntl(fd.get(), F_GETFL) & (O_APPEND | O_NONBLOCK));
    EXPECT_EQ(0, flags_of(fd.get())) << "only O_NONBLOCK is told";
  });
}

// The descriptor belongs to the kernel: what happens to it behind the library's back counts.

TEST_F(Attributes, F1_ADupIsNotCloseOnExecAndWorks) {
  in_new_namespace([](const std::string&) {
    const UniqueFd fd(create_queue("a", 2, 10));
    const UniqueFd copy(dup(fd.get())), high(fcntl(fd.get(), F_DUPFD_CLOEXEC, 300));
    EXPECT_EQ(FD_CLOEXEC, fcntl(fd.get(), F_GETFD));
    EXPECT_EQ(0, fcntl(copy.get(), F_GETFD));
    EXPECT_EQ(FD_CLOEXEC, fcntl(high.get(), F_GETFD));
    ASSERT_OK(send(copy.get(), "1"));
    ASSERT_OK(mq().close(copy.get()));
    EXPECT_EQ("1", receive_text(high.get()));
    EXPECT_ERRNO(EBADF, mq().close(copy.get()));
    dup2(fd.get(), copy.get());  // its owner closes it once more
  });
}

TEST_F(Attributes, F1_ManyDescriptorsThatChangePlacesEachLeadToTheirQueue) {
  in_new_namespace([](const std::string&) {
    constexpr int kQueues = 3, kDescriptors = 50, kFirst = 300;
    UniqueFd queues[kQueues];
    for (int index = 0; index < kQueues; ++index) {
      queues[index] = UniqueFd(create_queue(std::string(1, static_cast<char>('a' + index)), 2, 10,
                                            O_RDWR | O_CREAT | O_NONBLOCK));
    }
    std::mt19937 random(20'261'122);
    std::vector<int> leads_to(kDescriptors, -1);
    for (int step = 0; step < 2000; ++step) {
      const int place = static_cast<int>(random() % kDescriptors);
      const int number = kFirst + place;
      int& queue = leads_to[static_cast<size_t>(place)];
      if (queue < 0 || random() % 4 == 0) {
        queue = static_cast<int>(random() % kQueues);
        ASSERT_OK(dup2(queues[queue].get(), number));
      }
      const std::string text = std::to_string(step);
      ASSERT_OK(send(number, text));
      ASSERT_EQ(text, receive_text(random() % 2 == 0 ? number : queues[queue].get())) << "step " << step;
    }
    for (int place = 0; place < kDescriptors; ++place) close(kFirst + place);
  });
}

TEST_F(Attributes, F1_ADescriptorThatWasReplacedIsWhatReplacedIt) {
  in_new_namespace([](const std::string&) {
    const UniqueFd a(create_queue("a", 2, 10, O_RDWR | O_CREAT | O_NONBLOCK)),
        b(create_queue("b", 2, 10, O_RDWR | O_CREAT | O_NONBLOCK));
    ASSERT_OK(send(a.get(), "of a"));
    ASSERT_OK(send(b.get(), "of b"));
    const int number = dup(a.get());
    ASSERT_OK(dup2(b.get(), number));
    EXPECT_EQ("of b", receive_text(number));
    close(number);
    EXPECT_EQ("<EBADF>", receive_text(number));
    const UniqueFd null(open("/dev/null", O_RDWR | O_CLOEXEC));
    ASSERT_OK(dup2(null.get(), number));
    EXPECT_EQ("<EBADF>", receive_text(number));
    EXPECT_ERRNO(EBADF, mq().send(number, "x", 1, 0));
    close(number);
    const int anew = mq().open("/b", O_RDWR, 0, nullptr);
    EXPECT_EQ(number, anew) << "the lowest free number, as of open(2)";
    ASSERT_OK(send(anew, "of b again"));
    EXPECT_EQ("of b again", receive_text(b.get()));
    EXPECT_EQ("of a", receive_text(a.get()));
    EXPECT_OK(mq().close(anew));
  });
}

TEST_F(Attributes, F1_AForkedChildUsesItsCopies) {
  in_new_namespace([](const std::string&) {
    const UniqueFd fd(create_queue("a", 4, 10));
    ASSERT_OK(send(fd.get(), "parent"));
    run_in_child([&] {
      EXPECT_EQ("parent", receive_text(fd.get()));
      EXPECT_OK(send(fd.get(), "child"));
      run_in_child([&] {
        EXPECT_EQ("child", receive_text(fd.get()));
        EXPECT_OK(send(fd.get(), "grandchild"));
      });
      EXPECT_OK(mq().close(fd.get()));
    });
    EXPECT_EQ("grandchild", receive_text(fd.get()));
  });
}

TEST_F(Attributes, F1_ADescriptorTravelsOverASocket) {
  in_new_namespace([](const std::string&) {
    int ends[2];
    ASSERT_OK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends));
    Companion receiver([&] {
      close(ends[0]);
      ASSERT_TRUE(become_user(kAlice, kAlice));
      char byte;
      iovec piece{&byte, 1};
      alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
      msghdr message{};
      message.msg_iov = &piece;
      message.msg_iovlen = 1;
      message.msg_control = control;
      message.msg_controllen = sizeof control;
      ASSERT_EQ(1, recvmsg(ends[1], &message, 0));
      int fd = -1;
      memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fd);
      EXPECT_EQ("hello", receive_text(fd)) << "who holds the descriptor needs no permission";
      EXPECT_OK(send(fd, "answer"));
      EXPECT_ERRNO(EACCES, mq().open("/a", O_RDWR, 0, nullptr));
    });
    const UniqueFd fd(create_queue("a", 2, 10));
    ASSERT_OK(send(fd.get(), "hello"));
    char byte = 0;
    iovec piece{&byte, 1};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    msghdr message{};
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    const int passed = fd.get();
    memcpy(CMSG_DATA(header), &passed, sizeof passed);
    ASSERT_EQ(1, sendmsg(ends[0], &message, 0));
    receiver.join();
    EXPECT_EQ("answer", receive_text(fd.get()));
    close(ends[0]);
    close(ends[1]);
  });
}

TEST_F(Attributes, F1_ExecClosesWhatMqOpenGaveAndKeepsADup) {
  in_new_namespace([](const std::string&) {
    const UniqueFd fd(create_queue("a", 2, 10));
    const UniqueFd given(fcntl(fd.get(), F_DUPFD_CLOEXEC, 200)), copy(fcntl(fd.get(), F_DUPFD, 210));
    EXPECT_NE(0, run_command({"test", "-e", "/proc/self/fd/200"}).status);
    EXPECT_EQ(0, run_command({"test", "-e", "/proc/self/fd/210"}).status);
    EXPECT_EQ("QSIZE:0 ", run_command({"head", "-c", "8", "/proc/self/fd/210"}).stdout_text);
  });
}

TEST_F(Attributes, F1_AProcessThatClosesAllItsDescriptorsGoesOn) {
  in_new_namespace([](const std::string&) {
    const UniqueFd fd(create_queue("a", 2, 10));
    ASSERT_OK(send(fd.get(), "before"));
    // A bare child: the fixture's own needs its pipe. Its findings are in the exit status.
    const pid_t child = fork();
    if (child == 0) {
      for (int other = 3; other < 1024; ++other)
        close(other);
      const mqd_t anew = mq().open("/a", O_RDWR, 0, nullptr);
      char buffer[10];
      const bool fine = anew >= 0 && mq().receive(anew, buffer, sizeof buffer, nullptr) == 6 &&
                        mq().send(anew, "after", 5, 0) == 0 &&
                        mq().open("/b", O_RDWR | O_CREAT, 0600, nullptr) >= 0;
      _exit(fine ? 0 : 1);
    }
    int status = -1;
    ASSERT_EQ(child, waitpid(child, &status, 0));
    EXPECT_EQ(0, status);
    EXPECT_EQ("after", receive_text(fd.get()));
  });
}

}  // namespace
}  // namespace mqueuefs::test
