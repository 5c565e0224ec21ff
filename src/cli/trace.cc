// mqueuefs trace: each message that is sent to a queue or received from it, as it happens.
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <time.h>

#include <cstring>

#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/output.h"
#include "cli/queue_session.h"
#include "control/queue_ioctl.h"
#include "control/wire.h"

namespace mqueuefs::cli {
namespace {

struct TraceOptions {
  std::string namespace_name;
  std::string queue;
  uint64_t count = 0;  ///< 0: for ever
  bool payload = false;
  bool json = false;
};

const char* operation_name(uint32_t operation) {
  switch (operation) {
    case control::kTracedSend:
      return "send";
    case control::kTracedReceive:
      return "receive";
    case control::kTracedReturn:
      return "return";
    case control::kTracedLost:
      return "lost";
    default:
      return "end";
  }
}

std::string event_time_text(int64_t time_ns) {
  const time_t seconds = time_ns / 1'000'000'000;
  tm local{};
  localtime_r(&seconds, &local);
  char text[64];
  const size_t length = strftime(text, sizeof text, "%H:%M:%S", &local);
  snprintf(text + length, sizeof text - length, ".%06d", static_cast<int>(time_ns / 1000 % 1'000'000));
  return text;
}

// "12:00:01.000123 send 4711 (sleep) priority 3 size 5 mapped: hello"
std::string line_of(const control::Traced& event, std::string_view payload, bool with_payload) {
  const std::string command(event.command, strnlen(event.command, sizeof event.command));
  std::string line;
  if (event.lost > 0) line += std::to_string(event.lost) + " lost\n";
  if (event.operation == control::kTracedLost) return line;
  line += event_time_text(event.time_ns) + " " + operation_name(event.operation);
  if (event.operation == control::kTracedEnd) return line + " of the queue\n";
  line += event.pid > 0 ? " " + std::to_string(event.pid) + " (" + printable(command) + ")" : " ?";
  line += " priority " + std::to_string(event.priority) + " size " + std::to_string(event.size);
  if (event.mapped != 0) line += " mapped";
  if (with_payload) line += ": " + printable(payload) + (payload.size() < event.size ? "..." : "");
  return line + "\n";
}

Json json_of(const control::Traced& event, std::string_view payload, bool with_payload) {
  Json object;
  object["time"] = static_cast<double>(event.time_ns) / 1e9;
  object["operation"] = operation_name(event.operation);
  if (event.lost > 0) object["lost"] = event.lost;
  if (event.operation == control::kTracedEnd || event.operation == control::kTracedLost) return object;
  object["pid"] = event.pid > 0 ? Json(event.pid) : Json(nullptr);
  if (event.pid > 0) {
    const std::string_view command(event.command, strnlen(event.command, sizeof event.command));
    add_text(object, "command", "command_data", command);
  }
  object["priority"] = event.priority;
  object["size"] = event.size;
  object["mapped"] = event.mapped != 0;
  if (with_payload) {
    add_text(object, "text", "data", payload);
    if (payload.size() < event.size) object["truncated"] = true;
  }
  return object;
}

Status start(QueueSession& session, const TraceOptions& options) {
  control::TraceHeader header{session.connection.channel(), options.payload ? control::kMaxTracedBytes : 0, 0};
  while (ioctl(session.queue.get(), control::queue_ioctl(control::QueueIoctl::kTrace, sizeof header), &header) < 0) {
    if (errno != EINTR) return last_error("trace");
  }
  // The trace is the connection's: an open descriptor would keep the queue in use.
  session.queue.reset();
  return {};
}

int follow(QueueSession& session, const TraceOptions& options, const Attempt& attempt) {
  InterruptGuard guard;
  std::vector<std::byte> body(sizeof(control::Traced) + control::kMaxTracedBytes);
  uint64_t shown = 0;
  while (!guard.interrupted()) {
    pollfd readable{session.connection.fd(), POLLIN, 0};
    if (ppoll(&readable, 1, nullptr, &guard.open_mask()) < 0) continue;
    const auto packet = control::receive_packet(session.connection.fd(), body, MSG_DONTWAIT);
    if (packet.code() == EAGAIN || packet.code() == EINTR) continue;
    if (!packet) return fail(explain(attempt, packet.error()));
    if (packet->header.type != control::Type::kTraced || packet->body_size < sizeof(control::Traced)) continue;
    control::Traced event;
    memcpy(&event, body.data(), sizeof event);
    const auto payload = as_text(std::span(body).first(packet->body_size).subspan(sizeof event));
    const std::string line = options.json ? json_of(event, payload, options.payload).dump() + "\n"
                                          : line_of(event, payload, options.payload);
    if (const int printed = print(line); printed != kSuccess) return printed;
    if (event.operation == control::kTracedLost) continue;
    if (event.operation == control::kTracedEnd || ++shown == options.count) return kSuccess;
  }
  guard.die_if_interrupted();
  return kSuccess;
}

int run(const TraceOptions& options) {
  const Attempt attempt{"trace", options.queue, options.namespace_name};
  auto session = open_session(attempt, O_RDONLY);
  if (!session) return kFailure;
  if (const Status started = start(*session, options); !started) return fail(explain(attempt, started.error()));
  return follow(*session, options, attempt);
}

}  // namespace

void add_trace(Program& program) {
  auto options = std::make_shared<TraceOptions>();
  CLI::App* command = program.app.add_subcommand("trace", "Show each message that is sent or received");
  add_ns_option(*command, options->namespace_name);
  add_json_option(*command, options->json);
  command->add_flag("--payload", options->payload, "Show what is in the messages, too");
  command->add_option("--count", options->count, "End after so many")->option_text("N")->check(CLI::PositiveNumber);
  command->add_option("QUEUE", options->queue, "Its name, with or without a leading slash")->required();
  command->callback([&program, options] { program.action = [options] { return run(*options); }; });
}

}  // namespace mqueuefs::cli
