// What an argument is called: CLI11 takes letters, digits and a few signs for the name of an argument, and people read
// KEY=VALUE.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace mqueuefs::cli {

/// The name by which CLI11 knows the argument that people call `shown`: each other sign is '_'.
std::string argument_name(std::string shown);

/// The name that people read, of an argument that argument_name() named, or any other.
std::string shown_name(const std::string& name);

/// A text in which CLI11 names arguments, with the names that people read.
std::string with_shown_names(std::string text);

/// Prints help with the names that people read.
class ArgumentFormatter : public CLI::Formatter {
 public:
  std::string make_option_name(const CLI::Option* option, bool is_positional) const override;
};

}  // namespace mqueuefs::cli
