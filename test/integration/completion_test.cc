// What the shells complete.
#include <gtest/gtest.h>

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "integration/program_fixture.h"
#include "support/run_command.h"

namespace mqueuefs::test {
namespace {

class Completions : public ProgramTest {
 protected:
  static CommandResult shell(const std::vector<std::string>& command) {
    const std::string programs = std::filesystem::absolute(mqueuefs_program()).parent_path();
    return run_command(command, "", {.environment = {{"PATH", programs + ":" + getenv("PATH")}}});
  }
  static bool has(const std::string& name) { return shell({"sh", "-c", "command -v " + name}).status == 0; }

  /// What bash offers for the last of `words`, sorted, each once.
  static std::string in_bash(const std::string& words) {
    const CommandResult result = shell({"bash", "--norc", "-c", R"sh(eval "$(mqueuefs completion bash)"
COMP_WORDS=()sh" + words + R"sh()
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_mqueuefs
printf '%s\n' "${COMPREPLY[@]}" | sort -u | paste -sd ' ')sh"});
    EXPECT_EQ(result.stderr_text, "") << words;
    return result.stdout_text;
  }
};

TEST_F(Completions, OfBashFollowTheGrammar) {
  EXPECT_EQ(in_bash("mqueuefs re"), "receive remove\n");
  EXPECT_EQ(in_bash("mqueuefs ns ''"), "--help bind create list remove\n");
  EXPECT_EQ(in_bash("mqueuefs send --t"), "--timeout\n");
  EXPECT_EQ(in_bash("mqueuefs run --via s"), "seccomp\n");
  EXPECT_EQ(in_bash("mqueuefs limits msg_"), "msg_default= msg_max=\n");
  EXPECT_EQ(in_bash("mqueuefs daemon --log-level w"), "warn\n");
  EXPECT_EQ(in_bash("mqueuefs unshare -- unsha"), "unshare\n");
}

TEST_F(Completions, NameWhatIsThereWithoutStartingADaemon) {
  in_private_namespaces([](const std::string&) {
    EXPECT_EQ(in_bash("mqueuefs stat ''"), "\n");
    EXPECT_NE(access(getenv("MQUEUEFS_SOCKET"), F_OK), 0);
    EXPECT_EQ(program({"create", "/first"}).status, 0);
    EXPECT_EQ(program({"ns", "create", "named"}).status, 0);
    EXPECT_EQ(program({"create", "--ns", "named", "/second"}).status, 0);
    EXPECT_EQ(program({"create", "--ns", "named", "/not $(plain)"}).status, 0);
    EXPECT_EQ(in_bash("mqueuefs stat ''"), "/first\n");
    EXPECT_EQ(in_bash("mqueuefs stat --ns n"), "named\n");
    EXPECT_EQ(in_bash("mqueuefs stat --ns named /"), "/second\n");
    EXPECT_EQ(in_bash("mqueuefs send /first ''"), "\n");
    program({"remove", "/first"});
    program({"remove", "--ns", "named", "/second", "/not $(plain)"});
    program({"ns", "remove", "named"});
  });
}

TEST_F(Completions, OfZshAndFishAreWellFormed) {
  if (!has("zsh") && !has("fish")) GTEST_SKIP() << "neither zsh nor fish is here";
  if (has("zsh")) {
    const CommandResult result = shell({"zsh", "-f", "-c", R"sh(autoload -Uz compinit && compinit -D -u
source <(mqueuefs completion zsh | sed '$d')
words=(mqueuefs run --via s) at=3 current=s previous=--via all_commands=
_mqueuefs_walk)sh"});
    EXPECT_EQ(result.stderr_text, "");
    EXPECT_EQ(result.stdout_text, "\npreload seccomp\n");
  }
  if (has("fish")) {
    const CommandResult result =
        shell({"fish", "--no-config", "-c", "mqueuefs completion fish | source; complete -C 'mqueuefs rec'"});
    EXPECT_EQ(result.stderr_text, "");
    EXPECT_EQ(result.stdout_text, "receive\tReceive messages, one a line\n");
  }
}

}  // namespace
}  // namespace mqueuefs::test
