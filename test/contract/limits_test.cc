// doc/behaviour.md D: the limits of a namespace, and what queues are charged to whom.
#include <fcntl.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include <linux/capability.h>

#include "base/unique_fd.h"
#include "support/capability_check.h"
#include "support/child.h"
#include "support/credentials.h"
#include "support/expect.h"
#include "support/target.h"
#include "support/temp_dir.h"
#include "support/wait.h"

namespace mqueuefs::test {
namespace {

class Limits : public TargetTest {
 protected:
  // A new namespace whose limits hold for us: CAP_SYS_RESOURCE would exempt.
  void in_new_namespace_without_exemption(const std::function<void(const std::string& dir)>& body) {
    in_new_namespace([&](const std::string& dir) {
      ASSERT_TRUE(drop_capability(CAP_SYS_RESOURCE));
      body(dir);
    });
  }
};

// What the kernel charges for a queue: a pointer-sized header and a tree node for each message that may come.
constexpr rlim_t charge_of(rlim_t maxmsg, rlim_t msgsize) {
  return maxmsg * (msgsize + 48) + std::min<rlim_t>(maxmsg, 32768) * 48;
}

void set_message_queue_limit(rlim_t bytes) {
  rlimit limit{};
  ASSERT_OK(getrlimit(RLIMIT_MSGQUEUE, &limit));
  limit.rlim_cur = bytes;
  ASSERT_OK(setrlimit(RLIMIT_MSGQUEUE, &limit)) << bytes << " of " << limit.rlim_max;
}

// The charge comes back with the last close. Through FUSE that is known a moment later.
void expect_creatable_soon(const std::string& name, long maxmsg, long msgsize) {
  UniqueFd fd;
  EXPECT_TRUE(wait_until([&] {
    fd.reset(create_queue(name, maxmsg, msgsize));
    return static_cast<bool>(fd);
  })) << errno_name(errno);
}

TEST_F(Limits, D1_Defaults) {
  in_new_namespace([](const std::string&) {
    EXPECT_EQ(256, Target::current().limit("queues_max"));
    EXPECT_EQ(10, Target::current().limit("msg_max"));
    EXPECT_EQ(10, Target::current().limit("msg_default"));
    EXPECT_EQ(8192, Target::current().limit("msgsize_max"));
    EXPECT_EQ(8192, Target::current().limit("msgsize_default"));
  });
}

TEST_F(Limits, D1_Ranges) {
  in_new_namespace([](const std::string&) {
    for (const char* key : {"msg_max", "msg_default"}) {
      EXPECT_EQ(EINVAL, Target::current().set_limit(key, 0)) << key;
      EXPECT_EQ(EINVAL, Target::current().set_limit(key, -1)) << key;
      EXPECT_EQ(EINVAL, Target::current().set_limit(key, 65537)) << key;
      EXPECT_EQ(10, Target::current().limit(key));
      for (const long value : {1L, 65536L}) {
        EXPECT_EQ(0, Target::current().set_limit(key, value)) << key;
        EXPECT_EQ(value, Target::current().limit(key));
      }
    }
    for (const char* key : {"msgsize_max", "msgsize_default"}) {
      EXPECT_EQ(EINVAL, Target::current().set_limit(key, 127)) << key;
      EXPECT_EQ(EINVAL, Target::current().set_limit(key, 16777217)) << key;
      EXPECT_EQ(8192, Target::current().limit(key));
      for (const long value : {128L, 16777216L}) {
        EXPECT_EQ(0, Target::current().set_limit(key, value)) << key;
        EXPECT_EQ(value, Target::current().limit(key));
      }
    }
    for (const long value : {0L, 300L}) {
      EXPECT_EQ(0, Target::current().set_limit("queues_max", value));
      EXPECT_EQ(value, Target::current().limit("queues_max"));
    }
  });
}

TEST_F(Limits, D1_EachNamespaceHasItsOwn) {
  in_new_namespace([](const std::string&) {
    ASSERT_EQ(0, Target::current().set_limit("msg_max", 20));
    run_in_child([] {
      ASSERT_OK(unshare(CLONE_NEWIPC));
      EXPECT_EQ(10, Target::current().limit("msg_max"));
      ASSERT_EQ(0, Target::current().set_limit("msg_max", 30));
    });
    EXPECT_EQ(20, Target::current().limit("msg_max"));
  });
}

TEST_F(Limits, D1_NewQueuesFollowTheLimitsOldOnesStay) {
  in_new_namespace_without_exemption([](const std::string&) {
    const UniqueFd old(create_queue("old", 10, 8192));
    ASSERT_OK(old.get());
    ASSERT_EQ(0, Target::current().set_limit("msg_max", 4));
    ASSERT_EQ(0, Target::current().set_limit("msgsize_max", 200));
    EXPECT_ERRNO(EINVAL, create_queue("new", 5, 100));
    EXPECT_ERRNO(EINVAL, create_queue("new", 1, 201));
    const UniqueFd within(create_queue("within", 4, 200));
    EXPECT_OK(within.get());
    mq_attr attributes{};
    ASSERT_OK(get_attributes(old.get(), &attributes));
    EXPECT_EQ(10, attributes.mq_maxmsg);
    EXPECT_EQ(8192, attributes.mq_msgsize);
    EXPECT_OK(send(old.get(), std::string(8192, 'x')));
    // The default is the smaller of a limit and its default.
    const UniqueFd plain(open_queue("plain", O_RDWR | O_CREAT));
    ASSERT_OK(get_attributes(plain.get(), &attributes));
    EXPECT_EQ(4, attributes.mq_maxmsg);
    EXPECT_EQ(200, attributes.mq_msgsize);
    ASSERT_EQ(0, Target::current().set_limit("msg_default", 2));
    ASSERT_EQ(0, Target::current().set_limit("msgsize_default", 150));
    const UniqueFd smaller(open_queue("smaller", O_RDWR | O_CREAT));
    ASSERT_OK(get_attributes(smaller.get(), &attributes));
    EXPECT_EQ(2, attributes.mq_maxmsg);
    EXPECT_EQ(150, attributes.mq_msgsize);
  });
}

TEST_F(Limits, D1_QueuesMaxIsTheNumberOfQueues) {
  in_new_namespace_without_exemption([](const std::string& dir) {
    ASSERT_EQ(0, Target::current().set_limit("queues_max", 2));
    ASSERT_OK(UniqueFd(create_queue("a", 1, 1)).get());
    ASSERT_OK(UniqueFd(create_queue("b", 1, 1)).get());
    EXPECT_ERRNO(ENOSPC, create_queue("c", 1, 1));
    EXPECT_ERRNO(ENOSPC, open((dir + "/c").c_str(), O_RDWR | O_CREAT, 0600));
    EXPECT_ERRNO(ENOSPC, mknod((dir + "/c").c_str(), S_IFREG | 0600, 0));
    EXPECT_OK(UniqueFd(open_queue("a", O_RDWR | O_CREAT)).get());
    ASSERT_EQ(0, Target::current().set_limit("queues_max", 1));
    EXPECT_OK(UniqueFd(open_queue("b", O_RDWR)).get());
    EXPECT_ERRNO(ENOSPC, create_queue("c", 1, 1));
  });
}

TEST_F(Limits, D1_QueuesMaxDoesNotBindWhoMayExceedResources) {
  if (!CapabilityCheck::has_capability(CAP_SYS_RESOURCE)) GTEST_SKIP() << "needs CAP_SYS_RESOURCE";
  in_new_namespace([](const std::string&) {
    ASSERT_EQ(0, Target::current().set_limit("queues_max", 0));
    EXPECT_OK(UniqueFd(create_queue("a", 1, 1)).get());
  });
}

TEST_F(Limits, D1_OnlyTheNamespacesRootSetsThem) {
  in_new_namespace([](const std::string&) {
    run_as(kAlice, [] {
      const int code = Target::current().set_limit("msg_max", 20);
      if (MQ_DIFFERENCE("the kernel's is the mode of a file in /proc/sys, ours a rule")) {
        EXPECT_EQ(EPERM, code);
      } else {
        EXPECT_EQ(EACCES, code);
      }
      EXPECT_EQ(10, Target::current().limit("msg_max"));
    });
  });
  if (!CapabilityCheck::ordinary_user_can_unshare_user()) GTEST_SKIP() << "needs user namespaces";
  run_as(kNobody, [] {
    ASSERT_TRUE(enter_user_namespace());
    ASSERT_OK(unshare(CLONE_NEWIPC));
    EXPECT_EQ(0, Target::current().set_limit("msg_max", 20));
    EXPECT_EQ(20, Target::current().limit("msg_max"));
  });
}

TEST_F(Limits, D2_TheChargeOfAQueue) {
  in_new_namespace([](const std::string&) {
    const std::pair<long, long> shapes[] = {{10, 8192}, {1, 1}, {7, 100}};
    for (const auto& [maxmsg, msgsize] : shapes) {
      run_as(fresh_uid() + 1'000'000 + static_cast<uid_t>(maxmsg), [maxmsg = maxmsg, msgsize = msgsize] {
        const std::string name = "q" + std::to_string(maxmsg);
        set_message_queue_limit(charge_of(maxmsg, msgsize) - 1);
        EXPECT_ERRNO(EMFILE, create_queue(name, maxmsg, msgsize));
        set_message_queue_limit(charge_of(maxmsg, msgsize));
        const UniqueFd fd(create_queue(name, maxmsg, msgsize));
        EXPECT_OK(fd.get());
        EXPECT_ERRNO(EMFILE, create_queue("one_more", 1, 1));
      });
    }
  });
}

TEST_F(Limits, D2_TheChargeOfAQueueOfManyMessages) {
  constexpr long kMaxmsg = 40'000;  // more than there are priorities: from there on no more tree nodes
  rlimit limit{};
  ASSERT_OK(getrlimit(RLIMIT_MSGQUEUE, &limit));
  if (limit.rlim_max < charge_of(kMaxmsg, 1)) GTEST_SKIP() << "RLIMIT_MSGQUEUE is too low";
  in_new_namespace([](const std::string&) {
    ASSERT_EQ(0, Target::current().set_limit("msg_max", 65536));
    run_as(fresh_uid() + 1'000'000, [] {
      set_message_queue_limit(charge_of(kMaxmsg, 1) - 1);
      EXPECT_ERRNO(EMFILE, create_queue("a", kMaxmsg, 1));
      set_message_queue_limit(charge_of(kMaxmsg, 1));
      EXPECT_OK(UniqueFd(create_queue("a", kMaxmsg, 1)).get());
    });
  });
}

TEST_F(Limits, D2_NineDefaultQueuesFitTheDefaultLimit) {
  in_new_namespace([](const std::string& dir) {
    run_as(fresh_uid() + 1'000'000, [&] {
      set_message_queue_limit(819'200);
      for (int i = 0; i < 9; ++i)
        EXPECT_OK(UniqueFd(open_queue(std::to_string(i), O_RDWR | O_CREAT)).get());
      EXPECT_ERRNO(EMFILE, open_queue("tenth", O_RDWR | O_CREAT));
      EXPECT_ERRNO(EMFILE, open((dir + "/tenth").c_str(), O_RDWR | O_CREAT, 0600));
      EXPECT_ERRNO(EMFILE, mknod((dir + "/tenth").c_str(), S_IFREG | 0600, 0));
      EXPECT_ERRNO(ENOENT, access((dir + "/tenth").c_str(), F_OK));
      EXPECT_OK(UniqueFd(open_queue("0", O_RDWR | O_CREAT)).get());
    });
  });
}

TEST_F(Limits, D2_TheCreatorIsChargedWhoeverOwnsTheQueueLater) {
  in_new_namespace([](const std::string& dir) {
    const uid_t creator = fresh_uid() + 1'000'000, owner = fresh_uid() + 2'000'000;
    const rlim_t room = charge_of(10, 100);
    run_as(creator, [&] {
      set_message_queue_limit(room);
      EXPECT_OK(UniqueFd(create_queue("a", 10, 100)).get());
    });
    ASSERT_OK(chown((dir + "/a").c_str(), owner, owner));
    run_as(creator, [&] {
      set_message_queue_limit(room);
      EXPECT_ERRNO(EMFILE, create_queue("b", 1, 1));
    });
    run_as(owner, [&] {
      set_message_queue_limit(room);
      EXPECT_OK(UniqueFd(create_queue("b", 10, 100)).get());
    });
  });
}

TEST_F(Limits, D3_ChargesOfAUserInSeveralNamespaces) {
  in_new_namespace([](const std::string&) {
    const uid_t user = fresh_uid() + 1'000'000;
    run_as(user, [] {
      set_message_queue_limit(charge_of(10, 100));
      ASSERT_OK(UniqueFd(create_queue("a", 10, 100)).get());
    });
    run_in_child([&] {
      ASSERT_OK(unshare(CLONE_NEWIPC));
      run_as(user, [] {
        set_message_queue_limit(charge_of(10, 100));
        const UniqueFd fd(create_queue("a", 10, 100));
        if (MQ_DIFFERENCE("one container must not exhaust another's: charges are per namespace and user")) {
          EXPECT_OK(fd.get());
        } else {
          EXPECT_ERRNO(EMFILE, fd.get());
        }
      });
    });
  });
}

TEST_F(Limits, D4_TheChargeComesBackAtTheLastClose) {
  in_new_namespace([](const std::string&) {
    run_as(fresh_uid() + 1'000'000, [] {
      set_message_queue_limit(charge_of(10, 100));
      UniqueFd first(create_queue("a", 10, 100));
      ASSERT_OK(first.get());
      UniqueFd second(open_queue("a", O_RDONLY)), copy(dup(first.get()));
      ASSERT_OK(unlink_queue("a"));
      EXPECT_ERRNO(EMFILE, create_queue("b", 1, 1));
      first.reset();
      second.reset();
      EXPECT_ERRNO(EMFILE, create_queue("b", 1, 1));
      copy.reset();
      expect_creatable_soon("b", 10, 100);
      ASSERT_OK(unlink_queue("b"));
      expect_creatable_soon("c", 10, 100);
    });
  });
}

TEST_F(Limits, D4_TheCountComesBackAtTheLastClose) {
  in_new_namespace_without_exemption([](const std::string&) {
    ASSERT_EQ(0, Target::current().set_limit("queues_max", 1));
    UniqueFd fd(create_queue("a", 1, 1));
    ASSERT_OK(unlink_queue("a"));
    EXPECT_ERRNO(ENOSPC, create_queue("b", 1, 1));
    fd.reset();
    expect_creatable_soon("b", 1, 1);
    ASSERT_OK(unlink_queue("b"));
    expect_creatable_soon("c", 1, 1);
  });
}

TEST_F(Limits, D4_ARefusedCreateCostsNothing) {
  in_new_namespace_without_exemption([](const std::string&) {
    ASSERT_EQ(0, Target::current().set_limit("queues_max", 1));
    for (int i = 0; i < 3; ++i)
      EXPECT_ERRNO(EINVAL, create_queue("a", 11, 1));
    run_as(fresh_uid() + 1'000'000, [] {
      set_message_queue_limit(charge_of(2, 100));
      for (int i = 0; i < 3; ++i)
        EXPECT_ERRNO(EMFILE, create_queue("a", 3, 100));
      EXPECT_OK(UniqueFd(create_queue("a", 2, 100)).get());
    });
  });
}

TEST_F(Limits, D5_PrioritiesAreBelow32768) {
  in_new_namespace([](const std::string&) {
    const UniqueFd fd(create_queue("a", 10, 10));
    EXPECT_OK(send(fd.get(), "lowest", 0));
    EXPECT_OK(send(fd.get(), "highest", 32767));
    EXPECT_ERRNO(EINVAL, send(fd.get(), "x", 32768));
    EXPECT_ERRNO(EINVAL, send(fd.get(), "x", 0xffffffff));
    char buffer[10];
    unsigned priority = 1;
    EXPECT_EQ(7, receive(fd.get(), buffer, sizeof buffer, &priority));
    EXPECT_EQ(32767u, priority);
    EXPECT_EQ(6, receive(fd.get(), buffer, sizeof buffer, &priority));
    EXPECT_EQ(0u, priority);
  });
}

}  // namespace
}  // namespace mqueuefs::test
