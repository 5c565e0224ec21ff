#include "cli/grammar.h"

#include "cli/argument_names.h"
#include "cli/command.h"
#include "cli/program.h"

namespace mqueuefs::cli {
namespace {

// CLI11 keeps them in a type's name only: "HOW:{preload,seccomp}".
std::vector<std::string> choices_in(const std::string& type_name) {
  std::vector<std::string> choices;
  const size_t open = type_name.find('{');
  const size_t close = type_name.find('}', open);
  if (open == std::string::npos || close == std::string::npos) return choices;
  std::string one;
  for (const char c : type_name.substr(open + 1, close - open - 1) + ",") {
    if (c != ',') {
      one += c;
    } else {
      choices.push_back(std::move(one));
      one.clear();
    }
  }
  return choices;
}

OptionGrammar describe(const CLI::Option& option) {
  OptionGrammar result;
  for (const std::string& name : option.get_snames()) result.names.push_back("-" + name);
  for (const std::string& name : option.get_lnames()) result.names.push_back("--" + name);
  result.description = option.get_description();
  if (option.get_items_expected_max() > 0) {
    const std::string type = option.get_type_name();
    const std::string& text = option.get_option_text();
    // prepare() takes no word after it for its value.
    result.value = text.starts_with("[=") ? ValueKind::kOptional : ValueKind::kRequired;
    result.value_name = !text.empty() ? text : type.substr(0, type.find(':'));
    result.choices = choices_in(type);
  }
  return result;
}

void describe(const CLI::App& command, const std::string& prefix, std::vector<CommandGrammar>& into) {
  const auto visible = [](const CLI::App* one) { return !one->get_group().empty(); };
  const auto commands = command.get_subcommands(visible);
  if (!commands.empty()) {
    for (const CLI::App* one : commands) describe(*one, prefix.empty() ? one->get_name() : prefix + " " + one->get_name(), into);
    return;
  }
  CommandGrammar result;
  result.name = prefix;
  result.description = command.get_description();
  result.runs_command = runs_command(prefix);
  for (const CLI::Option* option : command.get_options()) {
    if (option == command.get_help_ptr()) continue;
    if (option->get_positional()) {
      result.arguments.push_back(shown_name(option->get_name(true)));
      result.repeats_last = option->get_items_expected_max() > 1;
    } else if (!option->get_group().empty()) {
      result.options.push_back(describe(*option));
    }
  }
  // What may stand after the group's name or after the command's, as `ipc --ns NS list`.
  const CLI::App* const group = command.get_parent();
  if (command.get_fallthrough() && group != nullptr) {
    for (const CLI::Option* option : group->get_options()) {
      if (option != group->get_help_ptr() && !option->get_positional()) result.options.push_back(describe(*option));
    }
  }
  into.push_back(std::move(result));
}

}  // namespace

std::vector<CommandGrammar> grammar() {
  Program program;
  add_commands(program);
  std::vector<CommandGrammar> all;
  describe(program.app, "", all);
  return all;
}

}  // namespace mqueuefs::cli
