// mqueuefs run: a program as it is, with its message queues here.
#include <elf.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <optional>

#include "cli/command.h"
#include "cli/connect.h"
#include "cli/new_namespace.h"
#include "cli/output.h"
#include "cli/preload_library.h"

namespace mqueuefs::cli {
namespace {

// As execvp(3) looks for it; empty: not there, which is exec's to report.
std::string find_command(const std::string& command) {
  if (command.find('/') != std::string::npos) return command;
  const char* path = getenv("PATH");
  std::string places = path != nullptr ? path : "/bin:/usr/bin";
  places += ':';
  for (size_t at = 0, end; (end = places.find(':', at)) != std::string::npos; at = end + 1) {
    const std::string dir = end == at ? "." : places.substr(at, end - at);
    const std::string candidate = dir + "/" + command;
    if (access(candidate.c_str(), X_OK) == 0 && !std::filesystem::is_directory(candidate)) return candidate;
  }
  return "";
}

bool changes_identity(const char* path, const struct stat& status) {
  // What the kernel takes no notice of for who it is already makes no difference to the loader either.
  if ((status.st_mode & S_ISUID) != 0 && status.st_uid != geteuid()) return true;
  if ((status.st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) && status.st_gid != getegid()) return true;
  return geteuid() != 0 && getxattr(path, "security.capability", nullptr, 0) > 0;
}

// The file name of the dynamic loader that the program asks for (PT_INTERP); empty: it is statically linked. Another
// loader is another C library, at whatever place a system keeps it.
template <typename Header, typename Segment>
std::string loader_of(int file, const Header& header) {
  for (unsigned i = 0; i < header.e_phnum; ++i) {
    Segment segment;
    const auto offset = static_cast<off_t>(header.e_phoff + i * uint64_t{header.e_phentsize});
    if (pread(file, &segment, sizeof segment, offset) != static_cast<ssize_t>(sizeof segment)) break;
    if (segment.p_type != PT_INTERP) continue;
    char path[PATH_MAX] = {};
    const size_t size = std::min<size_t>(segment.p_filesz, sizeof path - 1);
    if (pread(file, path, size, static_cast<off_t>(segment.p_offset)) != static_cast<ssize_t>(size)) break;
    return std::filesystem::path(path).filename();
  }
  return "";
}

// Why the loader would not load the library into the program at `path`; nothing if it would, or if exec will fail
// anyway. A script is its interpreter's business.
std::optional<std::string> why_not_preloadable(std::string path) {
  for (int depth = 0; depth < 5; ++depth) {
    const UniqueFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    struct stat status {};
    char first[PATH_MAX] = {};
    if (!file || fstat(file.get(), &status) != 0) return std::nullopt;
    const ssize_t size = read(file.get(), first, sizeof first - 1);
    if (size < 2) return std::nullopt;
    if (memcmp(first, "#!", 2) == 0) {
      const char* const begin = first + 2 + strspn(first + 2, " \t");
      path.assign(begin, strcspn(begin, " \t\n"));
      continue;
    }
    if (static_cast<size_t>(size) < sizeof(Elf64_Ehdr) || memcmp(first, ELFMAG, SELFMAG) != 0) return std::nullopt;
    if (changes_identity(path.c_str(), status)) return "it changes its user, group or capabilities when it starts; run it as that user already";
    Elf64_Ehdr header;
    memcpy(&header, first, sizeof header);
    Elf64_Ehdr own{};
    const UniqueFd self(open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
    if (read(self.get(), &own, sizeof own) != static_cast<ssize_t>(sizeof own)) return std::nullopt;
    if (header.e_ident[EI_CLASS] != own.e_ident[EI_CLASS] || header.e_machine != own.e_machine) {
      return "it is for another kind of processor than this library; install mqueuefs of that kind beside this one";
    }
    if (own.e_ident[EI_CLASS] != ELFCLASS64) return std::nullopt;
    const std::string loader = loader_of<Elf64_Ehdr, Elf64_Phdr>(file.get(), header);
    if (loader.empty()) return "it is statically linked; use mqueuefs run --via seccomp";
    const std::string own_loader = loader_of<Elf64_Ehdr, Elf64_Phdr>(self.get(), own);
    if (!own_loader.empty() && loader != own_loader) {
      return "it is linked with another C library (" + printable(loader) + "); use mqueuefs run --via seccomp";
    }
    return std::nullopt;
  }
  return std::nullopt;
}

struct Run {
  std::string name;
  std::string via = "preload";
  std::vector<std::string> command;
};

int run_with(const Run& what, NewNamespace in) {
  in.verb = "run";
  in.command = what.command;
  if (what.name.empty()) return run_command_here(in);
  in.name = what.name;
  in.named = NamedNamespace::kExisting;
  return run_in_new_namespace(in);
}

int run(const Run& what) {
  NewNamespace in;
  in.catch_system_calls = what.via == "seccomp";
  if (in.catch_system_calls) return run_with(what, in);
  const std::string command = find_command(what.command.front());
  if (const auto reason = why_not_preloadable(command); reason && !command.empty()) {
    return fail("run: preload can't act on " + printable(what.command.front()) + ": " + *reason);
  }
  const auto library = find_preload_library();
  if (!library) return fail("run: libmqueuefs-preload.so is not installed; use --via seccomp (ENOENT)");
  const char* before = getenv("LD_PRELOAD");
  setenv("LD_PRELOAD", (*library + (before != nullptr && *before != '\0' ? std::string(":") + before : "")).c_str(), 1);
  // The library starts a daemon if it finds none: this one.
  std::error_code ignored;
  setenv("MQUEUEFS_PROGRAM", std::filesystem::read_symlink("/proc/self/exe", ignored).c_str(), 1);
  return run_with(what, in);
}

}  // namespace

void add_run(Program& program) {
  auto what = std::make_shared<Run>();
  CLI::App* command = program.app.add_subcommand("run", "Run a program with its message queues here");
  add_ns_option(*command, what->name);
  command->add_option("--via", what->via, "How its calls get here [preload]")
      ->type_name("HOW")
      ->check(CLI::IsMember({"preload", "seccomp"}));
  command->callback([&program, what] {
    if (!program.has_trailing_command || program.trailing_command.empty()) throw CLI::RequiredError("COMMAND");
    what->command = program.trailing_command;
    program.action = [what] { return run(*what); };
  });
}

}  // namespace mqueuefs::cli
