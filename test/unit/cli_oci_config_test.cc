#include <gtest/gtest.h>

#include "cli/oci_config.h"

namespace mqueuefs::cli {
namespace {

const OciChange kChange{"", "/run/l.sock", "/run/m.sock", "/bin/mqueuefs"};

Json minimal() { return Json::parse(R"({"root":{"path":"rootfs"},"linux":{"namespaces":[{"type":"ipc"}]}})"); }

TEST(OciConfig, AddsWhatIsNeededAndNothingTwice) {
  Json config = minimal();
  ASSERT_EQ("", patch_oci_config(config, kChange));
  EXPECT_EQ("/run/l.sock", config["linux"]["seccomp"]["listenerPath"]);
  EXPECT_EQ("SCMP_ACT_ALLOW", config["linux"]["seccomp"]["defaultAction"]);
  EXPECT_EQ("/bin/mqueuefs", config["hooks"]["createContainer"][0]["path"]);
  Json again = config;
  ASSERT_EQ("", patch_oci_config(again, kChange));
  EXPECT_EQ(config, again);
}

TEST(OciConfig, LeavesTheRestAlone) {
  Json config = minimal();
  config["process"] = {{"args", {"sh"}}};
  config["mounts"] = Json::parse(R"([{"destination":"/proc"},{"destination":"/dev/mqueue","options":["ro"]}])");
  config["linux"]["sysctl"] = {{"fs.mqueue.msg_max", "20"}, {"net.core.somaxconn", "5"}};
  config["linux"]["seccomp"] = Json::parse(R"({"defaultAction":"SCMP_ACT_ERRNO","syscalls":[
      {"names":["read","mq_open"],"action":"SCMP_ACT_ALLOW"},{"names":["mq_unlink","semop"],"action":"SCMP_ACT_ALLOW"}]})");
  config["hooks"]["createContainer"] = Json::parse(R"([{"path":"/other","args":["other"]}])");
  ASSERT_EQ("", patch_oci_config(config, kChange));
  EXPECT_EQ(Json::parse(R"(["sh"])"), config["process"]["args"]);
  EXPECT_EQ(Json::parse(R"([{"destination":"/proc"}])"), config["mounts"]);
  EXPECT_EQ(Json::parse(R"({"net.core.somaxconn":"5"})"), config["linux"]["sysctl"]);
  const Json& hooks = config["hooks"]["createContainer"];
  ASSERT_EQ(2u, hooks.size());
  EXPECT_EQ("/other", hooks[0]["path"]);
  EXPECT_EQ(Json::parse(R"(["mqueuefs","oci-hook","--read-only","--limit=msg_max=20"])"), hooks[1]["args"]);
  const Json& seccomp = config["linux"]["seccomp"];
  EXPECT_EQ("SCMP_ACT_ERRNO", seccomp["defaultAction"]);
  ASSERT_EQ(2u, seccomp["syscalls"].size());
  EXPECT_EQ(Json::parse(R"(["read"])"), seccomp["syscalls"][0]["names"]);
  EXPECT_EQ(Json::parse(R"(["mq_open", "mq_unlink", "mq_timedsend", "mq_timedreceive", "mq_notify", "mq_getsetattr",
      "msgget", "msgsnd", "msgrcv", "msgctl", "semget", "semop", "semctl", "shmget", "shmat", "shmdt", "shmctl",
      "semtimedop"])"),
            seccomp["syscalls"][1]["names"])
      << "mount is not the profile's to allow";
  // The second time what was taken out of the mounts and the sysctls is in the hook.
  Json again = config;
  ASSERT_EQ("", patch_oci_config(again, kChange));
  EXPECT_EQ(config, again);
}

TEST(OciConfig, NamesANamespace) {
  Json config = minimal();
  OciChange change = kChange;
  change.namespace_name = "shared";
  ASSERT_EQ("", patch_oci_config(config, change));
  EXPECT_EQ("ns=shared", config["linux"]["seccomp"]["listenerMetadata"]);
  EXPECT_EQ(Json::parse(R"(["mqueuefs","oci-hook","--ns","shared"])"), config["hooks"]["createContainer"][0]["args"]);
  Json shares_the_hosts = Json::parse(R"({"root":{},"linux":{}})");
  EXPECT_NE("", patch_oci_config(shares_the_hosts, change));
}

TEST(OciConfig, RefusesWhatItDoesNotUnderstand) {
  for (const char* text : {"[]", "{}", R"({"root":{},"linux":[]})", R"({"root":{},"hooks":1})", R"({"root":{},"mounts":{}})",
                           R"({"root":{},"linux":{"seccomp":{"listenerPath":"/another"}}})"}) {
    Json config = Json::parse(text);
    EXPECT_NE("", patch_oci_config(config, kChange)) << text;
  }
}

}  // namespace
}  // namespace mqueuefs::cli
