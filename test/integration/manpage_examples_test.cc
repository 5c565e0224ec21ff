// The examples of the manual are run as they stand: lines with a prompt are commands, what follows is their output.
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "integration/program_fixture.h"
#include "support/run_command.h"

namespace mqueuefs::test {
namespace {

namespace fs = std::filesystem;

struct Step {
  std::string command;
  std::string expected;
};

std::string unescaped(std::string line) {
  if (line.starts_with("\\&")) line.erase(0, 2);
  for (const auto& [escape, text] : {std::pair<std::string, std::string>{"\\-", "-"}, {"\\e", "\\"}}) {
    for (size_t at = 0; (at = line.find(escape, at)) != std::string::npos; at += text.size()) {
      line.replace(at, escape.size(), text);
    }
  }
  return line;
}

std::vector<Step> examples_of(const fs::path& page) {
  std::ifstream file(page);
  std::vector<Step> steps;
  bool in_section = false, in_example = false, prompted = false;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(".SH")) in_section = line == ".SH EXAMPLES";
    if (line == ".EE") in_example = false;
    if (in_example) {
      line = unescaped(line);
      if (line.starts_with("$ ") || line.starts_with("# ")) {
        prompted = true;
        steps.push_back({line.substr(2), ""});
      } else if (prompted) {
        steps.back().expected += line + "\n";
      }
    }
    if (in_section && line == ".EX") {
      in_example = true;
      prompted = false;  // a block without a prompt is a file, or a program that is not there
    }
  }
  return steps;
}

// A line "..." stands for any lines, none included.
bool matches(const std::string& output, const std::string& expected) {
  const size_t gap = expected.find("...\n");
  if (gap == std::string::npos || (gap > 0 && expected[gap - 1] != '\n')) return output == expected;
  const std::string before = expected.substr(0, gap), after = expected.substr(gap + 4);
  return output.size() >= before.size() + after.size() && output.starts_with(before) && output.ends_with(after);
}

// Without the blanks at the ends of lines, which a page does not show.
std::string contents(const std::string& path) {
  std::ifstream file(path);
  std::string text;
  for (std::string line; std::getline(file, line);) {
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  return text;
}

class ManualExamples : public ProgramTest, public ::testing::WithParamInterface<std::string> {};

TEST_P(ManualExamples, DoWhatThePageSays) {
  const auto steps = examples_of(fs::path(MQUEUEFS_SOURCE_DIR) / "man" / GetParam());
  ASSERT_FALSE(steps.empty());
  in_private_namespaces([&](const std::string& dir) {
    // One shell for all, so that variables and jobs go on; the output of each goes to a file of its own.
    const std::string place = fs::path(dir).parent_path() / "outputs";
    fs::create_directory(place);
    std::string script = "umask 022\nmount -t tmpfs none /mnt\n";
    for (size_t i = 0; i < steps.size(); ++i) {
      script += "{ " + steps[i].command + "\n} >" + place + "/" + std::to_string(i) + " 2>&1\n";
    }
    script += "umount /mnt\n";
    const std::string programs = fs::absolute(mqueuefs_program()).parent_path();
    const CommandResult result =
        run_command({"bash", "-c", script}, "",
                    {.timeout_ms = 60'000, .environment = {{"PATH", programs + ":" + getenv("PATH")}, {"LC_ALL", "C.UTF-8"}}});
    EXPECT_FALSE(result.timed_out);
    EXPECT_EQ(result.status, 0) << result.stderr_text;
    for (size_t i = 0; i < steps.size(); ++i) {
      const std::string output = contents(place + "/" + std::to_string(i));
      EXPECT_TRUE(matches(output, steps[i].expected)) << steps[i].command << "\nprinted:\n" << output << "not:\n" << steps[i].expected;
    }
    fs::remove_all(place);
  });
}

std::vector<std::string> pages_with_examples() {
  std::vector<std::string> pages;
  for (const auto& entry : fs::directory_iterator(fs::path(MQUEUEFS_SOURCE_DIR) / "man")) {
    if (entry.path().extension() != ".3" && entry.path().extension() != ".build" && !examples_of(entry.path()).empty()) {
      pages.push_back(entry.path().filename());
    }
  }
  std::sort(pages.begin(), pages.end());
  return pages;
}

INSTANTIATE_TEST_SUITE_P(Pages, ManualExamples, ::testing::ValuesIn(pages_with_examples()), [](const auto& one) {
  std::string name = one.param;
  for (char& c : name) c = std::isalnum(static_cast<unsigned char>(c)) != 0 ? c : '_';
  return name;
});

}  // namespace
}  // namespace mqueuefs::test
