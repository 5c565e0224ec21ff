#include "cli/mount_form.h"

#include "cli/connect.h"
#include "cli/explain.h"
#include "cli/output.h"
#include "client/mount.h"

namespace mqueuefs::cli {
namespace {

std::string explain_mount(const Attempt& attempt, Error error, const MountCommand& command) {
  const bool by_daemon = error.step != nullptr && std::string_view(error.step) == "daemon";
  const std::string prefix = attempt.text() + ": ";
  switch (error.code) {
    case EPERM:
      if (by_daemon) {
        return prefix + "only who owns the namespace, or the user namespace that it belongs to, may mount it: be root, or "
                        "mount one of your own with mqueuefs unshare --mount (EPERM)";
      }
      return prefix + "you may not mount there: be root, or the directory's owner with fusermount3 (EPERM)";
    case ENOENT:
      if (!by_daemon && error.step != nullptr && std::string_view(error.step) == "fusermount3") {
        return prefix +
               "mounting as an ordinary user needs fusermount3, which is not installed: it is in the package fuse3 (ENOENT)";
      }
      if (!by_daemon) return prefix + "no such directory (ENOENT)";
      break;
    case ENOTDIR:
      return prefix + printable(command.directory) + " is not a directory (ENOTDIR)";
    default:
      break;
  }
  return explain(attempt, error);
}

}  // namespace

bool is_mount_form(const std::string& program, const std::vector<std::string>& arguments,
                   const std::function<bool(const std::string&)>& is_command) {
  if (program.substr(program.rfind('/') + 1).starts_with("mount.")) return true;
  return arguments.size() >= 2 && !arguments[0].starts_with('-') && !is_command(arguments[0]) &&
         arguments[1].starts_with('/');
}

std::string parse_mount_command(const std::vector<std::string>& arguments, MountCommand& command) {
  std::vector<std::string> words;
  std::vector<std::string> option_texts;
  bool sloppy = false;
  bool only_words = false;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (only_words || argument.size() < 2 || argument[0] != '-') {
      words.push_back(argument);
      continue;
    }
    if (argument == "--") {
      only_words = true;
      continue;
    }
    // A cluster of letters, the last of which may want a value: "-rvo ro".
    for (size_t k = 1; k < argument.size(); ++k) {
      const char letter = argument[k];
      if (letter == 's') sloppy = true;
      if (letter == 'f') command.fake = true;
      if (letter == 'v') command.verbose = true;
      if (letter == 'r') option_texts.push_back("ro");
      if (letter == 'w') option_texts.push_back("rw");
      if (std::string_view("sfvrwn").find(letter) != std::string_view::npos) continue;
      if (std::string_view("otN").find(letter) == std::string_view::npos) {
        return std::string("unknown option -") + letter;
      }
      std::string value = argument.substr(k + 1);
      if (value.empty()) {
        if (++i == arguments.size()) return std::string("-") + letter + " needs a value";
        value = arguments[i];
      }
      if (letter == 'o') option_texts.push_back(value);
      if (letter == 'N') return "-N (another mount namespace) is not supported";
      break;
    }
  }
  if (words.size() != 2) return "usage: mount.fuse.mqueuefs SOURCE DIR [-sfnv] [-o OPTIONS] [-t TYPE]";
  command.source = words[0];
  command.directory = words[1];
  for (const std::string& text : option_texts) {
    const std::string unknown = parse_mount_options(text, sloppy, command.options);
    if (!unknown.empty()) return "unknown option " + printable(unknown);
  }
  return {};
}

int run_mount_form(const std::vector<std::string>& arguments) {
  MountCommand command;
  if (const std::string wrong = parse_mount_command(arguments, command); !wrong.empty()) {
    fail("mount: " + wrong);
    return kMountUsage;
  }
  return run_mount(command);
}

int run_mount(const MountCommand& command) {
  if (command.fake) return kSuccess;
  const MountOptions& options = command.options;
  const Attempt attempt{(options.remount ? "remount at " : "mount at ") + printable(command.directory), "",
                        options.namespace_name};
  auto connection = connect_to_daemon(attempt);
  if (!connection) return kMountFailure;
  const char* name = options.namespace_name.c_str();
  const char* dir = command.directory.c_str();
  const Status done = options.remount
                          ? client::remount_namespace(*connection, name, dir, options.flags)
                          : client::mount_namespace(*connection, name, command.source.c_str(), dir, options.flags);
  if (!done) {
    fail(explain_mount(attempt, done.error(), command));
    return kMountFailure;
  }
  if (command.verbose) print("mqueuefs: " + printable(command.source) + " mounted on " + printable(dir) + "\n");
  return kSuccess;
}

}  // namespace mqueuefs::cli
