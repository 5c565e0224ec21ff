// mqueuefs completion: the completions of bash, zsh and fish, made from the grammar when this is built. Hidden, as is
// what they ask it for: the names of queues and namespaces, from a daemon that runs already.
#include <algorithm>
#include <map>

#include "cli/command.h"
#include "cli/connect.h"
#include "cli/grammar.h"
#include "cli/output.h"

namespace mqueuefs::cli {
namespace {

// What completes a value or an argument of that name: a word that all three shells' scripts know.
std::string source_of(const std::string& value_name) {
  static const std::map<std::string, std::string> sources = {
      {"QUEUE", "queues"}, {"NS", "namespaces"}, {"NAME", "namespaces"},  {"PATH", "files"},
      {"DIR", "files"},    {"BUNDLE", "files"},  {"KEY=VALUE", "limits"}, {"PID", "processes"}};
  const auto found = sources.find(value_name);
  return found != sources.end() ? found->second : "nothing";
}

std::string joined(const std::vector<std::string>& words, const char* separator = " ") {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : separator) + word;
  return text;
}

std::string quoted(std::string text) {
  for (size_t at = 0; (at = text.find('\'', at)) != std::string::npos; at += 4) text.replace(at, 1, "'\\''");
  return "'" + text + "'";
}

// "list stat ns": the first words of all commands, each once, with what is behind it.
std::vector<std::pair<std::string, std::string>> first_words(const std::vector<CommandGrammar>& commands) {
  std::vector<std::pair<std::string, std::string>> words;
  for (const CommandGrammar& command : commands) {
    const std::string word = command.name.substr(0, command.name.find(' '));
    if (words.empty() || words.back().first != word) words.emplace_back(word, command.description);
  }
  return words;
}

std::vector<std::string> second_words(const std::vector<CommandGrammar>& commands, const std::string& first) {
  std::vector<std::string> words;
  for (const CommandGrammar& command : commands) {
    if (command.name.starts_with(first + " ")) words.push_back(command.name.substr(first.size() + 1));
  }
  return words;
}

// The tables that bash and zsh share: a `case` for each question.
std::string tables(const std::vector<CommandGrammar>& commands, const std::string& prefix) {
  std::string groups, options, values, arguments, runs;
  for (const auto& [word, description] : first_words(commands)) {
    const auto second = second_words(commands, word);
    if (!second.empty()) groups += "    " + quoted(word) + ") echo " + quoted(joined(second)) + " ;;\n";
  }
  for (const CommandGrammar& command : commands) {
    std::vector<std::string> names = {"--help"};
    for (const OptionGrammar& option : command.options) {
      names.insert(names.end(), option.names.begin(), option.names.end());
      if (option.value != ValueKind::kRequired) continue;
      std::vector<std::string> patterns;
      for (const std::string& name : option.names) patterns.push_back(quoted(command.name + "/" + name));
      values += "    " + joined(patterns, "|") + ") echo " +
                quoted(option.choices.empty() ? "@" + source_of(option.value_name) : joined(option.choices)) + " ;;\n";
    }
    options += "    " + quoted(command.name) + ") echo " + quoted(joined(names)) + " ;;\n";
    for (size_t i = 0; i < command.arguments.size(); ++i) {
      const bool all_that_follow = command.repeats_last && i + 1 == command.arguments.size();
      arguments += "    " + quoted(command.name + "/") + (all_that_follow ? "*" : std::to_string(i)) + ") echo " +
                   quoted("@" + source_of(command.arguments[i])) + " ;;\n";
    }
    if (command.runs_command) runs += (runs.empty() ? "" : "|") + quoted(command.name);
  }
  const auto function = [&](const char* name, const std::string& cases) {
    return prefix + name + "() {\n  case $1 in\n" + cases + "  esac\n}\n";
  };
  return function("_second", groups) + function("_options", options) + function("_value", values) +
         function("_argument", arguments) + function("_runs", "    " + runs + ") echo yes ;;\n");
}

std::string command_names(const std::vector<CommandGrammar>& commands) {
  std::string names;
  for (const auto& [word, description] : first_words(commands)) names += (names.empty() ? "" : " ") + word;
  return names;
}

// Where the words before the cursor lead; sets `kind` to words or to @source. Works in bash and in zsh with ksh arrays.
constexpr const char* kWalk = R"sh(  local command= positional=0 i=1 word runs= kind= ns=
  while [ "$i" -lt "$at" ]; do
    word=${words[$i]}
    if [ -z "$command" ]; then
      case $word in -*) ;; *) command=$word ;; esac
    elif [ "$word" = -- ] && [ -n "$(_mqueuefs_runs "$command")" ]; then
      runs=$((i + 1))
      break
    elif [ -n "$(_mqueuefs_second "$command")" ]; then
      command="$command $word"
    elif [ -n "$(_mqueuefs_value "$command/$word")" ]; then
      i=$((i + 1))
      [ "$word" != --ns ] || ns=${words[$i]}
    else
      case $word in -*) ;; *) positional=$((positional + 1)) ;; esac
    fi
    i=$((i + 1))
  done
  if [ -n "$runs" ]; then
    kind=@command
  elif [ -z "$command" ]; then
    kind="$all_commands --help --version"
  elif [ -n "$(_mqueuefs_second "$command")" ]; then
    kind="$(_mqueuefs_second "$command") --help"
  elif [ -n "$(_mqueuefs_value "$command/$previous")" ]; then
    kind=$(_mqueuefs_value "$command/$previous")
  else
    case $current in
      -*) kind=$(_mqueuefs_options "$command") ;;
      *) kind=$(_mqueuefs_argument "$command/$positional") ;;
    esac
  fi
  case $kind in
    @queues) kind=$(mqueuefs completion queues ${ns:+--ns "$ns"} 2>/dev/null) ;;
    @namespaces) kind=$(mqueuefs completion namespaces 2>/dev/null) ;;
    @limits) kind=$(mqueuefs completion limits 2>/dev/null) ;;
    @nothing) kind= ;;
  esac
)sh";

