#include "daemon/privileges.h"

#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace mqueuefs::daemon {
namespace {

constexpr KeptCapability kKept[] = {
    {CAP_SYS_ADMIN, "CAP_SYS_ADMIN", "make FUSE superblocks and mounts, enter the namespaces of who asks"},
    {CAP_SYS_CHROOT, "CAP_SYS_CHROOT", "mount in a container: setns(2) into its mount namespace, chroot(2)"},
    {CAP_SYS_PTRACE, "CAP_SYS_PTRACE", "see the namespaces of other users' tasks; memory of those under seccomp"},
    {CAP_DAC_READ_SEARCH, "CAP_DAC_READ_SEARCH", "ask by file handle whether an IPC namespace lives; act for root"},
    {CAP_DAC_OVERRIDE, "CAP_DAC_OVERRIDE", "open queues in the place of a task that has it; sockets in any directory"},
    {CAP_FOWNER, "CAP_FOWNER", "unlink queues in the place of a task that has it"},
    {CAP_KILL, "CAP_KILL", "mq_notify(3): send the signal that a process asked for"},
    {CAP_NET_ADMIN, "CAP_NET_ADMIN", "SIGEV_THREAD under seccomp: write to the process's netlink socket"},
    {CAP_SYS_NICE, "CAP_SYS_NICE", "keep a task under seccomp from running while it is answered"},
    {CAP_SETUID, "CAP_SETUID", "act with a task's own user ids"},
    {CAP_SETGID, "CAP_SETGID", "act with a task's own group ids"},
    {CAP_SETPCAP, "CAP_SETPCAP", "keep its ids from changing capabilities on the way; empty the bounding set"},
    {CAP_SETFCAP, "CAP_SETFCAP", "only without CAP_SYS_ADMIN: map root in the user namespace that mounts"},
};

constexpr int kMostCapabilities = 64;

struct Sets {
  uint64_t permitted = 0;
  uint64_t effective = 0;
};

Result<Sets> read_sets() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2]{};
  if (syscall(SYS_capget, &header, data) < 0) return last_error("capget");
  return Sets{data[0].permitted | uint64_t{data[1].permitted} << 32,
              data[0].effective | uint64_t{data[1].effective} << 32};
}

Status write_sets(const Sets& sets) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2]{};
  for (int half = 0; half < 2; ++half) {
    data[half].permitted = static_cast<uint32_t>(sets.permitted >> (32 * half));
    data[half].effective = static_cast<uint32_t>(sets.effective >> (32 * half));
  }
  if (syscall(SYS_capset, &header, data) < 0) return last_error("capset");
  return {};
}

uint64_t kept_mask(const Features& features) {
  uint64_t mask = 0;
  for (const KeptCapability& kept : kKept) mask |= uint64_t{1} << kept.number;
  // See kernel/user_namespace.c:verify_root_map.
  return features.mount_privilege ? mask & ~(uint64_t{1} << CAP_SETFCAP) : mask;
}

}  // namespace

std::span<const KeptCapability> kept_capabilities() { return kKept; }

Status drop_other_capabilities(const Features& features) {
  const uint64_t kept = kept_mask(features);
  // The bounding set first: it takes CAP_SETPCAP to lower it.
  for (int number = 0; number < kMostCapabilities && prctl(PR_CAPBSET_READ, number, 0, 0, 0) >= 0; ++number) {
    if ((kept >> number & 1) == 0 && prctl(PR_CAPBSET_DROP, number, 0, 0, 0) < 0) break;
  }
  prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  const auto sets = read_sets();
  if (!sets) return sets.error();
  return write_sets({sets->permitted & kept, sets->effective & kept});
}

Status set_capabilities(uint64_t wanted) {
  const auto sets = read_sets();
  if (!sets) return sets.error();
  return write_sets({sets->permitted & wanted, sets->permitted & wanted});
}

}  // namespace mqueuefs::daemon
