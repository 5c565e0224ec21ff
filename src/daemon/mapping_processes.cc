#include "daemon/mapping_processes.h"

#include <utility>
#include <vector>

namespace mqueuefs::daemon {
namespace {

// How long what a process did that died before it could tell us may go unnoticed.
constexpr int64_t kCatchUpMs = 1000;

}  // namespace

class MappingProcesses::Share final : public ipc::MappingProcess {
 public:
  explicit Share(std::shared_ptr<ProcessLife> life) : life_(std::move(life)) {}
  bool alive() override { return life_->alive(); }
  pid_t process() const override { return life_->process(); }

 private:
  const std::shared_ptr<ProcessLife> life_;
};

MappingProcesses::MappingProcesses(control::Reactor& reactor, Tasks& tasks, ipc::MappedQueues& queues)
    : tasks_(tasks), queues_(queues), timer_(reactor.make_timer([this] { catch_up(); })) {}

MappingProcesses::~MappingProcesses() = default;

Result<std::unique_ptr<ipc::MappingProcess>> MappingProcesses::share(pid_t process) {
  std::erase_if(lives_, [](const auto& entry) { return entry.second.expired(); });
  std::shared_ptr<ProcessLife> life = lives_[process].lock();
  if (life == nullptr || !life->alive()) {
    // It has executed another program. What its threads were waiting for must not wait for the next look.
    if (life != nullptr) catch_up();
    life = std::make_shared<ProcessLife>(process);
    const Status watched = life->watch(tasks_, [this] { catch_up(); });
    if (!watched) return watched.error();
    lives_[process] = life;
  }
  timer_->set_delay_ms(kCatchUpMs);
  return std::unique_ptr<ipc::MappingProcess>(std::make_unique<Share>(std::move(life)));
}

void MappingProcesses::catch_up() {
  // A queue may end, or others be mapped no longer, by what is done for one.
  std::vector<std::weak_ptr<ipc::QueueInode>> queues;
  for (ipc::QueueInode* queue : queues_) queues.push_back(queue->weak_from_this());
  for (const auto& weak : queues) {
    if (const auto queue = weak.lock()) queue->catch_up();
  }
  if (!queues_.empty()) timer_->set_delay_ms(kCatchUpMs);
}

}  // namespace mqueuefs::daemon
