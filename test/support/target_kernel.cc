#include "support/target_kernel.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <fstream>
#include <string_view>
#include <vector>

#include "base/unique_fd.h"
#include "support/capability_check.h"
#include "support/credentials.h"
#include "support/expect.h"

namespace mqueuefs::test {
namespace {

// The four values of /proc/sys/kernel/sem, in its order.
constexpr std::array<std::string_view, 4> kSemaphoreLimits = {"semmsl", "semmns", "semopm", "semmni"};

// The files show the values of the reader's own IPC namespace.
std::string sysctl_path(const std::string& key) {
  if (std::ranges::find(kSemaphoreLimits, key) != kSemaphoreLimits.end()) return "/proc/sys/kernel/sem";
  const bool is_of_system_v = access(("/proc/sys/kernel/" + key).c_str(), F_OK) == 0;
  return (is_of_system_v ? "/proc/sys/kernel/" : "/proc/sys/fs/mqueue/") + key;
}

// Where in its file the value stands.
size_t place_of(const std::string& key) {
  const auto found = std::ranges::find(kSemaphoreLimits, key);
  return found == kSemaphoreLimits.end() ? 0 : static_cast<size_t>(found - kSemaphoreLimits.begin());
}

std::vector<long> read_values(const std::string& key) {
  std::ifstream file(sysctl_path(key));
  std::vector<long> values;
  // Some are as large as an unsigned long can be.
  for (std::string value; file >> value;)
    values.push_back(static_cast<long>(strtoull(value.c_str(), nullptr, 10)));
  return values;
}

class KernelTarget : public Target {
 public:
  bool is_kernel() const override { return true; }
  const char* file_system_type() const override { return "mqueue"; }

  std::string missing() const override {
    if (!CapabilityCheck::has_kernel_mqueue()) return "the kernel has no message queues";
    if (!CapabilityCheck::is_root()) return "needs root";
    if (!CapabilityCheck::can_unshare_ipc()) return "needs IPC and mount namespaces";
    return "";
  }

  int mount(const std::string& dir, const MountRequest& request) override {
    const unsigned long flags = request.read_only ? MS_RDONLY : 0;
    return ::mount(request.source.c_str(), dir.c_str(), "mqueue", flags, nullptr) == 0 ? 0 : errno;
  }

  int remount(const std::string& dir, bool read_only) override {
    const unsigned long flags = MS_REMOUNT | (read_only ? MS_RDONLY : 0);
    return ::mount(nullptr, dir.c_str(), nullptr, flags, nullptr) == 0 ? 0 : errno;
  }

  long limit(const std::string& key) override {
    const std::vector<long> values = read_values(key);
    return place_of(key) < values.size() ? values[place_of(key)] : -1;
  }

  int set_limit(const std::string& key, long value) override {
    const UniqueFd fd(open(sysctl_path(key).c_str(), O_WRONLY | O_CLOEXEC));
    if (!fd) return errno;
    std::vector<long> values = read_values(key);
    if (place_of(key) >= values.size()) return EINVAL;
    values[place_of(key)] = value;
    std::string text;
    for (const long each : values)
      text += std::to_string(each) + " ";
    return write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()) ? 0 : errno;
  }

  QueueCalls& queue_calls() override { return *queue_calls_; }

  // The kernel charges the real uid across all namespaces, and gives a dead namespace's charge back later.
  void use_private_account() override {
    ASSERT_OK(setresuid(fresh_uid(), static_cast<uid_t>(-1), static_cast<uid_t>(-1)));
  }

 private:
  const std::unique_ptr<QueueCalls> queue_calls_ = make_kernel_queue_calls();
};

}  // namespace

std::unique_ptr<Target> make_kernel_target() {
  return std::make_unique<KernelTarget>();
}

}  // namespace mqueuefs::test
