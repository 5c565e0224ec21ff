// The one line that says why.
#include "cli/explain.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

namespace mqueuefs::cli {
namespace {

CreateFacts facts(int64_t maxmsg, int64_t msgsize) {
  CreateFacts facts;
  facts.maxmsg = maxmsg;
  facts.msgsize = msgsize;
  facts.limits = control::LimitsReply{256, 10, 10, 8192, 8192, 256, 819000};
  facts.rlimit_msgqueue = 819200;
  return facts;
}

std::string create_failed(int code, const CreateFacts& facts) {
  return explain_create({"create", "q", "X"}, Error{code, "openat"}, facts);
}

TEST(ExplainCreate, NamesTheAttributeAndTheLimit) {
  EXPECT_EQ(create_failed(EINVAL, facts(10, 9000)),
            "create /q in namespace X: msgsize 9000 is over the limit msgsize_max 8192; mqueuefs limits --ns X msgsize_max=N raises it (EINVAL)");
  EXPECT_EQ(create_failed(EINVAL, facts(11, 8192)),
            "create /q in namespace X: maxmsg 11 is over the limit msg_max 10; mqueuefs limits --ns X msg_max=N raises it (EINVAL)");
  EXPECT_EQ(create_failed(EINVAL, facts(-1, 8192)), "create /q in namespace X: maxmsg -1 is not positive (EINVAL)");
  EXPECT_EQ(create_failed(EINVAL, facts(1, 0)), "create /q in namespace X: msgsize 0 is not positive (EINVAL)");
  EXPECT_EQ(create_failed(EINVAL, facts(65537, 1)),
            "create /q in namespace X: maxmsg 65537 is over the limit HARD_MSGMAX 65536 (EINVAL)");
}

TEST(ExplainCreate, NamesTheLimitsOfNumberAndCharge) {
  EXPECT_EQ(create_failed(ENOSPC, facts(1, 1)),
            "create /q in namespace X: 256 queues are there, and the limit queues_max is 256; mqueuefs limits --ns X queues_max=N raises it (ENOSPC)");
  EXPECT_EQ(create_failed(EMFILE, facts(10, 8192)),
            "create /q in namespace X: the queue would be charged 82880 bytes, 819000 are in use, and the limit "
            "RLIMIT_MSGQUEUE (ulimit -q) is 819200; make it smaller or raise that (EMFILE)");
}

TEST(ExplainCreate, KnowsWhatIsThereAndWhatIsGone) {
  EXPECT_EQ(create_failed(EEXIST, facts(1, 1)), "create /q in namespace X: a queue of that name exists (EEXIST)");
  EXPECT_NE(create_failed(EACCES, facts(1, 1)).find("namespace is gone"), std::string::npos);
}

TEST(Explain, TellsAMissingNamespaceFromAMissingQueue) {
  EXPECT_EQ(explain({"list", "", "X"}, Error{ENOENT, "daemon"}),
            "list in namespace X: no namespace called X (ENOENT)");
  EXPECT_EQ(explain({"send", "/q", "X"}, Error{ENOENT, "openat"}), "send /q in namespace X: no such queue (ENOENT)");
}

TEST(Explain, NamesTheRuleForNames) {
  const auto bad_name = [](const std::string& name, int code) {
    return explain({"create", name, ""}, Error{code, "queue name"});
  };
  EXPECT_EQ(bad_name("/", ENOENT), "create /: the name is empty (ENOENT)");
  EXPECT_EQ(bad_name("/a/b", EACCES), "create /a/b: a name can't have a '/' but at its front (EACCES)");
  EXPECT_EQ(bad_name("..", EACCES), "create /..: \"..\" can't be a queue's name (EACCES)");
  EXPECT_NE(bad_name(std::string(300, 'x'), ENAMETOOLONG).find("300 bytes, NAME_MAX is 255 (ENAMETOOLONG)"),
            std::string::npos);
}

TEST(Explain, WhenTheDaemonIsGoneItSaysWhatToDo) {
  for (const int code : {ENOTCONN, ECONNABORTED, ENODEV, ECONNRESET, EPIPE}) {
    EXPECT_NE(explain({"list", "", ""}, Error{code, "ioctl"}).find("umount what is left, then mount again"), std::string::npos);
  }
}

TEST(ExplainTransfer, NamesSizesAndPriorities) {
  TransferFacts facts;
  facts.size = 10;
  facts.priority = 40000;
  facts.maxmsg = 2;
  facts.msgsize = 8;
  const Attempt send{"send", "/q", ""};
  EXPECT_EQ(explain_send(send, Error{EMSGSIZE, "send"}, facts),
            "send /q: the message has 10 bytes, over the queue's msgsize 8 (EMSGSIZE)");
  EXPECT_EQ(explain_send(send, Error{EINVAL, "send"}, facts), "send /q: priority 40000 is not in 0 to 32767 (EINVAL)");
  EXPECT_EQ(explain_send(send, Error{EAGAIN, "send"}, facts), "send /q: the queue is full, its maxmsg is 2 (EAGAIN)");
  facts.timeout = "0.5";
  EXPECT_EQ(explain_receive({"receive", "q", ""}, Error{ETIMEDOUT, "wait"}, facts),
            "receive /q: no message within 0.5 seconds (ETIMEDOUT)");
}

// doc/behaviour.md D2.
TEST(ChargeOfQueue, IsTheKernels) {
  EXPECT_EQ(charge_of_queue(10, 8192), 10u * (8192 + 48) + 10 * 48);
  EXPECT_EQ(charge_of_queue(65536, 1), 65536u * 49 + 32768 * 48);
  EXPECT_EQ(charge_of_queue(INT64_MAX, INT64_MAX), UINT64_MAX);
}

}  // namespace
}  // namespace mqueuefs::cli
