#include "support/target_kernel.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>

#include "base/unique_fd.h"
#include "support/capability_check.h"
#include "support/credentials.h"
#include "support/expect.h"

namespace mqueuefs::test {
namespace {

std::string sysctl_path(const std::string& key) {
  return "/proc/sys/fs/mqueue/" + key;
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
    long value = -1;
    std::ifstream(sysctl_path(key)) >> value;
    return value;
  }

  int set_limit(const std::string& key, long value) override {
    const UniqueFd fd(open(sysctl_path(key).c_str(), O_WRONLY | O_CLOEXEC));
    if (!fd) return errno;
    const std::string text = std::to_string(value);
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
