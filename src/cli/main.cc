// mqueuefs: the program. The outermost wall: what was thrown ends here.
#include <exception>

#include "cli/output.h"
#include "cli/program.h"

int main(int argc, char** argv) {
  try {
    return mqueuefs::cli::run_program(argc, argv);
  } catch (const std::exception& error) {
    return mqueuefs::cli::fail(error.what());
  }
}
