// mqueuefs receive: takes messages and writes them to standard output.
//
// A message is taken before it can be known whether it can be written. So that as few as possible are lost:
// nothing is taken while the reader is known to be gone, ^C is let in only while waiting (the waiter is cancelled:
// it was served, and then the message is still printed, or it was not), and one that can't be written is named.
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/output.h"
#include "cli/queue_session.h"

namespace mqueuefs::cli {
namespace {

struct ReceiveOptions {
  std::string namespace_name;
  std::string queue;
  std::optional<uint64_t> count;
  bool all = false;
  bool follow = false;
  bool raw = false;
  bool show_priority = false;
  bool json = false;
  WaitOptions wait;
};

bool reader_is_gone() {
  pollfd out{STDOUT_FILENO, 0, 0};
  return poll(&out, 1, 0) > 0 && (out.revents & (POLLERR | POLLNVAL)) != 0;
}

std::string format(const ReceiveOptions& options, std::span<const std::byte> message, uint32_t priority) {
  if (options.json) return message_json(message, priority).dump() + "\n";
  std::string text;
  if (options.show_priority) text = std::to_string(priority) + "\t";
  text += as_text(message);
  if (!options.raw) text += '\n';
  return text;
}

// A reader that stalls could keep us for ever, so signals are let in here. One that comes gives the message up.
Status write_interruptibly(const InterruptGuard& guard, std::string_view text) {
  sigset_t closed;
  sigprocmask(SIG_SETMASK, &guard.open_mask(), &closed);
  Status status;
  do {
    size_t written = 0;
    status = write_out(text, &written);
    text.remove_prefix(written);
  } while (status.code() == EINTR && !guard.interrupted());
  sigprocmask(SIG_SETMASK, &closed, nullptr);
  return status;
}

int run(const ReceiveOptions& options) {
  const Attempt attempt{"receive", options.queue, options.namespace_name};
  // --all takes what is there and never waits.
  const int nonblock = options.all && !options.follow ? O_NONBLOCK : options.wait.oflag();
  auto session = open_session(attempt, O_RDONLY | nonblock);
  if (!session) return kFailure;

  InterruptGuard guard;
  session->connection.set_wait_mask(&guard.open_mask());
  std::vector<std::byte> buffer(session->status.msgsize);
  const uint64_t wanted = options.follow || options.all ? UINT64_MAX : options.count.value_or(1);
  for (uint64_t received = 0; received < wanted; ++received) {
    guard.die_if_interrupted();
    if (reader_is_gone()) return fail("standard output: " + describe_errno(EPIPE));
    const auto message =
        client::receive(session->connection, session->queue.get(), buffer, options.wait.deadline());
    if (!message) {
      if (message.code() == EAGAIN && options.all && !options.follow) return kSuccess;
      if (message.code() == EINTR) guard.die_if_interrupted();
      TransferFacts facts;
      facts.timeout = options.wait.timeout;
      return fail(explain_receive(attempt, message.error(), facts));
    }
    const auto bytes = std::span<const std::byte>(buffer).first(message->size);
    const Status written = write_interruptibly(guard, format(options, bytes, message->priority));
    if (!written) {
      return fail(attempt.text() + ": a message of " + std::to_string(message->size) + " bytes and priority " +
                  std::to_string(message->priority) + " was taken but could not be written: " +
                  describe_errno(written.code()));
    }
  }
  guard.die_if_interrupted();
  return kSuccess;
}

}  // namespace

void add_receive(Program& program) {
  auto options = std::make_shared<ReceiveOptions>();
  CLI::App* command = program.app.add_subcommand("receive", "Receive messages, one a line");
  add_ns_option(*command, options->namespace_name);
  auto* count = command->add_option("-n,--count", options->count, "How many [1]")
                    ->option_text("COUNT")
                    ->check(CLI::PositiveNumber);
  command->add_flag("--all", options->all, "What is there, without waiting for more")->excludes(count);
  command->add_flag("--follow", options->follow, "Go on for ever")->excludes(count);
  add_wait_options(*command, options->wait);
  command->add_flag("--show-priority", options->show_priority, "Each line begins with the priority and a tab");
  command->add_flag("--raw", options->raw, "Messages as they are, no newline between them");
  add_json_option(*command, options->json);
  command->add_option("QUEUE", options->queue, "Its name, with or without a leading slash")->required();
  command->callback([&program, options] { program.action = [options] { return run(*options); }; });
}

}  // namespace mqueuefs::cli
