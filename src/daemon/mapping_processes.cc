#include "daemon/mapping_processes.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <utility>
#include <vector>

#include "base/unique_fd.h"
#include "daemon/notification_delivery.h"

namespace mqueuefs::daemon {
namespace {

// How long what a process did that died before it could tell us may go unnoticed.
constexpr int64_t kCatchUpMs = 1000;

}  // namespace

/// One process, for all the queues that it maps.
class MappingProcesses::Life {
 public:
  explicit Life(pid_t process) : process_(process), exec_(process) {}
  Status watch(Tasks& tasks, std::function<void()> exited) {
    UniqueFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, process_, 0)));
    if (!pidfd) return last_error("pidfd_open");
    auto watch = tasks.watch(process_, std::move(pidfd), [this, exited = std::move(exited)] {
      ended_ = true;
      exited();
    });
    if (!watch) return watch.error();
    watch_ = std::move(*watch);
    return {};
  }
  bool alive() const { return !ended_ && !exec_.has_executed(); }
  pid_t process() const { return process_; }

 private:
  const pid_t process_;
  const ExecDetector exec_;
  bool ended_ = false;
  std::unique_ptr<control::ProcessWatch> watch_;
};

class MappingProcesses::Share final : public ipc::MappingProcess {
 public:
  explicit Share(std::shared_ptr<Life> life) : life_(std::move(life)) {}
  bool alive() override { return life_->alive(); }
  pid_t process() const override { return life_->process(); }

 private:
  const std::shared_ptr<Life> life_;
};

MappingProcesses::MappingProcesses(control::Reactor& reactor, Tasks& tasks, ipc::MappedQueues& queues)
    : tasks_(tasks), queues_(queues), timer_(reactor.make_timer([this] { catch_up(); })) {}

MappingProcesses::~MappingProcesses() = default;

Result<std::unique_ptr<ipc::MappingProcess>> MappingProcesses::share(pid_t process) {
  std::erase_if(lives_, [](const auto& entry) { return entry.second.expired(); });
  std::shared_ptr<Life> life = lives_[process].lock();
  if (life == nullptr || !life->alive()) {
    // It has executed another program. What its threads were waiting for must not wait for the next look.
    if (life != nullptr) catch_up();
    life = std::make_shared<Life>(process);
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
