// What `mqueuefs doctor` says of machines that lack something.
#include "cli/diagnosis.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>

namespace mqueuefs::cli {
namespace {

daemon::SystemReport rich() {
  daemon::SystemReport report;
  report.features = {true, true, true, true, true, true, true};
  report.fuse = daemon::FuseProtocol{7, 41, true, true};
  return report;
}

Surroundings surroundings() {
  Surroundings around;
  around.kernel = "Linux 6.12";
  around.libfuse = "3.14.0";
  around.preload = "/usr/lib/libmqueuefs-preload.so";
  around.daemon_socket = "/run/mqueuefs/mqueuefs.sock";
  around.domain = "of root and the group mqueuefs";
  return around;
}

Finding find(const std::vector<Finding>& all, const std::string& name) {
  const auto found = std::find_if(all.begin(), all.end(), [&](const Finding& one) { return one.name == name; });
  return found != all.end() ? *found : Finding{};
}

TEST(Diagnosis, ARichMachineLacksNothingAndEachFindingSaysWhatFollows) {
  for (const Finding& one : diagnose(rich(), surroundings())) {
    EXPECT_EQ(one.answer, Answer::kYes) << one.name << ": " << one.found;
    EXPECT_FALSE(one.title.empty());
    EXPECT_FALSE(one.found.empty()) << one.name;
    EXPECT_FALSE(one.follows.empty()) << one.name;
  }
  EXPECT_EQ(way_to_mount(rich()), "directly");
}

TEST(Diagnosis, WithoutTheDeviceItSaysWhereToGetIt) {
  auto report = rich();
  report.fuse_device = ENOENT;
  report.fuse.reset();
  report.features.mount_privilege = report.features.user_namespaces = false;
  const Finding device = find(diagnose(report, surroundings()), "fuse-device");
  EXPECT_EQ(device.answer, Answer::kNo);
  EXPECT_EQ(device.found, "No such file or directory (ENOENT)");
  EXPECT_NE(device.follows.find("modprobe fuse"), std::string::npos);
  EXPECT_NE(device.follows.find("--device /dev/fuse"), std::string::npos);
  EXPECT_EQ(way_to_mount(report), "");
}

TEST(Diagnosis, AnOrdinaryUserIsToldByWhatHeMounts) {
  auto report = rich();
  report.features.mount_privilege = false;
  report.mount_api = EPERM;
  EXPECT_EQ(way_to_mount(report), "in a user namespace");
  EXPECT_EQ(find(diagnose(report, surroundings()), "mount-privilege").found,
            "fsopen(2): Operation not permitted (EPERM)");
  report.features.user_namespaces = false;
  report.user_namespaces = EPERM;
  EXPECT_EQ(way_to_mount(report), "through fusermount3");
  auto around = surroundings();
  around.userns_sysctl = "user.max_user_namespaces is 0";
  EXPECT_EQ(find(diagnose(report, around), "user-namespaces").found,
            "Operation not permitted (EPERM), user.max_user_namespaces is 0");
  report.features.fusermount = false;
  EXPECT_EQ(way_to_mount(report), "");
}

TEST(Diagnosis, AnOldKernelIsNamed) {
  auto report = rich();
  report.mount_api = ENOSYS;
  EXPECT_NE(find(diagnose(report, surroundings()), "mount-api").follows.find("Linux 5.2"), std::string::npos);
  report = rich();
  report.fuse->shares_superblock = false;
  report.fuse->resend = false;
  report.fuse->minor = 32;
  EXPECT_EQ(find(diagnose(report, surroundings()), "mount-api").answer, Answer::kNo);
  EXPECT_EQ(find(diagnose(report, surroundings()), "fuse-resend").found, "FUSE protocol 7.32");
}

TEST(Diagnosis, HowTheEndOfANamespaceIsKnownIsSaid) {
  auto report = rich();
  report.features.nsfs_handles = false;
  EXPECT_NE(find(diagnose(report, surroundings()), "namespace-probe").follows.find("only held keeps its queues"),
            std::string::npos);
  report.features.namespace_probe = false;
  const Finding probe = find(diagnose(report, surroundings()), "namespace-probe");
  EXPECT_EQ(probe.answer, Answer::kNo);
  EXPECT_NE(probe.follows.find("loses them"), std::string::npos) << probe.follows;
}

TEST(Diagnosis, AMountWhoseDaemonIsGoneCanBeUnmounted) {
  auto around = surroundings();
  around.dead_mounts = {"/mnt"};
  const Finding dead = find(diagnose(rich(), around), "dead-mount");
  EXPECT_EQ(dead.found, "/mnt: Transport endpoint is not connected (ENOTCONN)");
  EXPECT_NE(dead.follows.find("umount /mnt"), std::string::npos);
}

TEST(Diagnosis, TheVersionNamesWhatIsThereAndWhatIsNot) {
  auto report = rich();
  report.seccomp_notification = EINVAL;
  const std::string text = version_text(report, surroundings());
  EXPECT_TRUE(text.starts_with("mqueuefs " MQUEUEFS_VERSION "\nlibfuse 3.14.0\nLinux 6.12, FUSE protocol 7.41\nhas: fuse-device"))
      << text;
  EXPECT_TRUE(text.ends_with("\nlacks: seccomp-notification")) << text;
}

}  // namespace
}  // namespace mqueuefs::cli
