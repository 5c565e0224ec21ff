// Signals in the middle of everything, restarted or not: no call is done twice, and none half.
//
// The kernel's calls end before a signal is looked at, unless they wait. Where a call is answered by another
// process (target seccomp) it can be interrupted anywhere; with SA_RESTART it comes again by itself, without, the
// program sees EINTR and calls again. Either way the result has to be that of one call.
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/time.h>

#include "base/unique_fd.h"
#include "support/child.h"
#include "support/expect.h"
#include "support/posix_calls.h"
#include "support/target.h"
#include "support/wait.h"

namespace mqueuefs::test {
namespace {

constexpr int kRounds = 150;

volatile sig_atomic_t signals_seen = 0;

class Interrupt : public TargetTest, public ::testing::WithParamInterface<int> {
 protected:
  // A signal every fraction of a millisecond, at changing places.
  void be_interrupted() {
    struct sigaction action {};
    action.sa_handler = [](int) { signals_seen = signals_seen + 1; };
    action.sa_flags = GetParam();
    sigaction(SIGALRM, &action, nullptr);
    const itimerval often{{0, 371}, {0, 371}};
    setitimer(ITIMER_REAL, &often, nullptr);
  }
  void be_left_alone() {
    const itimerval never{};
    setitimer(ITIMER_REAL, &never, nullptr);
    EXPECT_GT(signals_seen, 0);
    // What is done to it meanwhile, to answer it (seccomp/sure_answer.h), does not stay.
    EXPECT_TRUE(wait_until([&] { return CPU_EQUAL(&processors_, &processors_of_this_thread()) != 0; }));
  }

  static const cpu_set_t& processors_of_this_thread() {
    static cpu_set_t set;
    sched_getaffinity(0, sizeof set, &set);
    return set;
  }

  // As programs do it.
  template <typename Work>
  static auto insist(Work work) -> decltype(work()) {
    for (;;) {
      const auto result = work();
      if (result != -1 || errno != EINTR) return result;
    }
  }

 private:
  const cpu_set_t processors_ = processors_of_this_thread();
};

INSTANTIATE_TEST_SUITE_P(Handlers, Interrupt, ::testing::Values(SA_RESTART, 0),
                         [](const auto& handler) { return handler.param != 0 ? "Restarted" : "Interrupted"; });

TEST_P(Interrupt, ExclusiveCreationNeverSeesItsOwnQueue) {
  in_new_namespace([&](const std::string&) {
    be_interrupted();
    for (int round = 0; round < kRounds; ++round) {
      const UniqueFd fd(insist([] { return mq().open("/own", O_RDWR | O_CREAT | O_EXCL, 0600, nullptr); }));
      ASSERT_OK(fd.get()) << round;
      ASSERT_OK(insist([] { return mq().unlink("/own"); })) << round;
    }
    be_left_alone();
    EXPECT_ERRNO(ENOENT, mq().unlink("/own"));
  });
}

TEST_P(Interrupt, EveryMessageIsSentOnceAndReceivedOnce) {
  in_new_namespace([&](const std::string&) {
    const UniqueFd fd(create_queue("a", 5, 64));
    ASSERT_OK(fd.get());
    constexpr int kMessages = 20 * kRounds;
    Companion receiver([&] {
      be_interrupted();
      for (int expected = 0; expected < kMessages; ++expected) {
        char buffer[64];
        const auto size = insist([&] { return mq().receive(fd.get(), buffer, sizeof buffer, nullptr); });
        ASSERT_GT(size, 0);
        ASSERT_EQ(std::to_string(expected), std::string(buffer, static_cast<size_t>(size)));
      }
      be_left_alone();
    });
    be_interrupted();
    for (int number = 0; number < kMessages; ++number) {
      const std::string text = std::to_string(number);
      ASSERT_EQ(0, insist([&] { return mq().send(fd.get(), text.data(), text.size(), 0); }));
    }
    be_left_alone();
    receiver.join();
    mq_attr attributes{};
    ASSERT_OK(mq().getattr(fd.get(), &attributes));
    EXPECT_EQ(0, attributes.mq_curmsgs);
  });
}

}  // namespace
}  // namespace mqueuefs::test
