#include "cli/mount_options.h"

#include <algorithm>
#include <array>

#include "control/messages.h"

namespace mqueuefs::cli {
namespace {

struct FlagWord {
  std::string_view word;
  uint32_t clears;
  uint32_t sets;
};
constexpr uint32_t kAnyAtime = control::kMountNoAtime | control::kMountStrictAtime;
constexpr std::array kFlagWords = {
    FlagWord{"ro", 0, control::kMountReadOnly},
    FlagWord{"rw", control::kMountReadOnly, 0},
    FlagWord{"nosuid", 0, control::kMountNoSuid},
    FlagWord{"suid", control::kMountNoSuid, 0},
    FlagWord{"noexec", 0, control::kMountNoExec},
    FlagWord{"exec", control::kMountNoExec, 0},
    FlagWord{"nodev", 0, control::kMountNoDev},
    FlagWord{"dev", control::kMountNoDev, 0},
    FlagWord{"noatime", kAnyAtime, control::kMountNoAtime},
    FlagWord{"atime", control::kMountNoAtime, 0},
    FlagWord{"relatime", kAnyAtime, 0},
    FlagWord{"norelatime", 0, 0},
    FlagWord{"strictatime", kAnyAtime, control::kMountStrictAtime},
    FlagWord{"nostrictatime", control::kMountStrictAtime, 0},
};

// mount(8)'s own, for fstab; superblock flags without meaning here; and FUSE's, which are not ours to choose but
// which a remount repeats as /proc/self/mountinfo has them. Some have a "=value".
constexpr std::array<std::string_view, 38> kIgnored = {
    "defaults",    "_netdev",     "nofail",      "auto",     "noauto",  "user",       "nouser",
    "users",       "nousers",     "owner",       "noowner",  "group",   "nogroup",    "comment",
    "diratime",    "nodiratime",  "sync",        "async",    "dirsync", "mand",       "nomand",
    "lazytime",    "nolazytime",  "silent",      "loud",     "iversion", "noiversion", "symfollow",
    "nosymfollow", "uhelper",     "helper",      "user_id",  "group_id", "default_permissions",
    "allow_other", "max_read",    "rootmode",    "seclabel"};

bool is_ignored(std::string_view word) {
  if (word.empty() || word.starts_with("x-") || word.starts_with("X-")) return true;
  const std::string_view key = word.substr(0, word.find('='));
  return std::find(kIgnored.begin(), kIgnored.end(), key) != kIgnored.end();
}

bool apply(std::string_view word, MountOptions& options) {
  for (const FlagWord& known : kFlagWords) {
    if (word != known.word) continue;
    options.flags = (options.flags & ~known.clears) | known.sets;
    return true;
  }
  if (word == "remount") {
    options.remount = true;
    return true;
  }
  if (word == "view=proc") {
    options.flags |= control::kMountProcView;
    return true;
  }
  if (word.starts_with("ns=") && word.size() > 3) {
    options.namespace_name = word.substr(3);
    return true;
  }
  return is_ignored(word);
}

}  // namespace

std::string parse_mount_options(std::string_view text, bool sloppy, MountOptions& options) {
  while (!text.empty()) {
    const size_t comma = std::min(text.find(','), text.size());
    const std::string_view word = text.substr(0, comma);
    if (!apply(word, options) && !sloppy) return std::string(word);
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return {};
}

}  // namespace mqueuefs::cli
