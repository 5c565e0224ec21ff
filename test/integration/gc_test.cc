// Queues that nobody has to do with any more: found, and removed unless somebody has taken them up.
#include <fcntl.h>
#include <mqueuefs/mqueuefs.h>
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "integration/program_fixture.h"
#include "support/expect.h"
#include "support/wait.h"

namespace mqueuefs::test {
namespace {

using Json = nlohmann::json;

class Collecting : public ProgramTest {
 protected:
  static Json queue(const std::string& name) { return Json::parse(output({"stat", "--json", name})); }
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

}  // namespace
}  // namespace mqueuefs::test
