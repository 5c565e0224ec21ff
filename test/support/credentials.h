// Giving up privilege, for good: for use in a child only.
#pragma once

#include <sys/types.h>

namespace mqueuefs::test {

/// Ordinary users of the tests. They need not be in /etc/passwd.
inline constexpr uid_t kNobody = 65534;
inline constexpr uid_t kAlice = 61001;
inline constexpr uid_t kBob = 61002;

/// A uid that nobody else uses: one for each calling process.
uid_t fresh_uid();

/// Becomes `uid` and `gid` with no supplementary groups and no capability. /proc/self stays writable (it
/// would not after a change of uid: PR_SET_DUMPABLE), and the process still dies with its parent.
bool become_user(uid_t uid, gid_t gid);

/// Takes `capability` from the permitted and effective sets.
bool drop_capability(int capability);

/// Makes a user namespace in which the caller has all capabilities and every id but its own is unmapped; its
/// own are `inside_uid` and `inside_gid` there.
bool enter_user_namespace(uid_t inside_uid = 0, gid_t inside_gid = 0);

}  // namespace mqueuefs::test
