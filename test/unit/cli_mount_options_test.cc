#include "cli/mount_options.h"

#include <gtest/gtest.h>

#include "cli/mount_form.h"
#include "control/messages.h"

namespace mqueuefs::cli {
namespace {

MountOptions parsed(const std::string& text) {
  MountOptions options;
  EXPECT_EQ(parse_mount_options(text, false, options), "") << text;
  return options;
}

TEST(ParseMountOptions, ChangesFlags) {
  EXPECT_EQ(parsed("").flags, 0u);
  EXPECT_EQ(parsed("ro,nosuid,nodev,noexec").flags, control::kMountReadOnly | control::kMountNoSuid |
                                                        control::kMountNoDev | control::kMountNoExec);
  EXPECT_EQ(parsed("noatime").flags, control::kMountNoAtime);
}

TEST(ParseMountOptions, LastOfContradictionsCounts) {
  EXPECT_EQ(parsed("ro,rw").flags, 0u);
  EXPECT_EQ(parsed("rw,ro").flags, control::kMountReadOnly);
  EXPECT_EQ(parsed("noatime,strictatime").flags, control::kMountStrictAtime);
  EXPECT_EQ(parsed("strictatime,relatime").flags, 0u);
  EXPECT_EQ(parsed("ns=a,ns=b").namespace_name, "b");
}

TEST(ParseMountOptions, TakesTheNamespaceAndRemount) {
  const MountOptions options = parsed("remount,ns=web=1");
  EXPECT_EQ(options.namespace_name, "web=1");
  EXPECT_TRUE(options.remount);
}

TEST(ParseMountOptions, TakesTheView) {
  EXPECT_EQ(parsed("ro,view=proc").flags, control::kMountReadOnly | control::kMountProcView);
  MountOptions options;
  EXPECT_EQ(parse_mount_options("view=sysfs", false, options), "view=sysfs");
}

TEST(ParseMountOptions, AcceptsWhatFstabHas) {
  const MountOptions options =
      parsed("defaults,_netdev,nofail,noauto,user=me,users,x-systemd.automount,X-mount.mkdir=0755,comment=a b,,");
  EXPECT_EQ(options.flags, 0u);
}

// What mount(8) repeats to the helper on `mount -o remount,ro DIR`.
TEST(ParseMountOptions, AcceptsWhatMountinfoShows) {
  const MountOptions options = parsed("rw,nosuid,nodev,noexec,relatime,user_id=0,group_id=0,default_permissions,"
                                      "allow_other,remount,ro");
  EXPECT_TRUE(options.remount);
  EXPECT_TRUE((options.flags & control::kMountReadOnly) != 0);
}

TEST(ParseMountOptions, UnknownWordIsReturned) {
  MountOptions options;
  EXPECT_EQ(parse_mount_options("ro,uid=3,rw", false, options), "uid=3");
  EXPECT_EQ(parse_mount_options("ns=", false, options), "ns=");
  EXPECT_EQ(parse_mount_options("uid=3", true, options), "");
}

std::string parse(std::vector<std::string> arguments, MountCommand& command) {
  return parse_mount_command(arguments, command);
}

// How mount(8) calls helpers: "/sbin/mount.<type> <spec> <dir> [-sfnv] [-N <namespace>] [-o <options>] [-t <type>]".
TEST(ParseMountCommand, AsMountCallsHelpers) {
  MountCommand command;
  EXPECT_EQ(parse({"none", "/dev/mqueue", "-o", "ro,ns=web", "-sv", "-t", "fuse.mqueuefs"}, command), "");
  EXPECT_EQ(command.source, "none");
  EXPECT_EQ(command.directory, "/dev/mqueue");
  EXPECT_EQ(command.options.namespace_name, "web");
  EXPECT_TRUE(command.verbose);
  EXPECT_FALSE(command.fake);
}

TEST(ParseMountCommand, OptionsMayComeFirstAndTogether) {
  MountCommand command;
  EXPECT_EQ(parse({"-no", "ro", "-f", "none", "/d"}, command), "");
  EXPECT_TRUE(command.fake);
  EXPECT_EQ(command.options.flags, control::kMountReadOnly);
}

TEST(ParseMountCommand, RefusesWhatItDoesNotKnow) {
  MountCommand command;
  EXPECT_NE(parse({"none"}, command), "");
  EXPECT_NE(parse({"none", "/d", "more"}, command), "");
  EXPECT_NE(parse({"none", "/d", "-x"}, command), "");
  EXPECT_NE(parse({"none", "/d", "-o"}, command), "");
  EXPECT_NE(parse({"none", "/d", "-o", "bogus"}, command), "");
}

TEST(IsMountForm, ByNameOrByShape) {
  const auto is_command = [](const std::string& word) { return word == "list"; };
  EXPECT_TRUE(is_mount_form("/sbin/mount.fuse.mqueuefs", {}, is_command));
  EXPECT_TRUE(is_mount_form("mqueuefs", {"none", "/dev/mqueue", "-o", "rw"}, is_command));
  EXPECT_FALSE(is_mount_form("mqueuefs", {"list", "/dev/mqueue"}, is_command));
  EXPECT_FALSE(is_mount_form("mqueuefs", {"--help", "/x"}, is_command));
  EXPECT_FALSE(is_mount_form("/opt/mount.d/mqueuefs", {"list"}, is_command));
}

}  // namespace
}  // namespace mqueuefs::cli
