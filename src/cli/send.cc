// mqueuefs send: messages from the command line or standard input.
#include <fcntl.h>
#include <unistd.h>

#include <cstdio>

#include "cli/command.h"
#include "cli/output.h"
#include "cli/queue_session.h"
#include "segment/attributes.h"

namespace mqueuefs::cli {
namespace {

struct SendOptions {
  std::string namespace_name;
  std::string queue;
  std::optional<std::string> message;
  int64_t priority = 0;
  bool lines = false;
  WaitOptions wait;
};

class Sender {
 public:
  Sender(const SendOptions& options, const Attempt& attempt, QueueSession& session)
      : options_(options), attempt_(attempt), session_(session) {}

  /// `where` says which of several it was.
  bool send(std::string_view message, const std::string& where = "") {
    const auto bytes = std::as_bytes(std::span(message.data(), message.size()));
    const Status sent = client::send(session_.connection, session_.queue.get(), bytes,
                                     static_cast<uint32_t>(options_.priority), options_.wait.deadline());
    if (!sent) report(sent.error(), message.size(), where);
    return sent.ok();
  }

  void report(Error error, uint64_t size, const std::string& where = "") {
    TransferFacts facts;
    facts.size = size;
    facts.priority = options_.priority;
    facts.maxmsg = session_.status.maxmsg;
    facts.msgsize = session_.status.msgsize;
    facts.timeout = options_.wait.timeout;
    Attempt attempt = attempt_;
    attempt.verb += where;
    fail(explain_send(attempt, error, facts));
  }

 private:
  const SendOptions& options_;
  const Attempt& attempt_;
  QueueSession& session_;
};

int input_failed(const Attempt& attempt) {
  return fail(attempt.text() + ": standard input: " + describe_errno(errno));
}

// Standard input as one message. Read to its end also if it is too long already, to say how long it is, but no
// further than any queue's messages can be.
int send_all(Sender& sender, const Attempt& attempt) {
  std::string message;
  std::vector<char> buffer(65536);
  while (message.size() <= kMaxMessageSize) {
    const ssize_t n = read(STDIN_FILENO, buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return input_failed(attempt);
    if (n == 0) return sender.send(message) ? kSuccess : kFailure;
    message.append(buffer.data(), static_cast<size_t>(n));
  }
  sender.report(Error{EMSGSIZE, "send"}, message.size());
  return kFailure;
}

// Each line is a message, without its newline; an empty line is an empty message. A last line may lack its newline.
int send_lines(Sender& sender, const Attempt& attempt) {
  char* line = nullptr;
  size_t capacity = 0;
  int outcome = kSuccess;
  for (uint64_t number = 1; outcome == kSuccess; ++number) {
    errno = 0;
    ssize_t length = getline(&line, &capacity, stdin);
    if (length < 0) {
      if (ferror(stdin)) outcome = input_failed(attempt);
      break;
    }
    if (line[length - 1] == '\n') --length;
    const std::string where = " line " + std::to_string(number) + " to";
    if (!sender.send({line, static_cast<size_t>(length)}, where)) outcome = kFailure;
  }
  free(line);
  return outcome;
}

int run(const SendOptions& options) {
  const Attempt attempt{"send", options.queue, options.namespace_name};
  if (options.priority < 0 || options.priority > UINT32_MAX) {
    return fail(explain_send(attempt, Error{EINVAL, "priority"}, {.priority = options.priority}));
  }
  auto session = open_session(attempt, O_WRONLY | options.wait.oflag());
  if (!session) return kFailure;
  Sender sender(options, attempt, *session);
  if (options.message) return sender.send(*options.message) ? kSuccess : kFailure;
  if (options.lines) return send_lines(sender, attempt);
  return send_all(sender, attempt);
}

}  // namespace

void add_send(Program& program) {
  auto options = std::make_shared<SendOptions>();
  auto message = std::make_shared<std::string>();
  CLI::App* command = program.app.add_subcommand("send", "Send messages");
  add_ns_option(*command, options->namespace_name);
  command->add_option("-p,--priority", options->priority, "0 (the default) to 32767; higher is received first")
      ->option_text("PRIORITY");
  add_wait_options(*command, options->wait);
  auto* lines = command->add_flag("--lines", options->lines, "Each line of standard input is a message");
  command->add_option("QUEUE", options->queue, "Its name, with or without a leading slash")->required();
  CLI::Option* text =
      command->add_option("MESSAGE", *message, "The message; without it standard input is one")->excludes(lines);
  command->callback([&program, options, message, text] {
    if (text->count() > 0) options->message = *message;
    program.action = [options] { return run(*options); };
  });
}

}  // namespace mqueuefs::cli
