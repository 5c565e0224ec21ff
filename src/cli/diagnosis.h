// What a machine can and can't do, for people: `mqueuefs doctor` and `--version`. The trials are daemon/features.h's;
// here each gets its words. Nothing in here asks anybody.
#pragma once

#include <string>
#include <vector>

#include "cli/encoding.h"
#include "daemon/features.h"

namespace mqueuefs::cli {

enum class Answer { kYes, kNo };

struct Finding {
  std::string name;     ///< for programs: "fuse-device"
  std::string title;    ///< for people
  Answer answer = Answer::kYes;
  std::string found;    ///< what the trial said
  std::string follows;  ///< what that means for who uses mqueuefs, and what can be done
};

/// What the commands know besides.
struct Surroundings {
  bool is_root = false;
  std::string kernel;          ///< "Linux 6.1.0"
  std::string libfuse;         ///< "3.14.0"
  std::string daemon_socket;   ///< where one answers; empty: none does
  std::string domain;          ///< which daemon this user's commands use, and why
  std::string other_daemon;    ///< one that serves others; empty: none is known
  std::string preload;         ///< where the library of `mqueuefs run` is; empty: nowhere
  std::string userns_sysctl;  ///< a sysctl that keeps ordinary users from user namespaces, as NAME = VALUE
  std::vector<std::string> dead_mounts;  ///< places where a daemon is gone
};

std::vector<Finding> diagnose(const daemon::SystemReport& report, const Surroundings& around);

/// How mounting is done here; empty: it can't be.
std::string way_to_mount(const daemon::SystemReport& report);

/// The lines of --version.
std::string version_text(const daemon::SystemReport& report, const Surroundings& around);

}  // namespace mqueuefs::cli
