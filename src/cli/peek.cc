// mqueuefs peek: shows messages without taking them.
#include <fcntl.h>

#include "cli/command.h"
#include "cli/output.h"
#include "cli/queue_session.h"
#include "client/peek.h"

namespace mqueuefs::cli {
namespace {

struct PeekOptions {
  std::string namespace_name;
  std::string queue;
  bool json = false;
};

// Written as they come, so that a full queue of large messages needs no memory for all of them.
class Printer {
 public:
  explicit Printer(bool json) : json_(json) {}

  int begin() { return json_ ? kSuccess : print(row("PRIORITY", "SIZE", "MESSAGE")); }
  int add(const client::PeekedMessage& message, std::span<const std::byte> payload) {
    if (json_) {
      const char* before = first_ ? "[\n  " : ",\n  ";
      first_ = false;
      return print(before + message_json(payload, message.priority).dump());
    }
    return print(row(std::to_string(message.priority), std::to_string(message.size), printable(as_text(payload))));
  }
  int end() { return !json_ ? kSuccess : print(first_ ? "[]\n" : "\n]\n"); }

 private:
  static std::string row(const std::string& priority, const std::string& size, const std::string& text) {
    const auto padded = [](const std::string& cell) {
      return std::string(cell.size() < 8 ? 8 - cell.size() : 0, ' ') + cell + "  ";
    };
    std::string line = padded(priority) + padded(size) + text;
    line.erase(line.find_last_not_of(' ') + 1);
    return line + "\n";
  }

  bool json_;
  bool first_ = true;
};

int run(const PeekOptions& options) {
  const Attempt attempt{"peek", options.queue, options.namespace_name};
  auto session = open_session(attempt, O_RDONLY);
  if (!session) return kFailure;
  auto iterator = std::make_unique<client::PeekIterator>(session->queue.get());
  std::vector<std::byte> buffer(session->status.msgsize);
  Printer printer(options.json);
  int outcome = printer.begin();
  while (outcome == kSuccess) {
    client::PeekedMessage message;
    const auto found = iterator->next(message, buffer);
    if (!found) return fail(explain(attempt, found.error()));
    if (!*found) return printer.end();
    outcome = printer.add(message, std::span<const std::byte>(buffer).first(message.size));
  }
  return outcome;
}

}  // namespace

void add_peek(Program& program) {
  auto options = std::make_shared<PeekOptions>();
  CLI::App* command =
      program.app.add_subcommand("peek", "Show the messages of a queue in the order of receipt, without taking any");
  add_ns_option(*command, options->namespace_name);
  add_json_option(*command, options->json);
  command->add_option("QUEUE", options->queue, "Its name, with or without a leading slash")->required();
  command->callback([&program, options] { program.action = [options] { return run(*options); }; });
}

}  // namespace mqueuefs::cli