std::string bash_script(const std::vector<CommandGrammar>& commands) {
  return "# bash completion for mqueuefs; made by `mqueuefs completion bash`\n" + tables(commands, "_mqueuefs") +
         "_mqueuefs() {\n  local words=(\"${COMP_WORDS[@]}\") at=$COMP_CWORD current=${COMP_WORDS[COMP_CWORD]}\n"
         "  local previous=${COMP_WORDS[COMP_CWORD-1]} all_commands=" + quoted(command_names(commands)) + "\n" + kWalk +
         R"sh(  COMPREPLY=()
  case $kind in
    @command)
      if declare -F _command_offset >/dev/null; then
        _command_offset "$runs"
      elif [ "$runs" = "$at" ]; then
        mapfile -t COMPREPLY < <(compgen -c -- "$current")
      else
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
      fi ;;
    @files) mapfile -t COMPREPLY < <(compgen -f -- "$current"); compopt -o filenames 2>/dev/null ;;
    @processes) mapfile -t COMPREPLY < <(cd /proc && compgen -G '[0-9]*' | compgen -W "$(cat)" -- "$current") ;;
    *) mapfile -t COMPREPLY < <(compgen -W "$kind" -- "$current") ;;
  esac
  case ${COMPREPLY[0]-} in *=) compopt -o nospace 2>/dev/null ;; esac
  return 0
}
complete -F _mqueuefs mqueuefs
)sh";
}

std::string zsh_script(const std::vector<CommandGrammar>& commands) {
  std::string described;
  for (const auto& [word, description] : first_words(commands)) described += "    " + quoted(word + ":" + description) + "\n";
  return "#compdef mqueuefs\n# zsh completion for mqueuefs; made by `mqueuefs completion zsh`\n" +
         tables(commands, "_mqueuefs") +
         "_mqueuefs_walk() {\n  emulate -L ksh\n" + kWalk + "  print -r -- \"$runs\"\n  print -r -- \"$kind\"\n}\n"
         "_mqueuefs() {\n  local all_commands=" + quoted(command_names(commands)) +
         " at=$((CURRENT - 1)) current=$PREFIX previous=${words[CURRENT-1]} answer runs kind\n"
         "  local -a described=(\n" + described + "  )\n"
         R"sh(  answer=$(_mqueuefs_walk)
  runs=${answer%%$'\n'*}
  kind=${answer#*$'\n'}
  if [[ $at = 1 && $current != -* ]]; then
    _describe command described
    return
  fi
  case $kind in
    @command)
      shift "$runs" words
      ((CURRENT -= runs))
      _normal ;;
    @files) _files ;;
    @processes) _pids ;;
    *=*) compadd -S '' -- ${(f)kind} ;;
    *) compadd -- ${(z)kind} ;;
  esac
}
_mqueuefs "$@"
)sh";
}

