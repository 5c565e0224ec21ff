// doc/behaviour.md C1..C7, C9: what mq_open accepts, and in which order it refuses.
#include <fcntl.h>
#include <sched.h>
#include <sys/fsuid.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <fstream>
#include <string>
#include <thread>

#include "base/unique_fd.h"
#include "support/capability_check.h"
#include "support/child.h"
#include "support/credentials.h"
#include "support/expect.h"
#include "support/files.h"
#include "support/posix_calls.h"
#include "support/target.h"

namespace mqueuefs::test {
namespace {

class Open : public TargetTest {};

constexpr int kAccessMode3 = O_WRONLY | O_RDWR;
constexpr int kCreate = O_RDWR | O_CREAT;

mq_attr attributes_of(long maxmsg, long msgsize) {
  mq_attr attributes{};
  attributes.mq_maxmsg = maxmsg;
  attributes.mq_msgsize = msgsize;
  return attributes;
}

mqd_t open_with(const char* name, long maxmsg, long msgsize, int oflag = kCreate) {
  const mq_attr attributes = attributes_of(maxmsg, msgsize);
  return mq().open(name, oflag, 0600, &attributes);
}

// {maxmsg, msgsize} of the queue.
std::pair<long, long> shape_of(mqd_t fd) {
  mq_attr attributes{};
  EXPECT_OK(mq().getattr(fd, &attributes));
  return {attributes.mq_maxmsg, attributes.mq_msgsize};
}

using Shape = std::pair<long, long>;

TEST_F(Open, C1_NamesThatAreRefused) {
  in_new_namespace([](const std::string&) {
    for (const int oflag : {O_RDWR, kCreate, kCreate | O_EXCL}) {
      for (const char* name : {"", "a", "a/b", "."})
        EXPECT_ERRNO(EINVAL, mq().open(name, oflag, 0600, nullptr)) << name;
      EXPECT_ERRNO(ENOENT, mq().open("/", oflag, 0600, nullptr));
      for (const char* name : {"//", "//a", "/a/b", "/a/", "/.", "/..", "/../a"})
        EXPECT_ERRNO(EACCES, mq().open(name, oflag, 0600, nullptr)) << name;
      for (const size_t length : {size_t{256}, size_t{257}, size_t{4000}, size_t{5000}}) {
        const std::string name = "/" + std::string(length, 'n');
        EXPECT_ERRNO(ENAMETOOLONG, mq().open(name.c_str(), oflag, 0600, nullptr)) << length;
      }
    }
  });
}

TEST_F(Open, C1_NamesThatAreAccepted) {
  in_new_namespace([](const std::string& dir) {
    const std::string every_byte = [] {
      std::string bytes;
      for (int byte = 1; byte < 256; ++byte)
        if (byte != '/') bytes += static_cast<char>(byte);
      return bytes;
    }();
    for (const std::string& name :
         {std::string(255, 'n'), every_byte, std::string("..."), std::string(".a"), std::string("a."),
          std::string("\xff\xfe"), std::string(" "), std::string("\n"), std::string("-")}) {
      const UniqueFd fd(mq().open(("/" + name).c_str(), kCreate | O_EXCL, 0600, nullptr));
      EXPECT_OK(fd.get()) << name;
      EXPECT_EQ(80, status_of(dir + "/" + name).st_size);
      EXPECT_OK(mq().unlink(("/" + name).c_str())) << name;
    }
  });
}

TEST_F(Open, C1_TheRawCallTakesTheNameAsItIs) {
  in_new_namespace([](const std::string&) {
    EXPECT_ERRNO(ENOENT, open_queue("", kCreate));
    for (const char* name : {"/", "/a", "a/b", ".", ".."})
      EXPECT_ERRNO(EACCES, open_queue(name, kCreate)) << name;
    EXPECT_ERRNO(ENAMETOOLONG, open_queue(std::string(256, 'n'), kCreate));
    EXPECT_OK(UniqueFd(open_queue("a", kCreate)).get());
  });
}

TEST_F(Open, C2_AMissingQueueWithoutCreate) {
  in_new_namespace([](const std::string&) {
    for (const int oflag : {O_RDONLY, O_WRONLY, O_RDWR, O_RDWR | O_EXCL, kAccessMode3, O_RDWR | O_TRUNC})
      EXPECT_ERRNO(ENOENT, mq().open("/a", oflag, 0, nullptr)) << oflag;
  });
}

TEST_F(Open, C2_ExclAloneIsIgnored) {
  in_new_namespace([](const std::string&) {
    const UniqueFd made(mq().open("/a", kCreate, 0600, nullptr));
    EXPECT_OK(UniqueFd(mq().open("/a", O_RDWR | O_EXCL, 0, nullptr)).get());
  });
}

TEST_F(Open, C2_ExistsComesBeforePermissionsAndAccessMode) {
  in_new_namespace([](const std::string&) {
    const UniqueFd made(mq().open("/a", kCreate, 0600, nullptr));
    EXPECT_ERRNO(EEXIST, mq().open("/a", kCreate | O_EXCL, 0600, nullptr));
    EXPECT_ERRNO(EEXIST, mq().open("/a", kAccessMode3 | O_CREAT | O_EXCL, 0600, nullptr));
    EXPECT_ERRNO(EEXIST, open_with("/a", 0, 0, kCreate | O_EXCL)) << "before the attributes";
    run_as(kAlice, [] {
      EXPECT_ERRNO(EEXIST, mq().open("/a", kCreate | O_EXCL, 0600, nullptr));
      EXPECT_ERRNO(EEXIST, mq().open("/a", kAccessMode3 | O_CREAT | O_EXCL, 0600, nullptr));
    });
  });
}

TEST_F(Open, C2_AccessModeComesBeforePermissions) {
  in_new_namespace([](const std::string&) {
    const UniqueFd made(mq().open("/a", kCreate, 0600, nullptr));
    EXPECT_ERRNO(EINVAL, mq().open("/a", kAccessMode3, 0, nullptr));
    EXPECT_ERRNO(EINVAL, mq().open("/a", kAccessMode3 | O_CREAT, 0600, nullptr));
    run_as(kAlice, [] {
      EXPECT_ERRNO(EINVAL, mq().open("/a", kAccessMode3, 0, nullptr));
      for (const int oflag : {O_RDONLY, O_WRONLY, O_RDWR, kCreate})
        EXPECT_ERRNO(EACCES, mq().open("/a", oflag, 0600, nullptr)) << oflag;
    });
  });
}

TEST_F(Open, C2_TheModeIsCheckedForWhatIsAskedFor) {
  in_new_namespace([](const std::string&) {
    for (const auto& [name, mode] : {std::pair{"/r", 0604}, {"/w", 0602}, {"/rw", 0606}, {"/x", 0601}}) {
      EXPECT_OK(UniqueFd(mq().open(name, kCreate, static_cast<mode_t>(mode), nullptr)).get());
    }
    run_as(kAlice, [] {
      const auto may = [](const char* name, int oflag) {
        const UniqueFd fd(mq().open(name, oflag, 0, nullptr));
        return fd ? 0 : errno;
      };
      EXPECT_EQ(0, may("/r", O_RDONLY));
      EXPECT_EQ(EACCES, may("/r", O_WRONLY));
      EXPECT_EQ(EACCES, may("/r", O_RDWR));
      EXPECT_EQ(EACCES, may("/w", O_RDONLY));
      EXPECT_EQ(0, may("/w", O_WRONLY));
      EXPECT_EQ(EACCES, may("/w", O_RDWR));
      EXPECT_EQ(0, may("/rw", O_RDWR));
      EXPECT_EQ(EACCES, may("/x", O_RDONLY));
    });
  });
}

TEST_F(Open, C2_TheCreatorNeedsNoPermissionOfItsOwnQueuesMode) {
  in_new_namespace([](const std::string&) {
    run_as(kAlice, [] {
      const UniqueFd fd(mq().open("/a", kCreate, 0, nullptr));
      ASSERT_OK(fd.get());
      EXPECT_OK(send(fd.get(), "x"));
      EXPECT_EQ("x", receive_text(fd.get()));
      EXPECT_ERRNO(EACCES, mq().open("/a", O_RDWR, 0, nullptr));
      EXPECT_ERRNO(EACCES, mq().open("/a", kCreate, 0, nullptr));
    });
  });
}

TEST_F(Open, C3_CreatingWithAccessMode3MakesADescriptorForNeither) {
  in_new_namespace([](const std::string& dir) {
    const UniqueFd fd(mq().open("/a", kAccessMode3 | O_CREAT, 0600, nullptr));
    ASSERT_OK(fd.get());
    EXPECT_EQ(80, status_of(dir + "/a").st_size);
    char buffer[8192];
    EXPECT_ERRNO(EBADF, mq().send(fd.get(), "x", 1, 0));
    EXPECT_ERRNO(EBADF, mq().receive(fd.get(), buffer, sizeof buffer, nullptr));
    EXPECT_ERRNO(EBADF, read(fd.get(), buffer, sizeof buffer));
    EXPECT_EQ((Shape{10, 8192}), shape_of(fd.get()));
    mq_attr nonblocking{};
    nonblocking.mq_flags = O_NONBLOCK;
    EXPECT_OK(mq().setattr(fd.get(), &nonblocking, nullptr));
    const sigevent event = event_of(SIGEV_NONE);
    EXPECT_OK(mq().notify(fd.get(), &event));
    EXPECT_ERRNO(EBUSY, mq().notify(fd.get(), &event));
    EXPECT_OK(mq().notify(fd.get(), nullptr));
    const UniqueFd other(mq().open("/a", O_RDWR, 0, nullptr));
    EXPECT_OK(send(other.get(), "x"));
  });
}

// fs.protected_regular (sysctl/fs) is for open(2): with 1, the default of distributions, O_CREAT of another user's file in
// a sticky directory that everybody may write to is EACCES. mq_open(2) does not have that check.
class ProtectedRegular {
 public:
  ProtectedRegular() { std::ifstream(kPath) >> before_; }
  ~ProtectedRegular() { static_cast<void>(set(before_)); }
  static bool set(const std::string& value) { return (std::ofstream(kPath) << value).flush().good(); }
  bool can_be_set() const { return !before_.empty() && set(before_); }

