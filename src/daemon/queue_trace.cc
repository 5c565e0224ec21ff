#include "daemon/queue_trace.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/clock.h"
#include "daemon/proc_files.h"

namespace mqueuefs::daemon {
namespace {

constexpr size_t kMostTracers = 8;  // of a queue
constexpr uint64_t kChargedBytes = uint64_t{1024} * 1024;

class QueueTrace final : public control::Trace, public ipc::QueueTracer {
 public:
  QueueTrace(Tasks& tasks, ipc::MemoryBudget& budget, control::Connection& connection, ipc::TaskId reader,
             ipc::QueueInode& queue, uint32_t payload_bytes)
      : tasks_(tasks),
        budget_(budget),
        connection_(connection),
        reader_(reader),
        queue_(&queue),
        payload_bytes_(std::min(payload_bytes, control::kMaxTracedBytes)) {
    queue.add_tracer(*this);
  }
  ~QueueTrace() override {
    if (queue_ != nullptr) queue_->remove_tracer(*this);
    budget_.give_back(connection_.uid(), kChargedBytes);
  }

  void traced(const ipc::TracedMessage& message) override {
    control::Traced event{};
    event.operation = static_cast<uint32_t>(message.operation);
    event.mapped = message.mapped ? 1 : 0;
    event.priority = message.priority;
    event.size = message.size;
    const auto payload = message.payload.first(std::min<size_t>(message.payload.size(), payload_bytes_));
    event.payload_bytes = static_cast<uint32_t>(payload.size());
    name_process(message.task, event);
    if (!send(event, payload)) ++lost_;
  }

  void queue_ended() override {
    queue_ = nullptr;
    tell_end();
  }

  // The reader may never hear of another message, and waits for the end.
  void has_room() override {
    if (queue_ == nullptr) return tell_end();
    if (lost_ == 0) return;
    control::Traced event{};
    event.operation = control::kTracedLost;
    static_cast<void>(send(event, {}));
  }

 private:
  // Who can't see a process is not told its name either.
  void name_process(ipc::TaskId task, control::Traced& event) {
    const pid_t process = tasks_.process_of(task);
    event.pid = tasks_.pid_seen_by(process, reader_);
    if (event.pid == 0) return;
    const auto command = read_proc(process, "comm");
    if (!command) return;
    const size_t length = std::min(command->find('\n'), std::min(command->size(), sizeof event.command));
    memcpy(event.command, command->data(), length);
  }

  void tell_end() {
    if (end_is_told_) return;
    control::Traced event{};
    event.operation = control::kTracedEnd;
    end_is_told_ = send(event, {});
  }

  bool send(control::Traced& event, std::span<const std::byte> payload) {
    event.time_ns = realtime_now_ns();
    event.lost = lost_;
    const bool sent = connection_.send_traced(event, payload);
    if (sent) lost_ = 0;
    return sent;
  }

  Tasks& tasks_;
  ipc::MemoryBudget& budget_;
  control::Connection& connection_;
  const ipc::TaskId reader_;
  ipc::QueueInode* queue_;  // null: it has ended
  const uint32_t payload_bytes_;
  uint64_t lost_ = 0;         // since the last packet
  bool end_is_told_ = false;
};

}  // namespace

Status start_queue_trace(Tasks& tasks, ipc::MemoryBudget& budget, control::Connection& connection, ipc::TaskId reader,
                         ipc::QueueInode& queue, uint32_t payload_bytes) {
  if (queue.tracer_count() >= kMostTracers) return Error{EMFILE, "tracers"};
  if (const Status charged = budget.reserve(connection.uid(), kChargedBytes); !charged) return charged;
  connection.set_trace(std::make_unique<QueueTrace>(tasks, budget, connection, reader, queue, payload_bytes));
  return {};
}

}  // namespace mqueuefs::daemon
