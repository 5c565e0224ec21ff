// Precompiled: two header-only libraries that take longer to read than all the rest of a command.
#ifndef MQUEUEFS_CLI_PCH_H
#define MQUEUEFS_CLI_PCH_H

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#endif