 private:
  static constexpr const char* kPath = "/proc/sys/fs/protected_regular";
  std::string before_;
};

TEST_F(Open, C4_CreateOpensAnotherUsersQueueThoughRegularFilesAreProtected) {
  const ProtectedRegular protection;
  if (!protection.can_be_set()) GTEST_SKIP() << "fs.protected_regular can't be set here";
  for (const char* value : {"0", "1", "2"}) {
    ASSERT_TRUE(ProtectedRegular::set(value));
    in_new_namespace([&](const std::string& dir) {
      run_as(kAlice, [] {
        EXPECT_OK(UniqueFd(open_with("/shared", 3, 7)).get());
        EXPECT_OK(UniqueFd(mq().open("/read-only", kCreate, 0604, nullptr)).get());
        EXPECT_OK(UniqueFd(mq().open("/own", kCreate, 0600, nullptr)).get());
      });
      ASSERT_OK(chmod((dir + "/shared").c_str(), 0666));
      for (const uid_t user : {uid_t{0}, kBob}) {
        run_as(user, [&] {
          const UniqueFd fd(open_with("/shared", 5, 9));
          ASSERT_OK(fd.get()) << "fs.protected_regular=" << value << " user " << user;
          EXPECT_EQ((Shape{3, 7}), shape_of(fd.get()));
          EXPECT_ERRNO(EEXIST, open_with("/shared", 5, 9, kCreate | O_EXCL));
          EXPECT_ERRNO(EINVAL, mq().open("/shared", kAccessMode3 | O_CREAT, 0600, nullptr));
        });
      }
      run_as(kBob, [] {
        EXPECT_OK(UniqueFd(mq().open("/read-only", O_RDONLY | O_CREAT, 0600, nullptr)).get());
        EXPECT_ERRNO(EACCES, mq().open("/read-only", kCreate, 0600, nullptr));
        EXPECT_ERRNO(EACCES, mq().open("/own", kCreate, 0600, nullptr));
        const UniqueFd fresh(open_with("/fresh", 5, 9));
        ASSERT_OK(fresh.get());
        EXPECT_EQ((Shape{5, 9}), shape_of(fresh.get()));
      });
      // open(2) is the file's own way, and keeps the check.
      run_as(kBob, [&] {
        const UniqueFd file(::open((dir + "/shared").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
        EXPECT_EQ(value[0] == '0' ? 0 : EACCES, file ? 0 : errno) << "fs.protected_regular=" << value;
      });
    });
  }
}

TEST_F(Open, C4_AttributesCountOnlyForANewQueue) {
  in_new_namespace([](const std::string&) {
    const UniqueFd made(open_with("/a", 3, 7));
    EXPECT_EQ((Shape{3, 7}), shape_of(made.get()));
    for (const auto& [maxmsg, msgsize] :
         {Shape{5, 9}, Shape{0, 0}, Shape{-1, -1}, Shape{1L << 40, 1L << 40}}) {
      const UniqueFd fd(open_with("/a", maxmsg, msgsize));
      EXPECT_OK(fd.get()) << maxmsg;
      EXPECT_EQ((Shape{3, 7}), shape_of(fd.get()));
    }
    EXPECT_EQ((Shape{3, 7}), shape_of(UniqueFd(mq().open("/a", O_RDONLY, 0, nullptr)).get()));
  });
}

TEST_F(Open, C4_FlagsAndCurmsgsAreIgnoredOnCreate) {
  in_new_namespace([](const std::string&) {
    mq_attr wanted = attributes_of(2, 5);
    wanted.mq_flags = O_NONBLOCK | O_APPEND | 0x12345;
    wanted.mq_curmsgs = 77;
    const UniqueFd fd(mq().open("/a", kCreate, 0600, &wanted));
    mq_attr attributes{};
    ASSERT_OK(mq().getattr(fd.get(), &attributes));
    EXPECT_EQ(0, attributes.mq_flags);
    EXPECT_EQ(0, attributes.mq_curmsgs);
    EXPECT_EQ(0, fcntl(fd.get(), F_GETFL) & O_NONBLOCK);
  });
}

TEST_F(Open, C5_AttributesOutOfRange) {
  in_new_namespace([](const std::string&) {
    run_as(kAlice, [] {
      for (const auto& [maxmsg, msgsize] :
           {Shape{0, 1}, Shape{1, 0}, Shape{0, 0}, Shape{-1, 1}, Shape{1, -1}, Shape{11, 1}, Shape{1, 8193},
            Shape{65537, 1}, Shape{1, 16777217}, Shape{1L << 31, 1}, Shape{1L << 32, 1},
            Shape{(1L << 32) + 1, 1}, Shape{1, (1L << 32) + 1}, Shape{1L << 62, 1L << 62}, Shape{LONG_MAX, 1},
            Shape{1, LONG_MIN}}) {
        EXPECT_ERRNO(EINVAL, open_with("/a", maxmsg, msgsize)) << maxmsg << " " << msgsize;
      }
      EXPECT_ERRNO(ENOENT, mq().unlink("/a")) << "nothing was left behind";
      EXPECT_OK(UniqueFd(open_with("/a", 10, 8192)).get());
    });
  });
}

TEST_F(Open, C5_OrderOfTheChecks) {
  in_new_namespace([](const std::string& dir) {
    ASSERT_OK(chmod(dir.c_str(), 01755));
    run_as(kAlice,
           [] { EXPECT_ERRNO(EACCES, open_with("/a", 0, 0)) << "the directory, then the attributes"; });
    ASSERT_EQ(0, Target::current().set_limit("queues_max", 0));
    run_as(kAlice, [] { EXPECT_ERRNO(EACCES, open_with("/a", 1, 1)) << "the directory, then queues_max"; });
    ASSERT_OK(chmod(dir.c_str(), 01777));
    run_as(kAlice, [] {
      EXPECT_ERRNO(ENOSPC, open_with("/a", 0, 0)) << "queues_max, then the attributes";
      EXPECT_ERRNO(ENOENT, open_with("/", 0, 0)) << "the name, then queues_max";
      EXPECT_ERRNO(EACCES, open_with("//", 0, 0));
    });
    ASSERT_EQ(0, Target::current().set_limit("queues_max", 10));
    run_as(kAlice, [] {
      const rlimit nothing{0, 0};
      ASSERT_OK(setrlimit(RLIMIT_MSGQUEUE, &nothing));
      EXPECT_ERRNO(EINVAL, open_with("/a", 0, 1)) << "the attributes, then RLIMIT_MSGQUEUE";
      EXPECT_ERRNO(EMFILE, open_with("/a", 1, 1));
      EXPECT_ERRNO(ENOENT, mq().open("/a", O_RDWR, 0, nullptr)) << "nothing was left behind";
    });
    EXPECT_OK(UniqueFd(open_with("/a", 1, 1)).get());
  });
}

TEST_F(Open, C5_ADescriptorIsNeededBeforeAnythingIsLookedUp) {
  in_new_namespace([](const std::string&) {
    EXPECT_OK(UniqueFd(open_with("/a", 1, 1)).get());
    run_in_child([] {
      const int next = dup(0);
      const rlimit none_left{static_cast<rlim_t>(next), static_cast<rlim_t>(next)};
      close(next);
      ASSERT_OK(setrlimit(RLIMIT_NOFILE, &none_left));
      EXPECT_ERRNO(EMFILE, mq().open("/a", O_RDWR, 0, nullptr));
      EXPECT_ERRNO(EMFILE, mq().open("/new", kCreate, 0600, nullptr));
      EXPECT_ERRNO(EINVAL, mq().open("new", kCreate, 0600, nullptr));
    });
    EXPECT_ERRNO(ENOENT, mq().unlink("/new"));
  });
}

TEST_F(Open, C5_AnOwnerThatTheNamespaceCanNotNameIsRefusedFirst) {
  if (!CapabilityCheck::can_unshare_user()) GTEST_SKIP() << "needs user namespaces";
  in_new_namespace([](const std::string&) {
    Gate ready, done;
    Companion inside([&] {
      ASSERT_TRUE(enter_user_namespace(0, 0));
      ASSERT_OK(unshare(CLONE_NEWIPC));
      EXPECT_OK(UniqueFd(open_with("/inside", 1, 1)).get());
      ready.open();
      done.wait();
    });
    ready.wait();
    const std::string ipc = "/proc/" + std::to_string(inside.pid()) + "/ns/ipc";
    run_in_child([&] {
      const UniqueFd ns(open(ipc.c_str(), O_RDONLY | O_CLOEXEC));
      ASSERT_OK(setns(ns.get(), CLONE_NEWIPC));
      EXPECT_OK(UniqueFd(mq().open("/inside", O_RDWR, 0, nullptr)).get());
      setfsuid(kAlice);
      EXPECT_ERRNO(EOVERFLOW, open_with("/a", 0, 0));
      EXPECT_ERRNO(EOVERFLOW, open_with("/a", 1, 1));
    });
    done.open();
  });
}

// setresuid(2), C library/kernel differences: a thread's credentials are its own.
TEST_F(Open, B4_AThreadMayBeAnotherUser) {
  in_new_namespace([](const std::string&) {
    const UniqueFd before(open_with("/before", 1, 1));
    ASSERT_OK(before.get());
    std::thread([] {
      ASSERT_OK(syscall(SYS_setresuid, -1, kAlice, -1));
      const UniqueFd fd(open_with("/own", 1, 1));
      ASSERT_OK(fd.get());
      struct stat status {};
      ASSERT_OK(fstat(fd.get(), &status));
      EXPECT_EQ(kAlice, status.st_uid);
      EXPECT_ERRNO(EACCES, mq().open("/before", O_RDWR, 0, nullptr));
    }).join();
    EXPECT_OK(UniqueFd(mq().open("/before", O_RDWR, 0, nullptr)).get());
    EXPECT_OK(UniqueFd(open_with("/after", 1, 1)).get());
  });
}

// doc/behaviour.md B7, as fcntl(2) shows it.
TEST_F(Open, B7_TheDescriptorHasTheFlagsThatWereAskedFor) {
  in_new_namespace([](const std::string&) {
    EXPECT_OK(UniqueFd(open_with("/a", 1, 1)).get());
    // What open(2) sets of itself: O_LARGEFILE, which the C library's header does not show here.
    const UniqueFd any(open("/dev/null", O_RDONLY | O_CLOEXEC));
    const int unasked = MQ_DIFFERENCE("a descriptor of a file's has O_LARGEFILE") ? fcntl(any.get(), F_GETFL) : 0;
    for (const int access : {O_RDONLY, O_WRONLY, O_RDWR}) {
      for (const int extra : {0, O_NONBLOCK, O_APPEND, O_NOFOLLOW, O_NONBLOCK | O_SYNC}) {
        for (const int creation : {0, O_CREAT, O_NOCTTY, O_CREAT | O_NOCTTY | O_TRUNC}) {
          const UniqueFd fd(mq().open("/a", access | extra | creation, 0600, nullptr));
          ASSERT_OK(fd.get());
          EXPECT_EQ(access | extra | unasked, fcntl(fd.get(), F_GETFL)) << std::oct << creation;
          EXPECT_EQ(FD_CLOEXEC, fcntl(fd.get(), F_GETFD));
        }
      }
    }
    const UniqueFd created(mq().open("/b", kCreate | O_EXCL, 0600, nullptr));
    EXPECT_EQ(O_RDWR | unasked, fcntl(created.get(), F_GETFL));
    for (const int meaningless : {O_DIRECTORY, 1 << 30}) {
      EXPECT_OK(UniqueFd(mq().open("/a", O_RDWR | meaningless, 0600, nullptr)).get()) << "means nothing";
      EXPECT_OK(UniqueFd(mq().open("/a", kCreate | meaningless, 0600, nullptr)).get());
    }
    EXPECT_OK(UniqueFd(mq().open("/c", kCreate, 07777777, nullptr)).get()) << "nor do other bits of the mode";
  });
}

TEST_F(Open, C6_TheLimitsOfTheUnprivileged) {
  in_new_namespace([](const std::string&) {
    ASSERT_EQ(0, Target::current().set_limit("msg_max", 4));
    ASSERT_EQ(0, Target::current().set_limit("msgsize_max", 200));
    run_as(kAlice, [] {
      EXPECT_EQ((Shape{4, 200}), shape_of(UniqueFd(open_with("/a", 4, 200)).get()));
      EXPECT_ERRNO(EINVAL, open_with("/b", 5, 1));
      EXPECT_ERRNO(EINVAL, open_with("/b", 1, 201));
    });
  });
}

TEST_F(Open, C6_TheLimitsOfTheResourceCapable) {
  constexpr int kCapSysResource = 24;
  if (!CapabilityCheck::has_capability(kCapSysResource)) GTEST_SKIP() << "needs CAP_SYS_RESOURCE";
  in_new_namespace([](const std::string&) {
    const rlimit unlimited{RLIM_INFINITY, RLIM_INFINITY};
    ASSERT_OK(setrlimit(RLIMIT_MSGQUEUE, &unlimited));
    EXPECT_EQ((Shape{65536, 1}), shape_of(UniqueFd(open_with("/a", 65536, 1)).get()));
    EXPECT_EQ((Shape{1, 16777216}), shape_of(UniqueFd(open_with("/b", 1, 16777216)).get()));
    EXPECT_ERRNO(EINVAL, open_with("/c", 65537, 1));
    EXPECT_ERRNO(EINVAL, open_with("/c", 1, 16777217));
    ASSERT_TRUE(drop_capability(kCapSysResource));
    EXPECT_ERRNO(EINVAL, open_with("/c", 11, 1));
  });
}

TEST_F(Open, C7_DefaultsAreTheLesserOfMaximumAndDefault) {
  in_new_namespace([](const std::string&) {
    EXPECT_EQ((Shape{10, 8192}), shape_of(UniqueFd(mq().open("/a", kCreate, 0600, nullptr)).get()));
    ASSERT_EQ(0, Target::current().set_limit("msg_default", 5));
    ASSERT_EQ(0, Target::current().set_limit("msgsize_default", 300));
    EXPECT_EQ((Shape{5, 300}), shape_of(UniqueFd(mq().open("/b", kCreate, 0600, nullptr)).get()));
    ASSERT_EQ(0, Target::current().set_limit("msg_max", 3));
    EXPECT_EQ((Shape{3, 300}), shape_of(UniqueFd(mq().open("/c", kCreate, 0600, nullptr)).get()));
    ASSERT_EQ(0, Target::current().set_limit("msgsize_max", 200));
    EXPECT_EQ((Shape{3, 200}), shape_of(UniqueFd(mq().open("/d", kCreate, 0600, nullptr)).get()));
    EXPECT_EQ((Shape{10, 8192}), shape_of(UniqueFd(mq().open("/a", O_RDWR, 0, nullptr)).get()));
  });
}

TEST_F(Open, C9_NeverVisibleWithOtherAttributes) {
  in_new_namespace([](const std::string&) {
    constexpr int kRounds = 300;
    Companion creator([] {
      for (int round = 0; round < kRounds; ++round) {
        const UniqueFd fd(open_with("/a", 3, 7, kCreate | O_EXCL));
        EXPECT_OK(fd.get());
        EXPECT_OK(mq().unlink("/a"));
      }
      EXPECT_OK(UniqueFd(open_with("/a", 3, 7, kCreate | O_EXCL)).get());
      EXPECT_OK(UniqueFd(open_with("/end", 1, 1, kCreate | O_EXCL)).get());
    });
    for (bool ended = false; !ended;) {
      ended = static_cast<bool>(UniqueFd(mq().open("/end", O_RDONLY, 0, nullptr)));
      const UniqueFd fd(mq().open("/a", O_RDONLY, 0, nullptr));
      if (fd) {
        ASSERT_EQ((Shape{3, 7}), shape_of(fd.get()));
      } else {
        ASSERT_EQ(ENOENT, errno);
      }
      ASSERT_TRUE(!ended || fd);
    }
  });
}

TEST_F(Open, C9_TwoCreatorsOfOneNameGetTheirOwnAttributesOrEexist) {
  in_new_namespace([](const std::string&) {
    Gate start;
    const auto create_many = [&](long maxmsg) {
      start.wait();
      for (int round = 0; round < 200; ++round) {
        const UniqueFd fd(open_with("/a", maxmsg, 100 + maxmsg, kCreate | O_EXCL));
        if (!fd) {
          ASSERT_EQ(EEXIST, errno);
          continue;
        }
        ASSERT_EQ((Shape{maxmsg, 100 + maxmsg}), shape_of(fd.get()));
        ASSERT_OK(mq().unlink("/a"));
      }
    };
    Companion one([&] { create_many(1); }), two([&] { create_many(2); });
    start.open();
  });
}

}  // namespace
}  // namespace mqueuefs::test
