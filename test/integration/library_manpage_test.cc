// The examples of the section 3 pages are programs: each is compiled as its page says, and run.
#include <filesystem>
#include <fstream>
#include <string>

#include "integration/program_fixture.h"
#include "support/run_command.h"
#include "support/temp_dir.h"

namespace mqueuefs::test {
namespace {

std::string example_of(const std::filesystem::path& page) {
  std::ifstream file(page);
  std::string program;
  bool in_section = false;
  bool in_example = false;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(".SH")) in_section = line == ".SH EXAMPLES";
    if (line == ".EE") in_example = false;
    if (in_example) {
      // What the formatter makes of the two escapes that the pages use.
      for (const auto& [escape, text] : {std::pair<std::string, std::string>{"\\-", "-"}, {"\\e", "\\"}}) {
        for (size_t at = 0; (at = line.find(escape, at)) != std::string::npos; at += text.size()) {
          line.replace(at, escape.size(), text);
        }
      }
      program += line + "\n";
    }
    if (in_section && line == ".EX") in_example = true;
  }
  return program;
}

class LibraryManPages : public ProgramTest {};

TEST_F(LibraryManPages, ExamplesCompileAndRun) {
  namespace fs = std::filesystem;
  const fs::path source = MQUEUEFS_SOURCE_DIR;
  const fs::path program = fs::absolute(mqueuefs_program());
  const fs::path library = program.parent_path().parent_path() / "client" / "libmqueuefs.so";
  if (!fs::exists(library)) GTEST_SKIP() << "no " << library;
  in_private_namespaces([&](const std::string& dir) {
    int pages = 0;
    for (const auto& entry : fs::directory_iterator(source / "man")) {
      if (entry.path().extension() != ".3") continue;
      ++pages;
      const std::string name = dir + "/" + entry.path().stem().string();
      const std::string example = example_of(entry.path());
      EXPECT_NE(example.find("int main"), std::string::npos) << entry.path();
      std::ofstream(name + ".c") << example;
      const CommandResult compiled = run_command({"cc", "-Wall", "-Wextra", "-Werror", "-I", source / "include",
                                                  name + ".c", library, "-Wl,-rpath," + library.parent_path().string(),
                                                  "-o", name}, "", {.timeout_ms = 60'000});
      ASSERT_EQ(compiled.status, 0) << entry.path() << ": " << compiled.stderr_text;
      const CommandResult result = run_command({name}, "", {.environment = {{"MQUEUEFS_PROGRAM", program}}});
      EXPECT_EQ(result.status, 0) << entry.path() << ": " << result.stderr_text;
    }
    EXPECT_GE(pages, 6);
  });
}

}  // namespace
}  // namespace mqueuefs::test
