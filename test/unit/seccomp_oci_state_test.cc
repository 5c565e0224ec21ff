#include <gtest/gtest.h>

#include <cerrno>

#include "seccomp/oci_state.h"

namespace mqueuefs::seccomp {
namespace {

TEST(OciState, IsRead) {
  const auto state = parse_oci_state(R"({"ociVersion":"1.0.2","fds":["pidFd","seccompFd"],"pid":42,
      "metadata":"ns=shared","state":{"id":"c1","pid":42,"bundle":"/b"}})");
  ASSERT_TRUE(state.ok());
  EXPECT_EQ("c1", state->container);
  EXPECT_EQ(42, state->process);
  EXPECT_EQ(1u, state->listener);
  EXPECT_EQ("shared", state->namespace_name);
}

TEST(OciState, WithoutMetadataItIsTheContainersOwn) {
  const auto state = parse_oci_state(R"({"fds":["seccompFd"],"pid":1})");
  ASSERT_TRUE(state.ok());
  EXPECT_EQ("", state->namespace_name);
}

TEST(OciState, NonsenseIsAnError) {
  for (const char* text : {"", "{", "[]", "null", "7", R"({"fds":["seccompFd"]})", R"({"fds":[],"pid":1})",
                           R"({"fds":"seccompFd","pid":1})", R"({"fds":["other"],"pid":1})",
                           R"({"fds":["seccompFd"],"pid":0})", R"({"fds":["seccompFd"],"pid":"1"})",
                           R"({"fds":["seccompFd"],"pid":1,"metadata":"what"})",
                           R"({"fds":["seccompFd"],"pid":1,"metadata":"ns="})"})
    EXPECT_EQ(EINVAL, parse_oci_state(text).code()) << text;
  EXPECT_EQ(EINVAL, parse_oci_state(std::string(100'000, '[')).code());
}

}  // namespace
}  // namespace mqueuefs::seccomp
