// Every command has a page, and the page and --help list the same options.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <regex>
#include <set>
#include <string>

#include "cli/grammar.h"
#include "daemon/privileges.h"

namespace mqueuefs::cli {
namespace {

std::string source_file(const std::string& path) {
  const char* root = std::getenv("MQUEUEFS_SOURCE_DIR");
  std::ifstream file(std::string(root != nullptr ? root : MQUEUEFS_SOURCE_DIR) + "/" + path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// As it is read: without the formatter's requests and escapes.
std::string plain(const std::string& roff) {
  std::string text = std::regex_replace(roff, std::regex(R"(\\-)"), "-");
  text = std::regex_replace(text, std::regex(R"(\\f[A-Z]|\\&)"), "");
  return text;
}

std::string page_of(const std::string& command) {
  const std::string first = command.substr(0, command.find(' '));
  return first == "daemon" ? "man/mqueuefsd.8" : "man/mqueuefs-" + first + ".1";
}

std::string section(const std::string& page, const std::string& heading) {
  const size_t begin = page.find(".SH " + heading + "\n");
  if (begin == std::string::npos) return {};
  return page.substr(begin, page.find("\n.SH ", begin + 1) - begin);
}

std::set<std::string> options_in(const std::string& text) {
  static const std::regex option("(^|[^A-Za-z0-9-])(-[a-z]|--[a-z]+(-[a-z]+)*)(?![A-Za-z0-9-])");
  std::set<std::string> found;
  for (auto match = std::sregex_iterator(text.begin(), text.end(), option); match != std::sregex_iterator(); ++match) {
    found.insert((*match)[2]);
  }
  return found;
}

// The lines that .TP makes headings.
std::string tags(const std::string& section) {
  static const std::regex tag("\n\\.TP\n([^\n]*)");
  std::string all;
  for (auto match = std::sregex_iterator(section.begin(), section.end(), tag); match != std::sregex_iterator(); ++match) {
    all += (*match)[1].str() + "\n";
  }
  return all;
}

TEST(Manual, EveryCommandHasAPageWithTheOptionsOfItsHelp) {
  std::map<std::string, std::set<std::string>> options;  // by page
  for (const CommandGrammar& command : grammar()) {
    auto& here = options[page_of(command.name)];
    for (const OptionGrammar& option : command.options) here.insert(option.names.begin(), option.names.end());
  }
  EXPECT_GE(options.size(), 17U);
  for (const auto& [path, from_help] : options) {
    const std::string page = plain(source_file(path));
    ASSERT_FALSE(page.empty()) << path << " is to be written";
    EXPECT_EQ(options_in(tags(section(page, "OPTIONS"))), from_help) << path;
    std::set<std::string> in_synopsis = options_in(section(page, "SYNOPSIS"));
    for (const std::string other : {"-t", "--now", "--"}) in_synopsis.erase(other);  // mount's, systemctl's
    for (const std::string& option : in_synopsis) EXPECT_TRUE(from_help.contains(option)) << path << ": " << option;
  }
}

TEST(Manual, ArgumentsAreNamedAsInTheHelp) {
  for (const CommandGrammar& command : grammar()) {
    const std::string page = plain(source_file(page_of(command.name)));
    for (const std::string& argument : command.arguments) {
      EXPECT_NE(section(page, "SYNOPSIS").find(argument), std::string::npos) << command.name << ": " << argument;
    }
  }
}

TEST(Manual, TheIntroductionNamesEveryPage) {
  const std::string introduction = plain(source_file("man/mqueuefs.1"));
  for (const CommandGrammar& command : grammar()) {
    const std::string first = command.name.substr(0, command.name.find(' '));
    EXPECT_NE(introduction.find("mqueuefs-" + first + "(1)"), std::string::npos) << first;
  }
}

TEST(Manual, EveryPageHasItsSections) {
  for (const CommandGrammar& command : grammar()) {
    const std::string page = source_file(page_of(command.name));
    for (const std::string heading : {"NAME", "SYNOPSIS", "DESCRIPTION", "SEE ALSO"}) {
      EXPECT_FALSE(section(page, heading).empty()) << page_of(command.name) << ": " << heading;
    }
  }
}

TEST(Manual, TheCapabilitiesThatAreKeptAreThoseOfThePageAndTheUnit) {
  const std::string page = tags(section(plain(source_file("man/mqueuefsd.8")), "CAPABILITIES"));
  const std::string unit = source_file("packaging/systemd/mqueuefs.service.in");
  static const std::regex name("CAP_[A-Z_]+");
  std::set<std::string> in_page, in_unit, kept, kept_with_mounting;
  for (auto match = std::sregex_iterator(page.begin(), page.end(), name); match != std::sregex_iterator(); ++match) {
    in_page.insert(match->str());
  }
  static const std::regex bounding("\nCapabilityBoundingSet=([^\n]*)");
  for (auto line = std::sregex_iterator(unit.begin(), unit.end(), bounding); line != std::sregex_iterator(); ++line) {
    const std::string names = (*line)[1];
    for (auto match = std::sregex_iterator(names.begin(), names.end(), name); match != std::sregex_iterator(); ++match) {
      in_unit.insert(match->str());
    }
  }
  for (const auto& capability : daemon::kept_capabilities()) {
    kept.insert(capability.name);
    if (std::string(capability.name) != "CAP_SETFCAP") kept_with_mounting.insert(capability.name);
  }
  EXPECT_EQ(in_page, kept);
  EXPECT_EQ(in_unit, kept_with_mounting);
}

}  // namespace
}  // namespace mqueuefs::cli