std::string fish_values(const std::string& source) {
  if (source == "files") return " -F";
  if (source == "nothing") return " -f";
  if (source == "processes") return " -f -a '(__fish_complete_pids)'";
  return " -f -a '(mqueuefs completion " + source + " 2>/dev/null)'";
}

std::string fish_script(const std::vector<CommandGrammar>& commands) {
  std::string text = "# fish completion for mqueuefs; made by `mqueuefs completion fish`\ncomplete -c mqueuefs -f\n";
  const std::string none = " -n '__fish_use_subcommand'";
  text += "complete -c mqueuefs" + none + " -l help -d 'Print a help message'\n";
  text += "complete -c mqueuefs" + none + " -l version -d 'Print versions'\n";
  for (const auto& [word, description] : first_words(commands)) {
    const auto second = second_words(commands, word);
    text += "complete -c mqueuefs" + none + " -a " + word + " -d " + quoted(second.empty() ? description : joined(second, ", ")) + "\n";
  }
  for (const CommandGrammar& command : commands) {
    const size_t blank = command.name.find(' ');
    std::string in = "__fish_seen_subcommand_from " + command.name.substr(0, blank);
    if (blank != std::string::npos) {
      const std::string second = command.name.substr(blank + 1);
      const std::string siblings = joined(second_words(commands, command.name.substr(0, blank)));
      text += "complete -c mqueuefs -n '" + in + "; and not __fish_seen_subcommand_from " + siblings + "' -a " + second +
              " -d " + quoted(command.description) + "\n";
      in += "; and __fish_seen_subcommand_from " + second;
    }
    const std::string here = "complete -c mqueuefs -n '" + in + "'";
    for (const OptionGrammar& option : command.options) {
      text += here;
      for (const std::string& name : option.names) text += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
      text += " -d " + quoted(option.description);
      if (option.value == ValueKind::kRequired) {
        text += " -r" + (option.choices.empty() ? fish_values(source_of(option.value_name)) : " -f -a " + quoted(joined(option.choices)));
      }
      text += "\n";
    }
    if (command.runs_command) text += here + " -a '(__fish_complete_subcommand)'\n";
    for (const std::string& argument : command.arguments) {
      if (const std::string source = source_of(argument); source != "nothing") text += here + fish_values(source) + "\n";
    }
  }
  return text;
}

struct CompletionOptions {
  std::string what;
  std::string namespace_name;
};

// Names that would need quoting in a shell are left to be typed.
bool is_plain(const std::string& name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || std::string_view("/._-+,@%:").find(static_cast<char>(c)) != std::string_view::npos;
  });
}

int print_names(const CompletionOptions& options) {
  auto connection = client::Connection::connect(client::StartDaemon::kNever, "");
  if (!connection) return kSuccess;
  std::vector<std::string> names;
  if (options.what == "queues") {
    const auto queues = fetch_queues(*connection, options.namespace_name);
    if (!queues) return kSuccess;
    for (const auto& queue : *queues) names.push_back(std::string("/") + queue.name);
  } else {
    const auto namespaces = fetch_namespaces(*connection);
    if (!namespaces) return kSuccess;
    for (const auto& one : *namespaces) names.push_back(one.name);
  }
  std::string text;
  for (const std::string& name : names) {
    if (is_plain(name)) text += name + "\n";
  }
  return print(text);
}

int run(const CompletionOptions& options) {
  if (options.what == "bash") return print(bash_script(grammar()));
  if (options.what == "zsh") return print(zsh_script(grammar()));
  if (options.what == "fish") return print(fish_script(grammar()));
  if (options.what == "limits") {
    std::string text;
    for (const std::string& name : limit_names()) text += name + "=\n";
    return print(text);
  }
  return print_names(options);
}

}  // namespace

void add_completion(Program& program) {
  auto options = std::make_shared<CompletionOptions>();
  CLI::App* command = program.app.add_subcommand("completion", "Print a shell's completions")->group("");
  command->add_option("WHAT", options->what, "A shell, or what it asks for")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish", "queues", "namespaces", "limits"}));
  add_ns_option(*command, options->namespace_name);
  command->callback([&program, options] { program.action = [options] { return run(*options); }; });
}

}  // namespace mqueuefs::cli
