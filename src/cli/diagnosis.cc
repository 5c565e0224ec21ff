#include "cli/diagnosis.h"

#include <cerrno>

#include "cli/explain.h"

namespace mqueuefs::cli {
namespace {

using daemon::SystemReport;

Finding finding(const char* name, const char* title, bool yes, std::string found, std::string follows) {
  return {name, title, yes ? Answer::kYes : Answer::kNo, std::move(found), std::move(follows)};
}

Finding fuse_device(const SystemReport& report) {
  const int error = report.fuse_device;
  std::string follows = "nothing can be mounted, and no queues can be served";
  if (error == ENOENT || error == ENXIO || error == ENODEV) {
    follows += "; load the module (modprobe fuse), or give the container the device (--device /dev/fuse)";
  } else if (error == EACCES || error == EPERM) {
    follows += "; its mode should be 0666 (as udev makes it), and a container must be allowed the device (--device /dev/fuse)";
  }
  return finding("fuse-device", "/dev/fuse", error == 0, error == 0 ? "can be opened" : describe_errno(error),
                 error == 0 ? "file systems can be served" : follows);
}

Finding mount_api(const SystemReport& report) {
  const int error = report.mount_api;
  if (error == ENOSYS) {
    return finding("mount-api", "new mount API", false, "fsopen(2): " + describe_errno(error),
                   "mounting only through fusermount3, a superblock a mount; Linux 5.2 and later have it");
  }
  if (error == ENODEV) {
    return finding("mount-api", "new mount API", false, "fsopen(2) knows no file system called fuse",
                   "nothing can be mounted: load the module (modprobe fuse)");
  }
  if (report.fuse && !report.fuse->shares_superblock) {
    return finding("mount-api", "new mount API", false, "no second mount of a FUSE superblock",
                   "a namespace can be mounted once; Linux 5.13 and later allow more");
  }
  return finding("mount-api", "new mount API", true, "fsopen(2) is there",
                 "all mounts of a namespace are one file system, each with a source of its own");
}

Finding mount_privilege(const SystemReport& report, const Surroundings& around) {
  if (report.mount_api == 0) {
    return finding("mount-privilege", "right to mount", true, "fsopen(2) is permitted", "mounts are made directly");
  }
  return finding("mount-privilege", "right to mount", false, "fsopen(2): " + describe_errno(report.mount_api),
                 around.is_root ? "root without CAP_SYS_ADMIN, as in most containers: in a user namespace, or through fusermount3"
                                : "mounts are made in a user namespace, or through fusermount3");
}

Finding user_namespaces(const SystemReport& report, const Surroundings& around) {
  if (report.user_namespaces == 0) {
    return finding("user-namespaces", "user namespaces", true, "can be made, and FUSE can be mounted in them",
                   "ordinary users mount without a set-uid helper; mqueuefs unshare works for them");
  }
  std::string found = describe_errno(report.user_namespaces);
  if (!around.userns_sysctl.empty()) found += ", " + around.userns_sysctl;
  return finding("user-namespaces", "user namespaces", false, found,
                 "ordinary users mount through fusermount3 only, and mqueuefs unshare is for root");
}

Finding fusermount(const SystemReport& report) {
  const bool there = report.features.fusermount;
  return finding("fusermount", "fusermount3", there, there ? "is installed" : "is not installed",
                 there ? "ordinary users can mount where user namespaces are not allowed"
                       : "ordinary users can mount with user namespaces only; it is in the package fuse3");
}

Finding resend(const SystemReport& report) {
  const bool there = report.fuse && report.fuse->resend;
  return finding("fuse-resend", "FUSE resends", there,
                 report.fuse ? "FUSE protocol " + std::to_string(report.fuse->major) + "." + std::to_string(report.fuse->minor)
                             : "no superblock could be made to ask",
                 there ? "a daemon could take over requests in flight from another; this version does not"
                       : "no daemon can take over from another; this version does not either");
}

Finding namespace_probe(const daemon::Features& features) {
  const bool works = features.namespace_probe;
  const char* const found = works ? "the kernel's message queue file system can be asked" : "can't be made by us";
  const char* follows = "not needed, handles tell";
  if (!features.nsfs_handles) {
    follows = works ? "the end of a namespace is noticed, and one that is only held keeps its queues"
                    : "a namespace without processes keeps its queues until no descriptor or bind mount of it is seen "
                      "in /proc; a holder that can't be seen there loses them";
  }
  return finding("namespace-probe", "namespace probe", works, found, follows);
}

}  // namespace

std::vector<Finding> diagnose(const SystemReport& report, const Surroundings& around) {
  const daemon::Features& features = report.features;
  std::vector<Finding> all;
  all.push_back(fuse_device(report));
  all.push_back(mount_api(report));
  all.push_back(mount_privilege(report, around));
  all.push_back(user_namespaces(report, around));
  all.push_back(fusermount(report));
  all.push_back(finding("ipc-namespaces", "IPC namespaces", report.ipc_namespaces == 0,
                        report.ipc_namespaces == 0 ? "the kernel has them" : describe_errno(report.ipc_namespaces),
                        report.ipc_namespaces == 0 ? "each has queues of its own without being told"
                                                   : "only named namespaces: --ns NAME, mqueuefs enter NAME"));
  all.push_back(finding("nsfs-handles", "nsfs handles", features.nsfs_handles,
                        features.nsfs_handles ? "file handles of namespaces can be opened" : "can't be opened by us",
                        features.nsfs_handles ? "the end of a namespace is noticed at once"
                                              : "the namespace's message queue file system is probed instead"));
  all.push_back(namespace_probe(features));
  all.push_back(finding("peer-pidfd", "pidfds of senders", features.peer_pidfd,
                        features.peer_pidfd ? "SO_PEERPIDFD works" : "SO_PEERPIDFD is not there",
                        features.peer_pidfd ? "a client is known even if its number is used again"
                                            : "clients are known by their numbers; Linux 6.5 and later have it"));
  all.push_back(finding("seccomp-notification", "seccomp notification", report.seccomp_notification == 0,
                        report.seccomp_notification == 0 ? "the kernel has it" : describe_errno(report.seccomp_notification),
                        report.seccomp_notification == 0
                            ? "mqueuefs run --via seccomp and containers (mqueuefs-oci(7)) work"
                            : "only dynamically linked programs can be run with their queues here (--via preload)"));
  all.push_back(resend(report));
  all.push_back(finding("preload-library", "library for run", !around.preload.empty(),
                        around.preload.empty() ? "libmqueuefs-preload.so is not found" : around.preload,
                        around.preload.empty() ? "mqueuefs run works with --via seccomp only; install the whole package"
                                               : "mqueuefs run works for dynamically linked programs"));
  all.push_back(finding("kernel-queues", "the kernel's own", report.kernel_queues == 0,
                        report.kernel_queues == 0 ? "mq_open(2) is there" : describe_errno(report.kernel_queues),
                        report.kernel_queues == 0
                            ? "programs use the kernel's queues unless they run under mqueuefs run or in a prepared container"
                            : "programs have no message queues but under mqueuefs run or in a prepared container"));
  all.push_back(finding("daemon", "daemon", !around.daemon_socket.empty(),
                        around.daemon_socket.empty() ? "none answers" : "answers at " + around.daemon_socket,
                        around.domain));
  if (!around.other_daemon.empty()) {
    all.push_back(finding("other-daemon", "another daemon", true, around.other_daemon,
                          "its queues are others, and your commands don't use it"));
  }
  for (const std::string& place : around.dead_mounts) {
    all.push_back(finding("dead-mount", "mount without daemon", false,
                          printable(place) + ": " + describe_errno(ENOTCONN),
                          "its daemon is gone, and its queues with it: umount " + printable(place) + ", then mount again"));
  }
  return all;
}

std::string way_to_mount(const SystemReport& report) {
  if (report.features.mount_privilege) return "directly";
  if (report.features.user_namespaces) return "in a user namespace";
  if (report.features.fusermount && report.fuse_device == 0) return "through fusermount3";
  return {};
}

std::string version_text(const SystemReport& report, const Surroundings& around) {
  std::string text = "mqueuefs " MQUEUEFS_VERSION "\nlibfuse " + around.libfuse + "\n" + around.kernel;
  if (report.fuse) text += ", FUSE protocol " + std::to_string(report.fuse->major) + "." + std::to_string(report.fuse->minor);
  std::string has, lacks;
  for (const Finding& one : diagnose(report, around)) {
    if (one.name == "daemon" || one.name == "other-daemon" || one.name == "dead-mount") continue;
    (one.answer == Answer::kYes ? has : lacks) += " " + one.name;
  }
  return text + "\nhas:" + has + (lacks.empty() ? "" : "\nlacks:" + lacks);
}

}  // namespace mqueuefs::cli
