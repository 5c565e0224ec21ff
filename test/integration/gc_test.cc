// Queues that nobody has to do with any more: found, and removed unless somebody has taken them up.
#include <fcntl.h>
#include <mqueuefs/mqueuefs.h>
#include <unistd.h>

#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "integration/program_fixture.h"
#include "integration/running_program.h"
#include "support/child.h"
#include "support/expect.h"
#include "support/wait.h"

namespace mqueuefs::test {
namespace {

using Json = nlohmann::json;

class Collecting : public ProgramTest {
 protected:
  static Json queue(const std::string& name) { return Json::parse(output({"stat", "--json", name})); }

  static std::string name(int number) {
    char text[16];
    snprintf(text, sizeof text, "/q%03d", number);
    return text;
  }
  /// Queues whose maker is gone.
  static void make_orphans(int first, int end) {
    run_in_child([&] {
      mq_attr attributes{};
      attributes.mq_maxmsg = 1;
      attributes.mq_msgsize = 16;
      for (int number = first; number < end; ++number) {
        const mqd_t made = mqueuefs_open(name(number).c_str(), O_CREAT | O_EXCL | O_RDWR, 0600, &attributes);
        ASSERT_OK(made);
        ASSERT_OK(mqueuefs_close(made));
      }
    });
  }
};

TEST_F(Collecting, AbandonedQueuesAreFoundAndRemoved) {
  in_private_namespaces([&](const std::string&) {
    output({"create", "/orphan"});  // its maker ends at once
    output({"send", "/orphan", "left behind"});
    const mqd_t own = mqueuefs_open("/own", O_CREAT | O_RDONLY, 0600, nullptr);  // ours: we run
    ASSERT_OK(own);
    ASSERT_OK(mqueuefs_close(own));
    output({"create", "/open"});
    const mqd_t held = mqueuefs_open("/open", O_RDONLY);
    ASSERT_OK(held);

    const std::string listed = output({"gc"});
    EXPECT_NE(listed.find("/orphan"), std::string::npos);
    EXPECT_EQ(listed.find("/own"), std::string::npos);
    EXPECT_EQ(listed.find("/open"), std::string::npos);
    EXPECT_EQ(queue("/orphan")["messages"], 1) << "listed, not removed";
    EXPECT_EQ(output({"gc", "--empty"}).find("/orphan"), std::string::npos);
    EXPECT_EQ(output({"gc", "--min-age", "3600"}).find("/orphan"), std::string::npos);

    const Json removed = Json::parse(output({"gc", "--yes", "--json"}));
    ASSERT_EQ(removed.size(), 1U);
    EXPECT_EQ(removed[0]["name"], "orphan");
    EXPECT_EQ(removed[0]["removed"], true);
    EXPECT_EQ(program({"stat", "/orphan"}).status, 1);
    EXPECT_EQ(program({"stat", "/own"}).status, 0);
    EXPECT_EQ(program({"stat", "/open"}).status, 0);
    ASSERT_OK(mqueuefs_close(held));
    EXPECT_TRUE(wait_until([&] { return queue("/open")["open_handles"] == 0; }));
    EXPECT_EQ(Json::parse(output({"gc", "--yes", "--json"})).size(), 1U);
    output({"remove", "/own"});
  });
}

// The list is stopped in the middle of the removal, which goes by name.
TEST_F(Collecting, AQueueThatIsTakenUpAfterItWasListedStays) {
  constexpr int kQueues = 200, kHeld = 199, kUsed = 198, kAnother = 197, kUntouched = 196;
  in_private_namespaces([&](const std::string& dir) {
    ASSERT_EQ(mount_program(dir), 0);
    const auto is_there = [&](int number) { return access((dir + name(number)).c_str(), F_OK) == 0; };
    bool caught = false;
    for (int attempt = 0; attempt < 20 && !caught; ++attempt) {
      make_orphans(0, kQueues);
      RunningProgram gc(RunningProgram::Output::kPipe, {"gc", "--yes", "--json"}, {});
      while (is_there(0)) {
      }
      gc.stop();
      caught = is_there(kUntouched);
      if (!caught) {
        gc.go_on();
        EXPECT_EQ(gc.wait(), 0);
        continue;
      }
      const mqd_t held = mqueuefs_open(name(kHeld).c_str(), O_RDONLY);
      ASSERT_OK(held);
      output({"send", name(kUsed), "new"});
      output({"remove", name(kAnother)});
      make_orphans(kAnother, kAnother + 1);
      gc.go_on();
      EXPECT_EQ(gc.wait(), 0);
      std::map<std::string, bool> removed;
      for (const Json& listed : Json::parse(gc.text())) removed["/" + listed["name"].get<std::string>()] = listed["removed"];
      EXPECT_EQ(removed.size(), size_t{kQueues});
      EXPECT_TRUE(removed[name(kUntouched)]);
      EXPECT_FALSE(is_there(kUntouched));
      for (const int number : {kHeld, kUsed, kAnother}) {
        EXPECT_FALSE(removed[name(number)]) << name(number);
        EXPECT_TRUE(is_there(number)) << name(number);
      }
      EXPECT_EQ(output({"receive", name(kUsed)}), "new\n");
      ASSERT_OK(mqueuefs_close(held));
      output({"remove", name(kHeld), name(kUsed), name(kAnother)});
    }
    EXPECT_TRUE(caught) << "the removal was always over";
  });
}

}  // namespace
}  // namespace mqueuefs::test
