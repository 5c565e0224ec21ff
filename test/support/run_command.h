// Running a program and looking at what came of it.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace mqueuefs::test {

struct CommandResult {
  int status = -1;  ///< the exit status; 128 + the signal; 127 if the program can't be run
  bool timed_out = false;
  std::string stdout_text;
  std::string stderr_text;
};

struct CommandOptions {
  int timeout_ms = 10'000;                                            ///< then its process group is killed
  std::vector<std::pair<std::string, std::string>> environment = {};  ///< set besides the inherited one
  std::string directory = {};                                         ///< empty: the caller's
  std::string program = {};  ///< what to execute if it is not argv[0]; looked up in PATH
};

/// Runs `argv` with `stdin_text` as its input. Blocks until the process *itself* has ended: a daemon it left
/// behind may keep the pipes open. The process dies with the calling thread.
CommandResult run_command(const std::vector<std::string>& argv, const std::string& stdin_text = "",
                          const CommandOptions& options = {});

/// The program under test: $MQUEUEFS_PROGRAM, or `mqueuefs` of PATH.
std::string mqueuefs_program();

}  // namespace mqueuefs::test
