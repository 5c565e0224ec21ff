// The command line as data: what --help shows, for completions and for the tests that hold the manual to it.
#pragma once

#include <string>
#include <vector>

namespace mqueuefs::cli {

enum class ValueKind { kNone, kOptional, kRequired };

struct OptionGrammar {
  std::vector<std::string> names;  ///< "--ns", "-p"
  std::string description;
  ValueKind value = ValueKind::kNone;
  std::string value_name;            ///< "NS"
  std::vector<std::string> choices;  ///< empty: anything
};

struct CommandGrammar {
  std::string name;  ///< "list", "ns list"
  std::string description;
  std::vector<OptionGrammar> options;  ///< without --help and hidden ones
  std::vector<std::string> arguments;  ///< "QUEUE", "DIR"
  bool repeats_last = false;           ///< the last argument may come several times
  bool runs_command = false;           ///< what follows "--" is a command line
};

/// All commands in the order of --help, without hidden ones; those with commands of their own are represented by these.
std::vector<CommandGrammar> grammar();

}  // namespace mqueuefs::cli
