// The command line as a whole.
#pragma once

#include <string>
#include <vector>

namespace mqueuefs::cli {

/// Parses and runs. Exit codes: 0; 1 the operation failed; 2 usage (the mount form: mount(8)'s).
int run_program(int argc, char** argv);

/// The parser's outcome without running: 0 and nothing on stderr if `arguments` (without the program's name) are
/// well-formed, else kUsage. For tests.
int check_usage(std::vector<std::string> arguments);

}  // namespace mqueuefs::cli
