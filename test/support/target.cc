#include "support/target.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <string_view>

#include "base/check.h"
#include "support/capability_check.h"
#include "support/child.h"
#include "support/expect.h"
#include "support/posix_calls.h"
#include "support/target_kernel.h"
#include "support/target_mqueuefs.h"
#include "support/temp_dir.h"

namespace mqueuefs::test {

Target& Target::current() {
  static const std::unique_ptr<Target> target = []() -> std::unique_ptr<Target> {
    const char* chosen = getenv("MQUEUEFS_TEST_TARGET");
    if (chosen != nullptr && strcmp(chosen, "kernel") == 0) return make_kernel_target();
    if (chosen != nullptr && strcmp(chosen, "preload") == 0)
      return make_mqueuefs_target(make_posix_queue_calls(libc_calls));
    if (chosen != nullptr && strcmp(chosen, "seccomp") == 0)
      return make_mqueuefs_target(make_kernel_queue_calls());
    if (chosen != nullptr && strcmp(chosen, "library") == 0)
      return make_mqueuefs_target(make_posix_queue_calls(library_calls));
    MQUEUEFS_CHECK(chosen == nullptr || strcmp(chosen, "mqueuefs") == 0);
    return make_mqueuefs_target(make_mqueuefs_queue_calls());
  }();
  return *target;
}

void enter_new_namespace(const std::string& dir) {
  ASSERT_OK(unshare(CLONE_NEWIPC | CLONE_NEWNS));
  ASSERT_OK(::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr));
  Target::current().use_private_account();
  ASSERT_EQ(0, Target::current().mount(dir)) << "mount " << Target::current().file_system_type();
}

void TargetTest::SetUp() {
  for (const std::string& missing : {Target::current().missing(), missing_posix_calls()}) {
    if (!missing.empty()) GTEST_SKIP() << missing;
  }
}

void TargetTest::in_new_namespace(const std::function<void(const std::string& dir)>& body) {
  const TempDir dir;
  run_in_child([&] {
    enter_new_namespace(dir.path());
    if (HasFailure()) return;
    umask(0);
    body(dir.path());
    umount2(dir.path().c_str(), MNT_DETACH);
  });
}

void TargetEnvironment::SetUp() {
  Target::current().start();
}

void TargetEnvironment::TearDown() {
  const std::string left_behind = Target::current().stop();
  EXPECT_EQ("", left_behind);
}

int errno_of(const CommandResult& result) {
  if (result.status == 0) return 0;
  // The longest name wins: ENOTDIR is not ENOTD.
  std::string_view text = result.stderr_text;
  for (size_t at = 0; at < text.size();) {
    size_t end = at;
    while (end < text.size() && (isupper(text[end]) || isdigit(text[end])))
      ++end;
    const std::string_view word = text.substr(at, end - at);
    for (int code = 1; word.size() > 2 && code < 200; ++code) {
      const char* name = strerrorname_np(code);
      if (name != nullptr && word == name) return code;
    }
    at = end + 1;
  }
  return EIO;
}

}  // namespace mqueuefs::test
