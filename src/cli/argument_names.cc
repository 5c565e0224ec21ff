#include "cli/argument_names.h"

#include <array>

namespace mqueuefs::cli {
namespace {

// Those that CLI11 2.4 and later refuse. Longer names first: one may be the beginning of another.
constexpr std::array kShown = std::to_array<const char*>({"KEY=VALUE", "ID=NEWID"});

}  // namespace

std::string argument_name(std::string shown) {
  for (char& c : shown) {
    if (isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
  }
  return shown;
}

std::string shown_name(const std::string& name) {
  for (const char* const shown : kShown) {
    if (argument_name(shown) == name) return shown;
  }
  return name;
}

std::string with_shown_names(std::string text) {
  for (const char* const shown : kShown) {
    const std::string name = argument_name(shown);
    for (size_t at = 0; (at = text.find(name, at)) != std::string::npos; at += name.size()) text.replace(at, name.size(), shown);
  }
  return text;
}

std::string ArgumentFormatter::make_option_name(const CLI::Option* option, bool is_positional) const {
  return with_shown_names(CLI::Formatter::make_option_name(option, is_positional));
}

}  // namespace mqueuefs::cli
